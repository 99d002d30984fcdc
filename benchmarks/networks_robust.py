"""Gross errors, noise of any distribution, a handful of samples, and fewer outputs than units."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from benchmarks.registry import case
from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.metrics import match_components, recovery_error


def _fit(net: ReLUNetRecovery, X: np.ndarray, y: np.ndarray) -> float:
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        net.fit(X, y)
    return time.process_time() - start


def _gross_errors(seed: int, size: float, share: float, shape: tuple[int, int, int, int]) -> dict:
    n, d, k, m = shape
    X, y, truth = make_relu_network(n, d, n_hidden=k, n_outputs=m, random_state=seed)
    rng = np.random.default_rng(seed)
    wrong = rng.random(y.shape) < share
    spread = np.sqrt(np.mean((y - y.mean(axis=0)) ** 2))
    given = y + wrong * size * spread * rng.standard_normal(y.shape)
    net = ReLUNetRecovery(noise="sparse", random_state=0)
    seconds = _fit(net, X, given)
    error = recovery_error(net, truth) if net.n_hidden_ == k else np.inf
    exact = net.report_.status == "exact"
    return {
        "success": bool(error <= 1e-8 and exact),
        "wrongly_exact": bool(exact and error > 1e-8),
        "error": float(error),
        "wrong_in_mask": int(np.sum(net.outlier_mask_.reshape(y.shape) != wrong)),
        "proof": str(net.report_.proof),
        "fit_seconds": seconds,
    }


@case(group="networks", figure="30 % gross errors x3, m=60, k=5 not told: <= 1e-8, exact")
def gross_errors_30_percent_x3(seed: int) -> dict[str, Any]:
    return _gross_errors(seed, 3.0, 0.3, (2000, 10, 5, 60))


@case(group="networks", figure="30 % gross errors x300, m=60, k=5 not told: <= 1e-8, exact")
def gross_errors_30_percent_x300(seed: int) -> dict[str, Any]:
    return _gross_errors(seed, 300.0, 0.3, (2000, 10, 5, 60))


@case(group="networks", figure="10 % gross errors x30, as many outputs as units", goal=0.5)
def gross_errors_few_outputs(seed: int) -> dict[str, Any]:
    return _gross_errors(seed, 30.0, 0.1, (1000, 5, 3, 3))


@case(group="networks", figure="Cauchy noise, n = 10000: rms error of V <= .03", goal=0.8)
def cauchy_noise(seed: int) -> dict[str, Any]:
    X, y, truth = make_relu_network(10000, 5, n_hidden=3, n_outputs=5, random_state=seed)
    noise = np.random.default_rng(seed).standard_cauchy(y.shape)
    net = ReLUNetRecovery(3, noise="arbitrary", random_state=0)
    seconds = _fit(net, X, y + np.sqrt(np.mean((y - y.mean(axis=0)) ** 2)) * noise)
    V = net.components_[match_components(net.components_, truth.coefs_[0].T).permutation]
    error = float(np.sqrt(np.mean((V - truth.coefs_[0].T) ** 2)))
    return {
        "success": error <= 0.03,
        "error": error,
        "status": net.report_.status,
        "fit_seconds": seconds,
    }


def _exact_by(solver: str, seed: int, n: int, d: int, k: int, m: int) -> dict:
    X, y, truth = make_relu_network(n, d, n_hidden=k, n_outputs=m, bias=False, random_state=seed)
    net = ReLUNetRecovery(solver=solver, fit_intercept=False, random_state=0)
    seconds = _fit(net, X, y)
    error = recovery_error(net, truth) if net.n_hidden_ == k else np.inf
    exact = net.report_.status == "exact"
    return {
        "success": bool(error <= 1e-9 and net.solver_ == solver),
        "wrongly_exact": bool(exact and error > 1e-9),
        "error": float(error),
        "status": net.report_.status,
        "fit_seconds": seconds,
    }


for _d, _k, _m, _n in ((3, 2, 2, 1000), (4, 4, 4, 28), (5, 5, 5, 18), (5, 5, 5, 16), (5, 5, 5, 50)):

    def _enumerate(seed: int, size: tuple = (_n, _d, _k, _m)) -> dict[str, Any]:
        return _exact_by("enumerate", seed, *size)

    _enumerate.__name__ = f"enumerate_{_d}_{_k}_{_m}_n{_n}"
    case(group="networks", figure="every pattern tried: weights <= 1e-9", goal=0.5)(_enumerate)

for _d, _k, _m, _n in ((5, 2, 2, 200), (8, 8, 3, 3000), (8, 8, 3, 20000)):

    def _one_sparse(seed: int, size: tuple = (_n, _d, _k, _m)) -> dict[str, Any]:
        return _exact_by("one-sparse", seed, *size)

    _one_sparse.__name__ = f"one_sparse_{_d}_{_k}_{_m}_n{_n}"
    case(group="networks", figure="samples with one active unit: <= 1e-9", goal=0.9)(_one_sparse)
