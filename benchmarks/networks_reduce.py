"""One output or few, width not told; and real teachers fed their own real inputs only.

Weights are those of the algorithms themselves (the estimator adds verdict and report), timed
until three independent starts agree.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks.registry import case
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.search.overparametrized import reduce_recovery

EXACT = 1e-10


def reduce_and_compare(
    X: np.ndarray, y: np.ndarray, truth: Any, seed: int, n_hidden: int | None, seconds: float
) -> dict:
    samples, design = orthonormal_design(X, y.reshape(len(y), -1), np.ones(len(X)), intercept=True)
    start = time.process_time()
    found = run_to_end(reduce_recovery(samples, rng=np.random.RandomState(seed), n_hidden=n_hidden))
    elapsed = time.process_time() - start
    if found is None:
        return {"seconds": elapsed, "error": float("inf"), "success": False}
    W, b, A, c = design.weights(found.network)
    error = recovery_error(([W, A], [b, c]), truth)
    return {
        "error": error,
        "n_hidden": found.network.n_hidden,
        "n_agreeing": found.n_agreeing,
        "n_rivals": found.n_rivals,
        "n_starts": found.n_starts,
        "seconds": elapsed,
        "success": error <= EXACT and found.n_agreeing >= 3 and elapsed <= seconds,
    }


def random_teacher(seed: int, d: int, k: int, m: int, n: int, seconds: float) -> dict:
    X, y, truth = make_relu_network(n, d, n_hidden=k, n_outputs=m, random_state=seed)
    return reduce_and_compare(X, y, (truth.coefs_, truth.intercepts_), seed, None, seconds)


def ten_fold(d: int, k: int, m: int) -> int:
    """Samples that make ten equations a parameter."""
    return int(np.ceil(10 * (k * (d + m) + m) / m))


@case(group="networks", figure="<= 1e-10 in >= 95 % of seeds, < 1 s, width not told", goal=0.95)
def reduce_10_5_1(seed: int) -> dict:
    return random_teacher(seed, 10, 5, 1, ten_fold(10, 5, 1), 1.0)


@case(group="networks", figure="<= 1e-10 in >= 95 % of seeds, < 1 s, width not told", goal=0.95)
def reduce_10_5_2(seed: int) -> dict:
    return random_teacher(seed, 10, 5, 2, ten_fold(10, 5, 2), 1.0)


@case(group="networks", figure="<= 1e-10 in >= 95 % of seeds, < 1 s, width not told", goal=0.95)
def reduce_8_8_3(seed: int) -> dict:
    return random_teacher(seed, 8, 8, 3, ten_fold(8, 8, 3), 1.0)


@case(group="networks", figure="every row <= 1e-10, signs included, <= 30 s, width not told")
def reduce_10_30_1(seed: int) -> dict:
    return random_teacher(seed, 10, 30, 1, 3500, 30.0)


@case(group="networks", figure="every row <= 1e-10, signs included, <= 30 s, width not told")
def reduce_10_50_1(seed: int) -> dict:
    return random_teacher(seed, 10, 50, 1, 5000, 30.0)


def trained_teacher(name: str, k: int, seed: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Real inputs, the outputs (logits) of a network trained on them, and its weights."""
    loaders = {"wine": load_wine, "diabetes": load_diabetes, "breast_cancer": load_breast_cancer}
    X, y = loaders[name](return_X_y=True)
    X = StandardScaler().fit_transform(X)
    if name == "diabetes":
        y = (y - y.mean()) / y.std()
    teacher = (MLPRegressor if name == "diabetes" else MLPClassifier)(
        hidden_layer_sizes=(k,), max_iter=3000, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        teacher.fit(X, y)
    (W, A), (b, c) = teacher.coefs_, teacher.intercepts_
    return X, np.maximum(X @ W + b, 0) @ A + c, (teacher.coefs_, teacher.intercepts_)


def real_inputs(name: str, k: int, seed: int, *, told: bool = True) -> dict:
    X, y, truth = trained_teacher(name, k, seed)
    return reduce_and_compare(X, y, truth, seed, k if told else None, np.inf)


@case(group="networks", figure="real inputs alone: exact for >= 9 of 10 teachers", goal=0.9)
def wine_5_real_inputs(seed: int) -> dict:
    return real_inputs("wine", 5, seed)


@case(group="networks", figure="real inputs alone: exact for >= 9 of 10 teachers", goal=0.9)
def wine_10_real_inputs(seed: int) -> dict:
    return real_inputs("wine", 10, seed)


@case(group="networks", figure="real inputs alone, width not told: >= 9 of 10", goal=0.9)
def wine_10_real_inputs_width_unknown(seed: int) -> dict:
    return real_inputs("wine", 10, seed, told=False)


@case(group="networks", figure="real inputs alone: exact for >= 9 of 10 teachers", goal=0.9)
def diabetes_5_real_inputs(seed: int) -> dict:
    return real_inputs("diabetes", 5, seed)


@case(group="networks", figure="real inputs alone: exact for >= 9 of 10 teachers", goal=0.9)
def diabetes_10_real_inputs(seed: int) -> dict:
    return real_inputs("diabetes", 10, seed)


@case(group="networks", figure="real inputs alone, width not told: >= 9 of 10", goal=0.9)
def diabetes_10_real_inputs_width_unknown(seed: int) -> dict:
    return real_inputs("diabetes", 10, seed, told=False)


@case(group="networks", figure="real inputs alone: exact for >= 9 of 10 teachers", goal=0.9)
def diabetes_13_real_inputs(seed: int) -> dict:
    return real_inputs("diabetes", 13, seed)
