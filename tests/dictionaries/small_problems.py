"""Small hard problems with a known truth, for hunting wrong claims.

In few dimensions most of what makes recovery safe is missing: spans of atoms meet by dimension
count, noise looks like structure, and several dictionaries explain the same samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FAMILIES = (
    "plain",
    "noise",
    "coherent",
    "pairs",
    "integer",
    "d4",
    "repeated",
    "fewer",
    "more",
    "nonnegative",
    "gaussian",
    "variable",
    "given",
    "few and noisy",
    "more and noisy",
    "coherent and noisy",
    "wrong model",
)


class Problem(NamedTuple):
    """Samples, the atoms behind them (none for a wrong model), and parameters of the estimator."""

    X: np.ndarray
    atoms: np.ndarray
    parameters: dict


def _atoms(rng, m, n, kind):
    D = rng.standard_normal((m, n))
    if kind == "coherent":
        D = D + 2.0 * rng.standard_normal(n)
    elif kind == "pairs":
        odd = D[1::2]
        D[1::2] = D[: m // 2 * 2 : 2][: len(odd)] + 0.3 * rng.standard_normal(odd.shape)
    elif kind == "integer":
        D = rng.randint(-2, 3, (m, n)).astype(float)
        D[~D.any(axis=1), 0] = 1
    return D / np.linalg.norm(D, axis=1, keepdims=True)


def _codes(rng, n_samples, m, k, kind):
    on = rng.rand(n_samples, m).argsort(axis=1) < k
    shape = (n_samples, m)
    values = rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
    if kind == "signs":
        values = rng.choice([-1.0, 1], shape)
    elif kind == "integer":
        values = rng.randint(1, 4, shape) * rng.choice([-1.0, 1], shape)
    elif kind == "nonnegative":
        values = np.abs(values)
    elif kind == "gaussian":
        values = rng.standard_normal(shape)
    elif kind == "scaled signs":
        values = rng.choice([-1.0, 1], shape) * rng.uniform(0.5, 1.5, (n_samples, 1))
    elif kind == "variable":
        on &= rng.rand(*shape) < 0.7
    return np.where(on, values, 0)


def small_problem(family: str, seed: int) -> Problem:
    """Draw a problem in 3 to 8 dimensions."""
    rng = np.random.RandomState(seed)
    n = rng.randint(3, 9)
    k = min(rng.randint(1, 4) if n > 4 else rng.randint(1, 3), n - 1)
    m = rng.randint(max(k + 1, n - 2), n + 4)
    n_samples = int(rng.choice([40, 80, 150, 400, 1000, 3000]))
    atoms, codes, noise, repeats, fitted = "plain", "plain", 0.0, 1, m
    parameters: dict = {}
    if family == "noise":
        noise = float(rng.choice([0.01, 0.05, 0.15]))
    elif family in ("coherent", "pairs"):
        atoms = family
    elif family == "integer":
        atoms = str(rng.choice(["integer", "plain"]))
        codes = str(rng.choice(["integer", "signs"]))
    elif family == "d4":
        n = m = fitted = 4
        k = 2
        codes = str(rng.choice(["signs", "scaled signs"]))
        noise = float(rng.choice([0, 0.03]))
    elif family == "repeated":
        n_samples, repeats = max(n_samples // 10, 12), 10
    elif family == "fewer":
        fitted = max(m - rng.randint(1, 3), k + 1)
    elif family == "more":
        fitted = m + rng.randint(1, 4)
    elif family in ("nonnegative", "gaussian", "variable"):
        codes = family
    elif family == "given":
        parameters["n_nonzero_coefs"] = min(max(1, k + rng.randint(-1, 2)), fitted, n)
    elif family == "few and noisy":
        noise, n_samples = 0.05, int(rng.choice([40, 80, 150]))
    elif family == "more and noisy":
        noise, fitted = 0.05, m + rng.randint(1, 4)
        n_samples = int(rng.choice([400, 1000, 3000]))
    elif family == "coherent and noisy":
        noise, atoms = 0.05, str(rng.choice(["coherent", "pairs"]))
    kind = rng.randint(3) if family == "wrong model" else None
    D = _atoms(rng, m, n, atoms)
    X = _codes(rng, n_samples, m, k, codes) @ D
    if repeats > 1:
        X = np.repeat(X, repeats, axis=0)[rng.permutation(n_samples * repeats)]
    X = X + noise * rng.standard_normal(X.shape)
    if kind is not None:
        D = np.empty((0, n))
        if kind == 1:
            X = np.sin(2 * X)
        else:
            X = rng.standard_normal(X.shape) if kind == 0 else rng.laplace(size=X.shape)
    model = "nonnegative" if family == "nonnegative" else "sparse"
    return Problem(X, D, {"n_components": fitted, "model": model, **parameters})
