"""
Networks of other activations
=============================

The powers of the ReLU, its square root, a rectified exponential, the leaky ReLU, and functions of
your own: a network of each is recovered from samples of its inputs and outputs, without being told
its width.
"""

# %%
# The activations
# ---------------
#
# A pair of functions, value and derivative, is an activation too. Here it is tanh, of which the
# unit w and the unit -w are the same: the library finds that out.

import time

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.networks.model.rectified_activations import activation_of


def tanh_slope(T):
    return 1 - np.tanh(T) ** 2


ACTIVATIONS = {
    "relu": "relu",
    "relu2": "relu2",
    "relu3": "relu3",
    "sqrt": "sqrt",
    "expm1": "expm1",
    "leaky_relu": "leaky_relu",
    "tanh": (np.tanh, tanh_slope),
}

# %%
# Recovery
# --------
#
# 5 units, 10 inputs, 3 outputs, 450 samples. Hidden activations are compared with those of the
# teacher on fresh inputs, unit by unit: wherever the data determine the weights they are equal up
# to rounding (and, for tanh, up to sign).


def largest_difference(net, truth, activation, X):
    """Largest difference of matched input weights and biases."""
    true = np.vstack([truth.coefs_[0], truth.intercepts_[0]])
    found = np.vstack([net.coefs_[0], net.intercepts_[0]])
    distance = np.abs(true[:, :, None] - found[:, None, :]).max(axis=0)
    if activation.mirrored:
        distance = np.minimum(distance, np.abs(true[:, :, None] + found[:, None, :]).max(axis=0))
    return distance.min(axis=1)


t = np.linspace(-2, 2, 401)
figure, axes = plt.subplots(2, 4, figsize=(12, 5.5), layout="constrained")
errors = {}
for ax, (name, parameter) in zip(axes.ravel(), ACTIVATIONS.items(), strict=False):
    activation = activation_of(parameter, 0.2)
    X, y, truth = make_relu_network(
        450,
        10,
        n_hidden=5,
        n_outputs=3,
        activation=parameter,
        negative_slope=0.2,
        random_state=4,
    )
    start = time.perf_counter()
    net = ReLUNetRecovery(activation=parameter, negative_slope=0.2, random_state=0).fit(X, y)
    seconds = time.perf_counter() - start
    errors[name] = largest_difference(net, truth, activation, X)
    print(
        f"{name:10s} {net.n_hidden_} units, {net.report_.status}, by {net.solver_!r}, "
        f"{seconds:.2f} s, largest error {errors[name].max():.0e}"
    )
    ax.plot(t, activation.value(t[:, None])[:, 0])
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(title=f"{name}: {net.report_.status}", ylim=(-1.2, 4))

# %%
# The last panel shows the errors of all 35 units, on the scale of rounding.

last = axes.ravel()[-1]
for place, (_, error) in enumerate(errors.items()):
    last.semilogy(np.full(5, place), np.maximum(error, 1e-17), "o", alpha=0.7)
last.set(title="error of each unit", ylim=(1e-17, 1e-6))
last.set_xticks(range(len(errors)), errors, rotation=60)

# %%
# The wrong activation
# --------------------
#
# A network of squared ReLUs is taken for one of ReLUs. The residuals are not noise, and the report
# says so; predictions alone would look respectable.

import warnings

X, y, truth = make_relu_network(
    600, 4, n_hidden=3, n_outputs=3, activation="relu2", noise=0.02, random_state=0
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    wrong = ReLUNetRecovery(3, noise="gaussian", random_state=0).fit(X, y)
right = ReLUNetRecovery(3, activation="relu2", noise="gaussian", random_state=0).fit(X, y)
print(f"as ReLUs:         {wrong.report_.status}, R2 = {wrong.score(X, y):.4f}")
print(f"as squared ReLUs: {right.report_.status}, R2 = {right.score(X, y):.4f}")
print(wrong.report_.reason)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
for ax, net, label in zip(axes, (wrong, right), ("ReLU", "squared ReLU"), strict=True):
    direction = truth.coefs_[0][:, 0]
    along = X @ direction + truth.intercepts_[0][0]
    ax.plot(along, (y - net.predict(X))[:, 0], ".", markersize=3, alpha=0.6)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(title=f"fitted as {label}: {net.report_.status}", xlabel="argument of a true unit")
axes[0].set_ylabel("residual of the first output")
plt.show()
