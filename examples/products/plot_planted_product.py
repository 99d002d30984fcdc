"""
A planted product of three sparse layers
========================================

A deep linear network with sparse weights generates data: every sample is a combination of few
hidden nodes, each of these a combination of few nodes of the next layer, and so on down to the
features. Only the product is seen. The factors come back one at a time, peeled from the end that
can be solved, and the report says which hidden nodes the data determine.
"""

# %%
# Two layers: everything is found
# -------------------------------
#
# 600 samples of 300 features, 150 hidden nodes with five random signs each, and an unknown scale.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.metrics import match_components, support_f1
from sklearn_nnrecover.products import SparseDeepFactorizer

X, truth = make_sparse_product(600, 300, n_hidden=[150], n_nonzero=5, scale=0.37, random_state=0)
warnings.simplefilter("ignore", RecoveryWarning)
factorizer = SparseDeepFactorizer(random_state=0).fit(X)
report = factorizer.report_
print(f"{report.status} ({report.proof} proof): {report.reason}")
for condition in report.conditions:
    print(f"  {condition.name}: {condition.value}")

# %%
# The recovered layer, its rows brought into the order of the true one, and the true one.

true_layer = truth.factors_[-1].toarray()
found_layer = factorizer.components_.toarray()
match = match_components(found_layer, true_layer)
matched = match.scale[:, None] * found_layer[match.permutation]

figure, axes = plt.subplots(1, 3, figsize=(11, 4), constrained_layout=True)
pictures = (
    (X[:60, :120], "60 of the samples", "sample"),
    (true_layer[:60, :120], "60 rows of the true layer", "hidden node"),
    (
        matched[:60, :120],
        f"recovered, error {np.abs(matched - true_layer).max():.0e}",
        "hidden node",
    ),
)
for axis, (values, title, rows) in zip(axes, pictures, strict=True):
    limit = np.abs(values).max()
    axis.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    axis.set(title=title, xlabel="feature", ylabel=rows)
plt.show()

# %%
# New samples are coded exactly: the network is reversible.

codes = np.random.RandomState(1).randint(-1, 2, size=(5, factorizer.factors_[1].shape[0]))
coded_again = factorizer.transform(factorizer.inverse_transform(codes.astype(float)))
print(f"largest error of the codes of new samples: {np.abs(coded_again - codes).max():.0e}")

# %%
# Three layers
# ------------
#
# A wide code layer, a narrower one below it. The rank is a third of the number of features, so the
# layer nearest the features comes from the range of X, with a global proof; what remains
# is sparse, and is split by the intersections of its rows.

X, truth = make_sparse_product(1500, 240, n_hidden=[100, 80], n_nonzero=[3, 4, 4], random_state=1)
deep = SparseDeepFactorizer(3, random_state=0).fit(X)
print([factor.shape for factor in deep.factors_])
print(f"{deep.report_.status}: {deep.report_.reason}")
for layer in (1, 2):
    units = [unit for unit in deep.report_.units if unit["layer"] == layer]
    identified = sum(unit["identified"] for unit in units)
    print(f"layer {layer}: {identified} of {len(units)} nodes identified by {units[0]['method']}")
last = support_f1(deep.components_.T, truth.factors_[-1].T)
print(f"F1 of the supports of the layer nearest the features: {last:.3f}")

# %%
# Every factor that was found: blue where both nodes that an entry joins are identified, orange
# where one is not. With more samples less of the orange remains.

figure, axes = plt.subplots(1, 3, figsize=(11, 4), constrained_layout=True)
names = ["codes (200 of the samples)", "middle layer", "layer nearest the features"]
axis_names = ["sample", "node of layer 1", "node of layer 2", "feature"]
for level, (axis, factor, errors) in enumerate(
    zip(axes, deep.factors_, deep.factors_std_, strict=True)
):
    row, column = factor[:200].nonzero()
    # The standard error of an entry that the data do not determine is infinite.
    is_open = np.isinf(errors[:200].toarray()[row, column])
    axis.plot(column[~is_open], row[~is_open], ".", markersize=2, color="tab:blue")
    axis.plot(column[is_open], row[is_open], ".", markersize=2, color="tab:orange")
    axis.invert_yaxis()
    axis.set(title=names[level], xlabel=axis_names[level + 1], ylabel=axis_names[level])
plt.show()

# %%
# As an operator, the product of the factors costs its non-zeros.

operator = deep.as_linear_operator()
print(f"{sum(F.nnz for F in deep.factors_)} multiplications instead of {X.size}")
vector = np.random.RandomState(2).standard_normal(X.shape[1])
print(f"largest difference from X @ v: {np.abs(operator @ vector - X @ vector).max():.0e}")
