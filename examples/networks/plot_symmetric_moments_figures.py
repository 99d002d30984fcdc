"""
Symmetric inputs: the paper's Figures 2, 3 and 4
================================================

Ge, Kuditipudi, Li and Wang test their moment method on orthonormal and ill-conditioned networks,
under label noise, on normal inputs and on a symmetric mixture. This example repeats their settings
with three methods: their algorithm as printed, our moment estimate, and its refinement. Each point
is the average of five trials, as in the paper; errors are squared distances of normalised rows of
A, summed.
"""

# %%
# Models and errors
# -----------------

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment

from sklearn_nnrecover import SymmetricMomentNet

METHODS = {"paper": "as printed", "moments": "moments", "refined": "refined"}
TRIALS = 5


def orthonormal(rng, size):
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def conditioned(rng, size, condition):
    """Singular values 1, 1/l, 1/l^2, ... down to 1/condition."""
    return orthonormal(rng, size) * np.geomspace(1, 1 / condition, size) @ orthonormal(rng, size)


def draw(seed, n, size=10, noise=0.0, mixture=False, W_condition=1, A_condition=1):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, size))
    if mixture:
        X += rng.choice([-1, 1], size=(n, 1))
    W, A = conditioned(rng, size, W_condition), conditioned(rng, size, A_condition)
    y = np.maximum(X @ W, 0) @ A + noise * rng.standard_normal((n, size))
    return X, y, A


def A_error(net, A):
    rows = [B / np.linalg.norm(B, axis=1, keepdims=True) for B in (net.coefs_[1], A)]
    distance = np.sum((rows[0][:, None] - rows[1][None]) ** 2, axis=2)
    return distance[linear_sum_assignment(distance)].sum()


def sweep(values, settings):
    """Mean error of A and mean squared error of the outputs, by method."""
    errors = {method: [] for method in METHODS}
    for value in values:
        trials = {method: [] for method in METHODS}
        for trial in range(TRIALS):
            X, y, A = draw(trial, **settings(value))
            for method in METHODS:
                net = SymmetricMomentNet(
                    n_hidden=len(A), method=method, n_refits=0, n_init=1, random_state=trial
                )
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # nothing is claimed of unrefined estimates
                    net.fit(X, y)
                trials[method].append((A_error(net, A), np.mean((net.predict(X) - y) ** 2)))
        for method in METHODS:
            errors[method].append(np.mean(trials[method], axis=0))
    return {method: np.array(points) for method, points in errors.items()}


def show(ax, values, errors, xlabel, title):
    for method, name in METHODS.items():
        (line,) = ax.loglog(values, np.maximum(errors[method][:, 0], 1e-32), "o-", label=name)
        ax.loglog(
            values, np.maximum(errors[method][:, 1], 1e-32), ":", color=line.get_color(), alpha=0.6
        )
    ax.plot([], [], ":", color="0.5", label="error of the outputs")
    ax.set(xlabel=xlabel, title=title)
    ax.set_xticks(values, [f"{value:,g}" for value in values])
    ax.minorticks_off()


# %%
# Figure 2: how many samples?
# ---------------------------
#
# 10 x 10 orthonormal networks, normal inputs, no noise. Solid lines are errors of A, dotted ones
# mean squared errors of the outputs. The star is what the paper reports for 10,000 samples: an
# error of about .15.

sizes = [500, 1000, 2000, 5000, 10000]
figure_2 = sweep(sizes, lambda n: {"n": n})
dimensions = [6, 10, 14]
by_dimension = sweep(dimensions, lambda d: {"n": 10000, "size": d})

figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
show(axes[0], sizes, figure_2, "samples", "10 x 10")
show(axes[1], dimensions, by_dimension, "dimension", "10,000 samples")
axes[0].plot(10000, 0.15, "k*", markersize=11, label="reported by the paper")
axes[0].set_ylabel("squared error of A")
axes[0].legend()
for n, *rows in zip(sizes, *(figure_2[m][:, 0] for m in METHODS), strict=True):
    print(f"{n:6d} samples:  " + "  ".join(f"{v:.1e}" for v in rows))

# %%
# Figure 3: label noise
# ---------------------
#
# On normal inputs, and on a mixture of two normals around the all-ones vector and its mirror image.
# The refined estimate is the least-squares optimum; the dotted line is then the noise itself.

levels = [0.03, 0.1, 0.3]
figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
for ax, mixture in zip(axes, (False, True), strict=True):
    errors = sweep(levels, lambda s, mixture=mixture: {"n": 10000, "noise": s, "mixture": mixture})
    show(ax, levels, errors, "standard deviation of the noise", "mixture" if mixture else "normal")
axes[0].set_ylabel("squared error of A")
axes[0].legend()

# %%
# Figure 4: condition of the weights
# ----------------------------------
#
# 20,000 samples of the mixture. Without whitening of inputs and outputs the moments of
# ill-conditioned networks drown in those of their large components.

conditions = [3, 10, 30, 100]
figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
for ax, name in zip(axes, "WA", strict=True):
    errors = sweep(
        conditions,
        lambda c, name=name: {"n": 20000, "mixture": True, f"{name}_condition": c},
    )
    show(ax, conditions, errors, "condition number", f"ill-conditioned {name}")
axes[0].set_ylabel("squared error of A")
axes[0].legend()
plt.show()
