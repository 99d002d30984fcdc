"""ReLUNetRecovery as users call it, and the tests that judge its fits."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from benchmarks.registry import case
from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.evidence.lack_of_fit import lack_of_fit
from sklearn_nnrecover.networks.evidence.verdict import LACK_OF_FIT_LEVEL
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.search.variable_projection import variable_projection
from sklearn_nnrecover.networks.search.width_selection import select_width


def _fit(X: np.ndarray, y: np.ndarray, **parameters: Any) -> tuple[ReLUNetRecovery, float]:
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        net = ReLUNetRecovery(random_state=0, **parameters).fit(X, y)
    return net, time.process_time() - start


def _exact(seed: int, n: int, d: int, k: int, m: int, goal: float, **kwargs: Any) -> dict[str, Any]:
    X, y, truth = make_relu_network(n, d, n_hidden=k, n_outputs=m, random_state=seed, **kwargs)
    net, seconds = _fit(X, y, fit_intercept=kwargs.get("bias", True))
    error = recovery_error(net, truth)
    # A unit that the data do not determine must be named: that is the right answer too.
    named = net.report_.status != "exact" and not all(net.report_.identified)
    wrong = net.report_.status == "exact" and not error <= 1e-6
    return {
        "success": bool((error <= goal and net.report_.status == "exact") or (named and not wrong)),
        "error": error,
        "status": net.report_.status,
        "solver": net.solver_,
        "wrongly_exact": float(wrong),
        "fit_seconds": seconds,
    }


@case(group="networks", figure="(10,10,10), n=3(d+k), no biases: exact to 1e-12", goal=0.95)
def exact_10_10_10(seed: int) -> dict[str, Any]:
    return _exact(seed, 60, 10, 10, 10, 1e-12, bias=False)


@case(group="networks", figure="(30,20,20), n=3(d+k), no biases: exact to 1e-12", goal=0.95)
def exact_30_20_20(seed: int) -> dict[str, Any]:
    return _exact(seed, 150, 30, 20, 20, 1e-12, bias=False)


@case(group="networks", figure="(10,5,5), exponential inputs, biases: exact to 1e-10", goal=0.95)
def exact_biases_10_5_5(seed: int) -> dict[str, Any]:
    return _exact(seed, 105, 10, 5, 5, 1e-10, distribution="exponential")


@case(group="networks", figure="(10,5,1), n=10 parameters, width not told: to 1e-10", goal=0.95)
def exact_one_output_10_5_1(seed: int) -> dict[str, Any]:
    return _exact(seed, 560, 10, 5, 1, 1e-10)


@case(group="networks", figure="(8,8,3), n=10 parameters/m, width not told: to 1e-10", goal=0.95)
def exact_8_8_3(seed: int) -> dict[str, Any]:
    return _exact(seed, 303, 8, 8, 3, 1e-10)


@case(group="networks", figure="width of (10,5,5) at noise .1, n=2000", goal=0.95)
def width_under_noise_10_5_5(seed: int) -> dict[str, Any]:
    X, y, _ = make_relu_network(2000, 10, n_hidden=5, n_outputs=5, noise=0.1, random_state=seed)
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    width = run_to_end(select_width(samples, rng=np.random.RandomState(seed))).width
    return {"success": width == 5, "width": width}


def _p_value(seed: int, teacher: str, m: int = 3) -> dict[str, Any]:
    rng = np.random.RandomState(seed)
    X, _, truth = make_relu_network(1000, 5, n_hidden=3, n_outputs=m, random_state=seed)
    (W, A), (b, _) = truth.coefs_, truth.intercepts_
    T = X @ W + b
    noise = 0.3 if teacher == "relu" else 0.1
    y = (np.tanh(T) if teacher == "tanh" else np.maximum(T, 0)) @ A
    y = y + noise * y.std() * rng.standard_normal(y.shape)
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    V = np.linalg.lstsq(samples.Z, T, rcond=None)[0][:, int(teacher == "missed") :]
    fit = run_to_end(variable_projection(samples, V / np.linalg.norm(V, axis=0)))
    p_value = lack_of_fit(fit.network, samples, rng).p_value
    return {"success": (p_value >= LACK_OF_FIT_LEVEL) == (teacher == "relu"), "p_value": p_value}


@case(group="networks", figure="lack of fit: at most 1 in 1000 right models rejected", goal=0.999)
def lack_of_fit_level(seed: int) -> dict[str, Any]:
    return _p_value(seed, "relu")


@case(group="networks", figure="lack of fit: a tanh teacher is found", goal=0.95)
def lack_of_fit_tanh(seed: int) -> dict[str, Any]:
    return _p_value(seed, "tanh")


@case(group="networks", figure="lack of fit: a missed unit is found", goal=0.9)
def lack_of_fit_missed_unit(seed: int) -> dict[str, Any]:
    return _p_value(seed, "missed")


@case(group="networks", figure="default fit on 200 x 10 noisy data: < .3 s", goal=0.9)
def default_fit_200_10(seed: int) -> dict[str, Any]:
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((200, 10))
    net, seconds = _fit(X, X[:, 0] + rng.standard_normal(200))
    return {"success": seconds < 0.3, "fit_seconds": seconds, "status": net.report_.status}
