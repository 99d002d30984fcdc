"""
Noise, error bars, and a model that does not fit
================================================

Under noise no weight is exact. What can be had is the least-squares optimum, standard errors, and a
test that says when the model is wrong. This example looks at each, and at a unit whose place the
data cannot decide.
"""

# %%
# Standard errors
# ---------------
#
# A network of 3 units with 5 inputs and 3 outputs, and noise of a tenth of the outputs' spread.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.inspection import RecoveryDisplay, UnitsDisplay
from sklearn_nnrecover.metrics import recovery_error

X, y, truth = make_relu_network(1000, 5, n_hidden=3, n_outputs=3, noise=0.1, random_state=0)
net = ReLUNetRecovery(random_state=0).fit(X, y)
print(net.report_)
print(f"\nlargest error over all weights: {recovery_error(net, truth):.3f}")

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
RecoveryDisplay.from_estimator(net, truth, ax=axes[0])
UnitsDisplay.from_estimator(net, ax=axes[1])

# %%
# Do the intervals hold?
# ----------------------
#
# The same network, with noise drawn anew 20 times. About 95 % of the nominal 95 % intervals ought
# to cover the true input weight.

N_REPEATS = 20
rng = np.random.default_rng(0)
(W, A), (b, c) = truth.coefs_, truth.intercepts_
clean = np.maximum(X @ W + b, 0) @ A + c
errors, widths = [], []
for _ in range(N_REPEATS):
    noisy = clean + truth.noise_std * rng.standard_normal(clean.shape)
    fit = ReLUNetRecovery(n_hidden=3, noise="gaussian", random_state=0).fit(X, noisy)
    _, order = linear_sum_assignment(-W.T @ fit.coefs_[0])
    errors.append((fit.coefs_[0][:, order] - W).ravel())
    widths.append(1.96 * fit.coefs_std_[0][:, order].ravel())
errors, widths = np.array(errors), np.array(widths)
covered = np.abs(errors) <= widths
print(f"covered: {covered.mean():.3f} of {covered.size} intervals")

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
place = np.arange(errors[:5].size)
ax.errorbar(place, errors[:5].ravel(), widths[:5].ravel(), fmt="none", ecolor="0.6")
ax.scatter(
    place,
    errors[:5].ravel(),
    s=12,
    c=np.where(covered[:5].ravel(), "tab:blue", "tab:red"),
    zorder=3,
)
ax.axhline(0, color="black", linewidth=0.8)
ax.set(
    xlabel="input weight (15 weights, 5 of the repetitions)",
    ylabel="error, with its 95 % interval",
    title=f"{covered.mean():.1%} of all intervals cover the true weight",
)

# %%
# A teacher of another kind
# -------------------------
#
# Outputs of a tanh network are not those of a ReLU network of any width that the data could
# determine. The residuals of the best fit have structure, and the report says so instead of giving
# error bars.

tanh_outputs = np.tanh(X @ W + b) @ A + c + truth.noise_std * rng.standard_normal(clean.shape)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # RecoveryWarning: printed below
    wrong = ReLUNetRecovery(n_hidden=3, noise="gaussian", random_state=0).fit(X, tanh_outputs)
print(wrong.report_.status, "-", wrong.report_.reason)

# %%
# A unit that the data do not place
# ---------------------------------
#
# One output, few samples, much noise: solutions far apart fit nearly as well. Error bars around one
# of them would mislead, so the unit is named and its standard errors are infinite.

X, y, truth = make_relu_network(150, 5, n_hidden=3, n_outputs=1, noise=0.5, random_state=1)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    doubtful = ReLUNetRecovery(n_hidden=3, noise="gaussian", random_state=0).fit(X, y)
print(doubtful.report_)
UnitsDisplay.from_estimator(doubtful)
plt.show()
