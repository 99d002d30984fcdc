"""
Atoms of image patches
======================

A dictionary of 128 atoms for 8 x 8 patches of a photograph, five of them for each patch. Nobody
generated these patches from a dictionary, and the report says so: that the residuals are noise is
rejected. As a code the dictionary is useful all the same.
"""

# %%
# Patches
# -------

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.decomposition import PCA
from sklearn.feature_extraction.image import extract_patches_2d

from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.inspection import AtomsDisplay

image = load_sample_image("china.jpg").mean(axis=2) / 255
patches = extract_patches_2d(image, (8, 8), max_patches=10_000, random_state=0).reshape(-1, 64)
patches -= patches.mean(axis=1, keepdims=True)

# %%
# A dictionary
# ------------

autoencoder = TiedAutoencoder(
    128, n_nonzero_coefs=5, max_coherence=0.98, stability=False, max_iter=40, n_init=1,
    random_state=0,
)  # fmt: skip
with warnings.catch_warnings():
    warnings.simplefilter("ignore", RecoveryWarning)
    autoencoder.fit(patches)
print(autoencoder.report_.status, "-", autoencoder.report_.reason)

figure, axes = plt.subplots(figsize=(6, 5.5), layout="constrained")
AtomsDisplay(autoencoder.components_.reshape(-1, 8, 8), np.ones(128, dtype=bool)).plot(ax=axes)
axes.set_title("128 atoms, by decreasing energy")

# %%
# Few numbers for a patch
# -----------------------
#
# The share of the energy that is lost with k numbers for each patch: the best k principal
# components against k atoms of the dictionary.

sparsities = [1, 2, 3, 5, 8]
lost, pca = [], PCA().fit(patches)
energy = np.sum(patches**2)
for k in sparsities:
    codes = encode(patches, autoencoder.components_, CodeRule("omp", k))
    lost.append(np.sum((patches - codes @ autoencoder.components_) ** 2) / energy)
principal = 1 - np.cumsum(pca.explained_variance_ratio_)[np.array(sparsities) - 1]
figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
axes.plot(sparsities, principal, "s-", label="principal components")
axes.plot(sparsities, lost, "o-", label="dictionary")
axes.set(xlabel="numbers for a patch", ylabel="energy lost", ylim=(0, 1))
axes.legend()
plt.show()
