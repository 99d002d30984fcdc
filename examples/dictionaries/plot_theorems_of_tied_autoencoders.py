r"""
Code consistency and linear convergence, shown
==============================================

Nguyen, Wong and Hegde prove two things about an autoencoder whose encoder and decoder share their
weights, for data ``x = c D + noise`` with sparse codes c: close to the truth its codes have the
right supports (Theorem 3), and gradient descent converges linearly to a neighbourhood of the truth
(Theorem 4). Here are both for the three models of the paper, what happens at the printed threshold
and the printed bias schedule, and what the library does instead.
"""

# %%
# Three models
# ------------
#
# Signed codes, non-negative codes and a mixture of spherical Gaussians with means of norm one, all
# with incoherent random atoms.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover.datasets import make_sparse_codes, make_spherical_mixture
from sklearn_nnrecover.dictionaries.encoders import CodeRule, balanced_threshold, encode
from sklearn_nnrecover.dictionaries.spherical_mixture import one_hot
from sklearn_nnrecover.dictionaries.updates import (
    code_moments,
    gradient_update,
    normalized_rows,
    preconditioned_update,
    tied_gradient,
)

N_FEATURES, N_ATOMS, N_SAMPLES = 200, 120, 5000
SIGMA = 0.01


def sparse_model(n_nonzero, nonnegative, amplitudes):
    X, truth = make_sparse_codes(
        N_SAMPLES,
        N_FEATURES,
        n_components=N_ATOMS,
        n_nonzero=n_nonzero,
        nonnegative=nonnegative,
        amplitudes=amplitudes,
        noise=SIGMA,
        random_state=0,
    )
    return X, truth.components_, truth.codes.toarray(), nonnegative


def mixture_model():
    X, y, truth = make_spherical_mixture(
        N_SAMPLES, N_FEATURES, n_components=20, noise=SIGMA, random_state=0
    )
    return X, truth.components_, one_hot(y, 20).toarray(), True


models = {
    "signed, k = 2": sparse_model(2, False, (1.0, 1.0)),
    "non-negative, k = 2": sparse_model(2, True, (1.0, 1.0)),
    "mixture": mixture_model(),
}


def disturbed(D, distance, seed=1):
    """Unit-norm atoms after a random step of this length from D."""
    step = np.random.RandomState(seed).standard_normal(D.shape)
    step *= distance / np.linalg.norm(step, axis=1, keepdims=True)
    return normalized_rows(D + step, D)


# %%
# Theorem 3: supports and signs are right near the truth
# ------------------------------------------------------
#
# The share of samples whose codes have the right signs everywhere, as the atoms move away from the
# truth, by the printed threshold (half of the smallest coefficient). On the right the same at the
# truth itself with more active atoms of magnitudes in [.5, 1.5]: crosstalk of deviation
# sqrt(k kappa_2 / n) overtakes the printed threshold .25, while the balanced one, chosen from the
# data, loses less; orthogonal matching pursuit loses nothing.


def consistent(codes, truth):
    return np.mean(np.all(np.sign(codes.toarray()) == np.sign(truth), axis=1))


steps = np.linspace(0, 2, 9)
distances = np.sqrt(2 - 2 / np.sqrt(1 + steps**2))  # after normalisation
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, (X, D, truth, nonnegative) in models.items():
    rule = CodeRule("threshold", 2, 0.5, nonnegative)
    shares = [consistent(encode(X[:2000], disturbed(D, s), rule), truth[:2000]) for s in steps]
    left.plot(distances, shares, "o-", label=name)
left.set(xlabel="distance of the atoms from the truth", ylabel="samples with right signs")
left.set_title("Theorem 3, threshold 1/2")
left.legend()

sparsities = np.arange(1, 9)
curves = {"threshold a1/2 (printed)": [], "balanced threshold": [], "matching pursuit": []}
for k in sparsities:
    X, D, truth, _ = sparse_model(k, False, (0.5, 1.5))
    X, truth = X[:2000], truth[:2000]
    balanced = balanced_threshold(X, D, k / N_ATOMS, nonnegative=False)
    rules = [CodeRule("threshold", k, 0.25), CodeRule("threshold", k, balanced), CodeRule("omp", k)]
    for curve, rule in zip(curves.values(), rules, strict=True):
        curve.append(consistent(encode(X, D, rule), truth))
for name, curve in curves.items():
    right.plot(sparsities, curve, "o-", label=name)
right.set(xlabel="active atoms k", title="At the truth, coefficients in [.5, 1.5]")
right.legend(loc="upper right", bbox_to_anchor=(1.0, 0.95))

# %%
# Theorem 4: linear convergence to a neighbourhood
# ------------------------------------------------
#
# The paper's approximate gradient, atom by atom with half the inverse code energy as rate, from
# atoms at distance .4. Every step shrinks the error by a constant factor until the neighbourhood
# is reached. With least-squares codes and the preconditioned update only the noise is left.


def train(X, D, rule, n_steps, *, least_squares=False, schedule=None):
    """Largest distance of an atom from the truth after each step."""
    W, errors = disturbed(D, 0.4), []
    for step in range(n_steps):
        errors.append(np.linalg.norm(W - D, axis=1).max())
        if least_squares:
            codes = encode(X, W, CodeRule("omp", rule.n_nonzero, nonnegative=rule.nonnegative))
            W = preconditioned_update(*code_moments(codes, X), W, 1e-12)
        else:
            bias = 0.0 if schedule is None else -schedule[step]
            current = rule if schedule is None else CodeRule("relu", 2, schedule[step], True)
            codes = encode(X, W, current)
            energy = np.bincount(codes.indices, codes.data**2, minlength=len(W)) / len(X)
            W = gradient_update(tied_gradient(X, codes, W, bias=bias), W, energy, 0.5)
    return np.array(errors)


figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
for colour, (name, (X, D, _, nonnegative)) in zip(["C0", "C1", "C2"], models.items(), strict=True):
    k = 1 if name == "mixture" else 2
    rule = CodeRule("threshold", k, 0.5, nonnegative)
    axes.semilogy(train(X, D, rule, 12), "o-", color=colour, label=f"{name}: gradient")
    axes.semilogy(train(X, D, rule, 12, least_squares=True), "--", color=colour)
axes.plot([], [], "k--", label="preconditioned, least squares")
axes.set(xlabel="step", ylabel="largest error of an atom", title="Theorem 4")
axes.legend()

# %%
# The bias schedule of the rectifier
# ----------------------------------
#
# A rectifier needs a negative bias for consistent codes, and the bias shrinks the codes: the paper
# halves it in every step. Once it is below the crosstalk, inactive atoms pass and the error grows
# again. A floor at the balanced threshold keeps the supports; taking unbiased values on them
# (JumpReLU: the correlation itself) removes the shrinkage.

X, D, _, _ = models["non-negative, k = 2"]
n_steps = 16
halved = 0.5 * 0.5 ** np.arange(n_steps)
floor = balanced_threshold(X[:2000], D, 2 / N_ATOMS, nonnegative=True)
figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.semilogy(
    train(X, D, CodeRule("relu", 2, 0.5, True), n_steps, schedule=halved),
    "o-",
    label="bias halved for ever (printed)",
)
axes.semilogy(
    train(X, D, CodeRule("relu", 2, 0.5, True), n_steps, schedule=np.maximum(halved, floor)),
    "s-",
    label="with a floor",
)
axes.semilogy(
    train(X, D, CodeRule("jumprelu", 2, floor, True), n_steps),
    "^-",
    label="floor and unbiased values",
)
axes.set(xlabel="step", ylabel="largest error of an atom", title="Non-negative codes, rectified")
axes.legend()
plt.show()
