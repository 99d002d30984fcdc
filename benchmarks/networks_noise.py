"""Networks from noisy samples: whether the optimum is found, and whether error bars hold.

The oracle is a fit started at the true weights. A seed of a coverage case is a batch of data sets,
and the two fits are compared on the same data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks.registry import case
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.evidence.error_bars import (
    UserWeights,
    standard_errors,
    units_moved_by_rivals,
    user_weights,
)
from sklearn_nnrecover.networks.model.design import Design, orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork
from sklearn_nnrecover.networks.search.least_squares_search import Rival, search_least_squares
from sklearn_nnrecover.networks.search.variable_projection import variable_projection

GROUP = "networks"
BATCH = 10
COVERAGE_BATCH = 100


def noisy_network(
    seed: int, n_features: int, n_hidden: int, n_outputs: int, n_samples: int, noise: float
) -> tuple[Samples, Design, Any, np.ndarray]:
    """Samples in design coordinates, the truth, and its hidden units in these coordinates."""
    X, y, truth = make_relu_network(
        n_samples,
        n_features,
        n_hidden=n_hidden,
        n_outputs=n_outputs,
        noise=noise,
        random_state=seed,
    )
    samples, design = orthonormal_design(
        X, y.reshape(n_samples, -1), np.ones(n_samples), intercept=True
    )
    W, b = truth.coefs_[0], truth.intercepts_[0]
    V = np.linalg.lstsq(samples.Z, X @ W + b, rcond=None)[0]
    return samples, design, truth, V


def fits(
    seed: int, shape: tuple[int, int, int], n_samples: int, noise: float
) -> tuple[Samples, Design, Any, TwoLayerNetwork, float, Any]:
    """The oracle's fit and the search's fit of one data set."""
    samples, design, truth, V = noisy_network(seed, *shape, n_samples, noise)
    oracle = run_to_end(variable_projection(samples, V))
    rng = np.random.RandomState(seed)
    search = run_to_end(search_least_squares(samples, shape[1], rng=rng))
    return samples, design, truth, oracle.network, oracle.loss, search


def as_estimator(network: TwoLayerNetwork, design: Design) -> tuple[list, list]:
    W, b, A, c = user_weights(network, design)
    return [W, A], [b, c]


def optimum(shape: tuple[int, int, int], n_samples: int, noise: float, seed: int) -> dict[str, Any]:
    """Loss of the search against that of the oracle over a batch of data sets."""
    excess, agreeing, work = [], [], []
    for data_set in range(BATCH):
        samples, *_, loss, search = fits(BATCH * seed + data_set, shape, n_samples, noise)
        excess.append(search.loss / loss - 1)
        agreeing.append(search.n_agreeing >= 2)
        work.append(search.n_iter)
    reached = np.mean(np.array(excess) <= 1e-6)
    return {
        "reached": float(reached),
        "within_half_a_unit_of_likelihood": float(np.mean(np.log1p(excess) * samples.Y.size < 0.5)),
        "below_oracle": float(np.mean(np.log1p(excess) * samples.Y.size < -0.5)),
        "two_runs_agree": float(np.mean(agreeing)),
        "iterations": float(np.mean(work)),
        "success": bool(reached == 1),
    }


@case(group=GROUP, figure="optimum of (5,3,3), n=1000, noise .3 in >= 99 % of data sets", goal=0.9)
def optimum_5_3_3(seed: int) -> dict[str, Any]:
    return optimum((5, 3, 3), 1000, 0.3, seed)


@case(group=GROUP, figure="optimum of (10,5,5), n=1000, noise .1 in >= 99 %", goal=0.9)
def optimum_10_5_5(seed: int) -> dict[str, Any]:
    return optimum((10, 5, 5), 1000, 0.1, seed)


@case(group=GROUP, figure="optimum of (10,5,2), n=500, noise .1 in >= 99 %", goal=0.9)
def optimum_10_5_2(seed: int) -> dict[str, Any]:
    return optimum((10, 5, 2), 500, 0.1, seed)


@case(group=GROUP, figure="optimum of (5,3,1), n=1000, noise .3 in >= 99 %", goal=0.9)
def optimum_5_3_1(seed: int) -> dict[str, Any]:
    return optimum((5, 3, 1), 1000, 0.3, seed)


def covered(
    network: TwoLayerNetwork,
    design: Design,
    errors: UserWeights,
    truth: Any,
    omit: np.ndarray | None = None,
) -> np.ndarray:
    """Hits and counts of the nominal 95 % intervals of W, b, A, c: shape (4, 2)."""
    estimate = user_weights(network, design)
    true = UserWeights(truth.coefs_[0], truth.intercepts_[0], truth.coefs_[1], truth.intercepts_[1])
    # Each true unit is compared with the estimated unit nearest to it, one to one.
    nearness = np.vstack([true.W, true.b]).T @ np.vstack([estimate.W, estimate.b])
    order = linear_sum_assignment(-nearness)[1]
    keep = np.ones(len(order), dtype=bool) if omit is None else ~omit[order]
    hits = []
    for name in UserWeights._fields:
        value, wide, exact = (getattr(w, name) for w in (estimate, errors, true))
        if name == "W":
            value, wide, exact = value[:, order][:, keep], wide[:, order][:, keep], exact[:, keep]
        elif name in "bA":
            value, wide, exact = value[order][keep], wide[order][keep], exact[keep]
        inside = np.abs(value - exact) <= 1.959964 * wide
        hits.append([inside.sum(), inside.size])
    return np.array(hits, dtype=float)


def coverage(
    shape: tuple[int, int, int], n_samples: int, noise: float, seed: int, *, sandwich: bool = False
) -> dict[str, Any]:
    """Coverage of both fits over a batch of data sets, and their difference."""
    oracle_hits, search_hits, named_hits = np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 2))
    named = 0
    for data_set in range(COVERAGE_BATCH):
        samples, design, truth, oracle, _, search = fits(
            COVERAGE_BATCH * seed + data_set, shape, n_samples, noise
        )
        oracle_errors = standard_errors(samples, design, oracle, sandwich=sandwich)
        errors = standard_errors(samples, design, search.network, sandwich=sandwich)
        rivals: list[Rival] = search.rivals
        moved = units_moved_by_rivals(search.network, errors, rivals, design)
        named += int(moved.sum())
        oracle_hits += covered(oracle, design, oracle_errors, truth)
        search_hits += covered(search.network, design, errors, truth)
        named_hits += covered(search.network, design, errors, truth, omit=moved)
    result: dict[str, Any] = {}
    for letter, (o, on), (s, sn), (r, rn) in zip(
        "WbAc", oracle_hits, search_hits, named_hits, strict=True
    ):
        result[f"oracle_{letter}"] = o / on
        result[f"search_{letter}"] = s / sn
        result[f"kept_{letter}"] = r / max(rn, 1)
    difference = search_hits.sum(axis=0) - oracle_hits.sum(axis=0)
    result["difference"] = difference[0] / search_hits[:, 1].sum()
    result["units_named_rivals"] = named / (COVERAGE_BATCH * shape[1])
    result["success"] = bool(abs(result["difference"]) <= 0.01)
    return result


@case(
    group=GROUP, figure="coverage within .01 of the oracle's, (5,3,3), n=1000, noise .3", goal=0.9
)
def coverage_5_3_3(seed: int) -> dict[str, Any]:
    return coverage((5, 3, 3), 1000, 0.3, seed)


@case(
    group=GROUP, figure="coverage within .01 of the oracle's, (10,5,5), n=1000, noise .1", goal=0.9
)
def coverage_10_5_5(seed: int) -> dict[str, Any]:
    return coverage((10, 5, 5), 1000, 0.1, seed)


@case(
    group=GROUP, figure="intervals hold for units without rivals, (5,3,1), n=1000, noise .3", goal=0
)
def coverage_5_3_1(seed: int) -> dict[str, Any]:
    return coverage((5, 3, 1), 1000, 0.3, seed)


@case(
    group=GROUP, figure="weight error <= 1.1 x the oracle's, (10,5,3), n=500, noise .1", goal=0.95
)
def weight_error_10_5_3(seed: int) -> dict[str, Any]:
    _, design, truth, oracle, _, search = fits(seed, (10, 5, 3), 500, 0.1)
    error = recovery_error(as_estimator(search.network, design), truth)
    oracle_error = recovery_error(as_estimator(oracle, design), truth)
    return {
        "weight_error": error,
        "oracle_error": oracle_error,
        "ratio": error / oracle_error,
        "success": bool(error <= 1.1 * oracle_error),
    }


@case(group=GROUP, figure="noiseless (10,5,1), n=650: <= 1e-10 in >= 95 %", goal=0.95)
def noiseless_10_5_1(seed: int) -> dict[str, Any]:
    return noiseless((10, 5, 1), 650, seed)


@case(group=GROUP, figure="noiseless (10,5,2), n=370: <= 1e-10 in >= 95 %", goal=0.95)
def noiseless_10_5_2(seed: int) -> dict[str, Any]:
    return noiseless((10, 5, 2), 370, seed)


@case(group=GROUP, figure="noiseless (8,8,3), n=300: <= 1e-10 in >= 95 %", goal=0.95)
def noiseless_8_8_3(seed: int) -> dict[str, Any]:
    return noiseless((8, 8, 3), 300, seed)


def noiseless(shape: tuple[int, int, int], n_samples: int, seed: int) -> dict[str, Any]:
    """The search as a solver of noiseless problems with fewer outputs than units."""
    samples, design, truth, _ = noisy_network(seed, *shape, n_samples, 0.0)
    rng = np.random.RandomState(seed)
    search = run_to_end(search_least_squares(samples, shape[1], rng=rng))
    error = recovery_error(as_estimator(search.network, design), truth)
    return {"weight_error": error, "iterations": search.n_iter, "success": bool(error <= 1e-10)}
