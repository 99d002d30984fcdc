"""Networks of other activations than the ReLU, and the moment solvers where their theorems hold."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from benchmarks.registry import case
from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.model.rectified_activations import activation_of

NEGATIVE_SLOPE = 0.2


def _recover(
    seed: int, name: str, n: int, d: int, k: int, m: int, *, noise: float = 0.0, **parameters: Any
) -> dict[str, Any]:
    """Fit one random network with hidden biases.

    A success is a network within 1e-9 of the truth with status "exact", or a report that names a
    unit which the data do not determine. Under noise it is status "approximate" with an error
    within ten times the largest standard error, or such a report.
    """
    X, y, truth = make_relu_network(
        n,
        d,
        n_hidden=k,
        n_outputs=m,
        activation=name,
        negative_slope=NEGATIVE_SLOPE,
        noise=noise,
        random_state=seed,
    )
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        net = ReLUNetRecovery(
            activation=name, negative_slope=NEGATIVE_SLOPE, random_state=0, **parameters
        ).fit(X, y)
    seconds = time.process_time() - start
    error = recovery_error(net, truth, degree=activation_of(name).degree)
    status = net.report_.status
    wrong = status == "exact" and not error <= 1e-6
    if noise:
        size = float(np.abs(truth.coefs_[1]).max())
        spread = [net.coefs_std_[0], net.coefs_std_[1] / size, net.intercepts_std_[0]]
        largest = max(float(part[np.isfinite(part)].max(initial=0.0)) for part in spread)
        success = status == "partial" or (status == "approximate" and error <= 10 * largest)
    else:
        success = (status == "exact" and error <= 1e-9) or (status == "partial" and not wrong)
    return {
        "success": bool(success),
        "error": error,
        "status": status,
        "solver": net.solver_,
        "width": net.n_hidden_,
        "wrongly_exact": float(wrong),
        "fit_seconds": seconds,
    }


def _case(name: str, d: int, k: int, m: int, noise: float, told: bool, n: int, goal: float) -> None:
    figure = f"{name}, ({d},{k},{m}), n = {n}"
    figure += f", noise {noise}" if noise else ": exact"
    figure += "" if told else ", width not told"
    label = f"activation_{name}_{d}_{k}_{m}"
    label += "_noise" if noise else ""
    label += "" if told else "_auto"

    def run(seed: int) -> dict[str, Any]:
        width = {"n_hidden": k} if told else {}
        return _recover(seed, name, n, d, k, m, noise=noise, **width)

    run.__name__ = label
    case(group="networks", figure=figure, goal=goal)(run)


for _name in ("relu2", "relu3", "sqrt", "expm1", "leaky_relu"):
    # Thirty samples for each dimension and unit.
    for _d, _k, _m in ((5, 3, 3), (10, 5, 2), (10, 10, 10)):
        _case(_name, _d, _k, _m, 0.0, True, 30 * (_d + _k), 0.95)
    _case(_name, 10, 5, 5, 0.0, False, 450, 0.95)
    _case(_name, 5, 3, 3, 0.1, True, 1000, 0.9)


@case(group="networks", figure='solver="moments", (10,5,5), n = 1000: exact', goal=0.95)
def moments_10_5_5(seed: int) -> dict[str, Any]:
    result = _recover(seed, "relu", 1000, 10, 5, 5, solver="moments")
    return {**result, "success": result["success"] and result["solver"] == "moments"}


@case(group="networks", figure='solver="moments", (10,5,5), n = 2000, noise .1', goal=0.9)
def moments_noise_10_5_5(seed: int) -> dict[str, Any]:
    result = _recover(seed, "relu", 2000, 10, 5, 5, noise=0.1, solver="moments")
    return {**result, "success": result["success"] and result["solver"] == "moments"}


@case(group="networks", figure='solver="ica", orthogonal units, (10,8,8), n = 2000', goal=0.95)
def ica_orthogonal_10_8_8(seed: int) -> dict[str, Any]:
    X, _, truth = make_relu_network(2000, 10, n_hidden=8, n_outputs=8, random_state=seed)
    (W, A), (b, c) = truth.coefs_, truth.intercepts_
    W = np.linalg.qr(W)[0]
    y = np.maximum(X @ W + b, 0.0) @ A + c
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        net = ReLUNetRecovery(solver="ica", random_state=0).fit(X, y)
    error = recovery_error(net, ([W, A], [b, c]))
    return {
        "success": bool(error <= 1e-9 and net.solver_ == "ica" and net.report_.status == "exact"),
        "error": error,
        "status": net.report_.status,
        "solver": net.solver_,
        "fit_seconds": time.process_time() - start,
    }
