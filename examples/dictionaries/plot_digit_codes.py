"""
Digits: codes as features
=========================

Codes of a dictionary as features of a linear classifier, in a Pipeline, with the dictionary's size
and sparsity chosen by a grid search. The features here are dense soft-thresholded correlations with
the atoms, positive and negative parts apart.
"""

# %%
# A pipeline
# ----------

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.inspection import AtomsDisplay

warnings.simplefilter("ignore", RecoveryWarning)  # digits were not drawn from a dictionary
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16.0, y, test_size=0.5, stratify=y, random_state=0
)


def both_signs(codes):
    return np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)])


classifier = LogisticRegression(C=10.0, max_iter=300)
pipeline = make_pipeline(
    TiedAutoencoder(
        n_nonzero_coefs=4,
        encoder="relu",
        center=True,
        stability=False,
        n_init=1,
        max_iter=20,
        random_state=0,
    ),
    FunctionTransformer(both_signs),
    classifier,
)

# %%
# Choosing the dictionary for the task
# ------------------------------------
#
# Here the classifier's accuracy is what counts, so it is also what chooses. To choose the
# dictionary for its own sake, score by `recovery_scorer`.

grid = {"tiedautoencoder__n_components": [64, 128], "tiedautoencoder__threshold": [0.3, 1.0]}
search = GridSearchCV(pipeline, grid, cv=2).fit(X_train, y_train)
raw = classifier.fit(X_train, y_train).score(X_test, y_test)
codes = search.score(X_test, y_test)
print(f"raw pixels: {raw:.3f}   codes: {codes:.3f}   chosen: {search.best_params_}")

# %%
# The atoms
# ---------

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
autoencoder = search.best_estimator_["tiedautoencoder"]
atoms = autoencoder.components_
AtomsDisplay(atoms.reshape(-1, 8, 8), np.ones(len(atoms), dtype=bool)).plot(ax=left)
left.set_title("atoms")
labels = [
    f"{c['tiedautoencoder__n_components']} atoms, threshold {c['tiedautoencoder__threshold']}"
    for c in search.cv_results_["params"]
]
right.plot(search.cv_results_["mean_test_score"], labels, "o", label="codes, cross-validation")
right.axvline(raw, color="tab:orange", label="raw pixels, held-out half")
right.axvline(codes, color="tab:green", label="best codes, held-out half")
right.set(xlabel="accuracy of the classifier", ylim=(-1.6, len(labels) - 0.5))
right.legend(loc="lower left")
plt.show()
