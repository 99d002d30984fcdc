"""
Real sparse factors behind noise, with error bars
=================================================

A product of two sparse layers with real weights is seen through Gaussian noise on every entry. The
supports are found first, then all non-zeros of both layers are fitted together, and every one gets
a standard error.
"""

# %%
# 1000 samples of 500 features, 400 hidden nodes, four weights each between .5 and 2. The noise is a
# fifth of the smallest weight: many entries of the product are below it.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.metrics import match_components
from sklearn_nnrecover.products import SparseDeepFactorizer

X, truth = make_sparse_product(
    1000, 500, n_hidden=[400], n_nonzero=4, values="real", noise=0.1, random_state=0
)
warnings.simplefilter("ignore", RecoveryWarning)
factorizer = SparseDeepFactorizer(random_state=0).fit(X)
report = factorizer.report_
print(f"{report.status}: {report.reason}")
for condition in report.conditions:
    print(f"  {condition.name}: {condition.value:.4g}")

# %%
# The layer nearest the features, entry by entry. In each row the entry of smallest magnitude is 1
# by convention, and exact; the errors of the others are relative to it. A node that the data do not
# determine has infinite standard errors and is left out.

found, errors = factorizer.components_.toarray(), factorizer.factors_std_[-1].toarray()
match = match_components(truth.factors_[-1].toarray(), found)
determined = np.isfinite(errors).all(axis=1)

true, estimate, error = [], [], []
for row in np.flatnonzero(determined):
    support = found[row] != 0
    planted = truth.factors_[-1].toarray()[match.permutation[row]]
    reference = np.flatnonzero(support)[np.argmin(np.abs(found[row, support]))]
    if planted[reference] == 0:
        continue
    estimated = np.flatnonzero(support & (errors[row] > 0))
    true.append((planted / planted[reference] * found[row, reference])[estimated])
    estimate.append(found[row, estimated])
    error.append(errors[row, estimated])
true, estimate, error = map(np.concatenate, (true, estimate, error))
deviation = (estimate - true) / error
covered = np.abs(deviation) < 1.96
print(f"{len(true)} entries of {determined.sum()} of {len(found)} nodes")
print(f"intervals of 95 % hold {covered.mean():.1%} of the true values")

# %%
# Left: 95 % intervals of sixty entries, the true values as lines; intervals that miss are red.
# Right: errors over standard errors, and the normal density.

shown = np.random.RandomState(0).permutation(len(true))[:60]
shown = shown[np.argsort(true[shown])]
figure, axes = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
for inside, color in ((True, "tab:blue"), (False, "tab:red")):
    at = np.flatnonzero(covered[shown] == inside)
    axes[0].errorbar(
        at, estimate[shown[at]], 1.96 * error[shown[at]], fmt=".", color=color, capsize=2
    )
axes[0].hlines(true[shown], np.arange(60) - 0.5, np.arange(60) + 0.5, color="black", lw=1)
axes[0].set(xlabel="entry, in the order of the true values", ylabel="value")
axes[0].set_title("95 % intervals and true values")
grid = np.linspace(-4, 4, 200)
axes[1].hist(deviation, bins=50, range=(-4, 4), density=True, color="tab:blue", alpha=0.6)
axes[1].plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color="black", label="normal")
axes[1].set(xlabel="error / standard error", ylabel="density")
axes[1].set_title(f"{len(true)} entries")
axes[1].legend()
plt.show()

# %%
# In single precision without noise, rounding is the noise: the factors are then exact to what the
# input's digits allow.

X, _ = make_sparse_product(600, 300, n_hidden=[150], n_nonzero=4, values="real", random_state=0)
single = SparseDeepFactorizer(random_state=0).fit(X.astype(np.float32))
print(f"{single.report_.status}: {single.report_.reason}")
