"""Noiseless networks with at least as many outputs as units: lifted system and pencils.

The lifted system alone gives up where one unit is active only where another is, which is common at
few samples; its cases say how often it does not, and with which accuracy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.registry import case
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.exact.lifted_system import Lifted, lifted_recovery
from sklearn_nnrecover.networks.exact.pencil import Pencil, pencil_recovery
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import Samples


def _pencil(samples: Samples, rng: np.random.RandomState) -> Pencil:
    return run_to_end(pencil_recovery(samples, rng=rng))


def _lifted(samples: Samples, rng: np.random.RandomState) -> Lifted:
    return lifted_recovery(samples, rng=rng)


def _either(samples: Samples, rng: np.random.RandomState) -> Lifted | Pencil:
    lifted = lifted_recovery(samples, rng=rng)
    return lifted if lifted.network is not None else _pencil(samples, rng)


def _recover(
    method: Callable[[Samples, np.random.RandomState], Any],
    data: tuple[np.ndarray, np.ndarray, Any],
    seed: int,
    goal: float,
) -> dict[str, Any]:
    X, Y, truth = data
    intercept = bool(np.any(truth.intercepts_[1]))
    start = time.process_time()
    samples, design = orthonormal_design(X, Y, np.ones(len(X)), intercept=intercept)
    result = method(samples, np.random.RandomState(seed))
    seconds = time.process_time() - start
    # What no method can recover: a unit whose active rows do not span the inputs, or all of them.
    active = X @ truth.coefs_[0] + truth.intercepts_[0] > 0
    rows = np.column_stack([X, np.ones(len(X))]) if intercept else X
    determined = all(
        np.linalg.matrix_rank(rows[column]) == rows.shape[1] and not column.all()
        for column in active.T
    )
    error = np.inf
    if result.network is not None:
        W, b, A, c = design.weights(result.network)
        error = recovery_error(([W, A], [b, c]), truth)
    # Where the data do not determine a unit, success is to say so.
    named = result.network is None or any(
        unit.active_rank < samples.Z.shape[1] for unit in result.units
    )
    named = named or bool(result.always_on.any())
    return {
        "error": float(error),
        "seconds": seconds,
        "determined": determined,
        "success": bool(error <= goal) if determined else named,
    }


def _bias_free(seed: int, d: int, k: int, m: int) -> dict[str, Any]:
    data = make_relu_network(3 * (d + k), d, n_hidden=k, n_outputs=m, bias=False, random_state=seed)
    return _recover(_pencil, data, seed, 1e-12)


def _with_biases(
    method: Callable[..., Any], seed: int, d: int, k: int, distribution: str
) -> dict[str, Any]:
    n = int(1.5 * (k * (k + 1) // 2 + k * (d + 1)))
    data = make_relu_network(
        n, d, n_hidden=k, n_outputs=k, distribution=distribution, random_state=seed
    )
    return _recover(method, data, seed, 1e-10)


@case(group="networks", figure="weights <= 1e-12 at n = 3(d+k), (5,3,3)", goal=0.95)
def bias_free_5_3_3(seed: int) -> dict[str, Any]:
    return _bias_free(seed, 5, 3, 3)


@case(group="networks", figure="weights <= 1e-12 at n = 3(d+k), (10,10,10)", goal=0.95)
def bias_free_10_10_10(seed: int) -> dict[str, Any]:
    return _bias_free(seed, 10, 10, 10)


@case(group="networks", figure="weights <= 1e-12 at n = 3(d+k), (30,20,20)", goal=0.95)
def bias_free_30_20_20(seed: int) -> dict[str, Any]:
    return _bias_free(seed, 30, 20, 20)


@case(group="networks", figure="weights <= 1e-12 at n = 3(d+k), (50,30,30)", goal=0.95)
def bias_free_50_30_30(seed: int) -> dict[str, Any]:
    return _bias_free(seed, 50, 30, 30)


@case(group="networks", figure="biases, exponential inputs, (5,3,3): <= 1e-10", goal=0.95)
def biases_exponential_5_3(seed: int) -> dict[str, Any]:
    return _with_biases(_either, seed, 5, 3, "exponential")


@case(group="networks", figure="biases, exponential inputs, (10,5,5): <= 1e-10", goal=0.95)
def biases_exponential_10_5(seed: int) -> dict[str, Any]:
    return _with_biases(_either, seed, 10, 5, "exponential")


@case(group="networks", figure="biases, uniform inputs, (10,10,10): <= 1e-10", goal=0.95)
def biases_uniform_10_10(seed: int) -> dict[str, Any]:
    return _with_biases(_either, seed, 10, 10, "uniform")


@case(group="networks", figure="lifted system alone, exponential, (10,5,5): <= 1e-10", goal=0.8)
def lifted_biases_exponential_10_5(seed: int) -> dict[str, Any]:
    return _with_biases(_lifted, seed, 10, 5, "exponential")


@case(group="networks", figure="lifted system alone, uniform, (10,10,10): <= 1e-10", goal=0.8)
def lifted_biases_uniform_10_10(seed: int) -> dict[str, Any]:
    return _with_biases(_lifted, seed, 10, 10, "uniform")


@case(group="networks", figure="lifted system alone, uniform, (20,15,15): <= 1e-10", goal=0.8)
def lifted_biases_uniform_20_15(seed: int) -> dict[str, Any]:
    return _with_biases(_lifted, seed, 20, 15, "uniform")


@case(group="networks", figure="cond(A) = 1e4, k=5, n=150: <= 1e-11", goal=0.95)
def output_condition_1e4(seed: int) -> dict[str, Any]:
    data = make_relu_network(
        150, 10, n_hidden=5, n_outputs=5, bias=False, output_condition=1e4, random_state=seed
    )
    return _recover(_lifted, data, seed, 1e-11)


@case(group="networks", figure="covariance condition 1e4, k=5, n=150: <= 1e-11", goal=0.95)
def input_condition_1e4(seed: int) -> dict[str, Any]:
    data = make_relu_network(
        150, 10, n_hidden=5, n_outputs=5, bias=False, input_condition=1e4, random_state=seed
    )
    return _recover(_lifted, data, seed, 1e-11)


@case(group="networks", figure="biases and always-on units: kinked units <= 1e-11", goal=0.95)
def always_on_units(seed: int) -> dict[str, Any]:
    X, _, truth = make_relu_network(400, 10, n_hidden=6, n_outputs=8, random_state=seed)
    (W, A), (b, c) = truth.coefs_, truth.intercepts_
    b[:2] = 0.5 - (X @ W[:, :2]).min(axis=0)
    Y = np.maximum(X @ W + b, 0.0) @ A + c
    samples, design = orthonormal_design(X, Y, np.ones(len(X)), intercept=True)
    lifted = lifted_recovery(samples, rng=np.random.RandomState(seed))
    if lifted.network is None:
        return {"error": np.inf, "proven": False, "success": False}
    W2, b2, A2, c2 = design.weights(lifted.network)
    zero, kinked = np.zeros(8), ~lifted.always_on
    error = recovery_error(
        ([W2[:, kinked], A2[kinked]], [b2[kinked], zero]), ([W[:, 2:], A[2:]], [b[2:], zero])
    )
    # Of the others only the sum is determined: the prediction.
    prediction = float(np.max(np.abs(np.maximum(X @ W2 + b2, 0.0) @ A2 + c2 - Y)))
    return {
        "error": error,
        "prediction": prediction,
        "proven": lifted.proven,
        "success": lifted.proven and error <= 1e-11 and prediction <= 1e-11,
    }
