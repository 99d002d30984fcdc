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
axes[0].imshow(X[:150], cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
axes[0].set(title="150 of the samples", xlabel="feature", ylabel="sample")
axes[1].spy(true_layer, markersize=1.2, color="tab:gray", aspect="auto")
axes[1].set(title="true layer")
axes[2].spy(matched, markersize=1.2, color="tab:blue", aspect="auto")
axes[2].set(title=f"recovered, largest error {np.abs(matched - true_layer).max():.0e}")
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
# Every factor that was found. What is not identified, the report names; with more samples less of
# it remains.

figure, axes = plt.subplots(1, 3, figsize=(11, 4), constrained_layout=True)
for axis, factor, name in zip(axes, deep.factors_, ["codes", "middle", "last"], strict=True):
    axis.spy(factor[:200], markersize=1, aspect="auto")
    axis.set(title=f"{name}: {factor.shape[0]} x {factor.shape[1]}, {factor.nnz} non-zeros")
plt.show()

# %%
# As an operator, the product of the factors costs its non-zeros.

operator = deep.as_linear_operator()
print(f"{sum(F.nnz for F in deep.factors_)} multiplications instead of {X.size}")
vector = np.random.RandomState(2).standard_normal(X.shape[1])
print(f"largest difference from X @ v: {np.abs(operator @ vector - X @ vector).max():.0e}")
