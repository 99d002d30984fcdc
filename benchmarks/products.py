"""Two sparse factors: what the intersections, the pursuit and the description length reach."""

from __future__ import annotations

import time
import warnings

import numpy as np
import scipy.sparse as sp

from benchmarks.registry import case
from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.two_factors.column_intersections import intersection_candidates
from sklearn_nnrecover.products.two_factors.description_length import TwoFactors, two_sparse_factors


def row_keys(A: sp.csr_array) -> list[bytes]:
    A, _ = row_gauge(A)
    indices = A.indices.astype(np.int64)
    bounds = zip(A.indptr[:-1], A.indptr[1:], strict=True)
    return [indices[a:b].tobytes() + np.round(A.data[a:b], 6).tobytes() for a, b in bounds]


def share_found(rows: sp.csr_array, found: sp.csr_array) -> float:
    known = set(row_keys(found))
    return float(np.mean([key in known for key in row_keys(rows)]))


def two_factors(seed: int, n: int, k: int, n_samples: int, d: int, goal: float) -> dict:
    """Atoms found, of those that several rows use and that are in the shortest description known.

    The planted factors need not be the shortest: a descent from them shows which atoms give way to
    something shorter. A description as short as the end of that descent excuses what it lacks.
    """
    X, truth = make_sparse_product(
        n_samples, n, n_hidden=[k], n_nonzero=d, sparse_output=True, random_state=seed
    )
    start = time.process_time()
    result = run_to_end(two_sparse_factors(X, rng=np.random.RandomState(seed)))
    seconds = time.process_time() - start
    codes, atoms = truth.factors_
    used = np.flatnonzero(np.bincount(codes.indices, minlength=k) >= 2)
    exact = share_found(atoms[used], result.D)
    found = result.D.shape[0] - result.n_residual
    extra = max(found - len(used), 0) / k
    residual = float(abs(result.C @ result.D - X).max())
    missed = lost = round((1 - exact) * len(used))
    determined = exact
    planted_excess = 0
    if missed:
        descent = two_sparse_factors(
            X, rng=np.random.RandomState(seed), start=TwoFactors(codes, atoms, 0)
        )
        shortest = run_to_end(descent)
        planted_excess = result.length - shortest.length
        if planted_excess <= 0:
            lost, determined = 0, 1.0
        else:
            kept = set(row_keys(shortest.D))
            stays = used[[key in kept for key in row_keys(atoms[used])]]
            determined = share_found(atoms[stays], result.D)
            lost = round((1 - determined) * len(stays))
    return {
        "exact_atoms": exact,
        "missed": missed,
        "determined_atoms": determined,
        "missed_though_determined": lost,
        "longer_than_planted": planted_excess,
        "extra_atoms": extra,
        "residual": residual,
        "seconds": seconds,
        "success": determined >= goal and extra < 0.01 and residual == 0,
    }


@case(group="products", figure="every atom used twice exact, < 1 % extra, 95 % of seeds", goal=0.95)
def wide_500_400_1000_d4(seed: int) -> dict:
    return two_factors(seed, 500, 400, 1000, 4, 1.0)


@case(group="products", figure="every atom used twice exact, < 1 % extra, 95 % of seeds", goal=0.95)
def wide_500_400_1000_d6(seed: int) -> dict:
    return two_factors(seed, 500, 400, 1000, 6, 1.0)


@case(group="products", figure="every atom used twice exact, < 1 % extra, 95 % of seeds", goal=0.95)
def wide_2000_1600_4000_d3(seed: int) -> dict:
    return two_factors(seed, 2000, 1600, 4000, 3, 1.0)


@case(group="products", figure="every atom used twice exact, < 1 % extra, 95 % of seeds", goal=0.95)
def wide_2000_1600_4000_d4(seed: int) -> dict:
    return two_factors(seed, 2000, 1600, 4000, 4, 1.0)


@case(group="products", figure="every atom used twice exact, < 1 % extra, 95 % of seeds", goal=0.95)
def wide_2000_1600_4000_d6(seed: int) -> dict:
    return two_factors(seed, 2000, 1600, 4000, 6, 1.0)


@case(group="products", figure=">= .99 of the determined atoms used twice")
def square_500_d3(seed: int) -> dict:
    return two_factors(seed, 500, 500, 500, 3, 0.99)


@case(group="products", figure=">= .99 of the determined atoms used twice")
def square_500_d4(seed: int) -> dict:
    return two_factors(seed, 500, 500, 500, 4, 0.99)


@case(group="products", figure=">= .995 of the determined atoms used twice")
def square_500_d5(seed: int) -> dict:
    return two_factors(seed, 500, 500, 500, 5, 0.995)


@case(group="products", figure=">= .995 of the determined atoms used twice")
def square_500_d6(seed: int) -> dict:
    return two_factors(seed, 500, 500, 500, 6, 0.995)


@case(group="products", figure=">= .995 of the determined atoms used twice")
def square_500_d8(seed: int) -> dict:
    return two_factors(seed, 500, 500, 500, 8, 0.995)


@case(group="products", figure=">= .99 of the determined atoms used twice")
def square_1000_d3(seed: int) -> dict:
    return two_factors(seed, 1000, 1000, 1000, 3, 0.99)


@case(group="products", figure=">= .99 of the determined atoms used twice")
def square_1000_d4(seed: int) -> dict:
    return two_factors(seed, 1000, 1000, 1000, 4, 0.99)


@case(group="products", figure=">= .99 of the determined atoms used twice")
def square_2000_d3(seed: int) -> dict:
    return two_factors(seed, 2000, 2000, 2000, 3, 0.99)


@case(group="products", figure=">= .99 of the determined atoms used twice")
def square_2000_d4(seed: int) -> dict:
    return two_factors(seed, 2000, 2000, 2000, 4, 0.99)


@case(group="products", figure=">= .995 of the determined atoms used twice")
def square_2000_d6(seed: int) -> dict:
    return two_factors(seed, 2000, 2000, 2000, 6, 0.995)


@case(group="products", figure="candidates at n = 100 000, d = 4 in <= 10 s")
def candidates_100000_d4(seed: int) -> dict:
    n = 100_000
    X, truth = make_sparse_product(
        n, n, n_hidden=[n], n_nonzero=4, sparse_output=True, random_state=seed
    )
    start = time.process_time()
    candidates, _ = intersection_candidates(X, np.random.RandomState(seed), max_pairs=40 * n)
    seconds = time.process_time() - start
    codes, atoms = truth.factors_
    uses = np.bincount(codes.indices, minlength=n)
    return {
        "candidates": candidates.shape[0],
        "true_among_them": share_found(atoms[uses >= 2], candidates),
        "seconds": seconds,
        "success": seconds <= 10,
    }


@case(group="products", figure="noise of a tenth of the unit: every identified node is true")
def noisy_1000_800_2000_d4(seed: int) -> dict:
    X, truth = make_sparse_product(
        2000, 1000, n_hidden=[800], n_nonzero=4, noise=0.1, scale=0.37, random_state=seed
    )
    fitted = quiet_fit(X, seed)
    exact = share_found(truth.factors_[1], fitted.components_)
    proven = np.array(fitted.report_.identified)
    right = share_found(fitted.components_[np.flatnonzero(proven)], truth.factors_[1])
    return {
        "exact_atoms": exact,
        "identified": float(proven.mean()),
        "identified_true": right,
        "scale_error": abs(fitted.scale_ - 0.37),
        "scale_std": fitted.scale_std_,
        "success": right == 1.0 and exact > 0.99,
    }


def quiet_fit(X: np.ndarray, seed: int, **parameters) -> SparseDeepFactorizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SparseDeepFactorizer(random_state=seed, **parameters).fit(X)


@case(
    group="products",
    figure="chain of three layers, split by sparsity alone: last layer >= .95, no false claim",
)
def chain_1000_450_400_500_d3(seed: int) -> dict:
    X, truth = make_sparse_product(1000, 500, n_hidden=[450, 400], n_nonzero=3, random_state=seed)
    fitted = quiet_fit(X, seed, n_factors=3, method="intersection")
    last = fitted.n_factors_ - 1
    known = np.array([u["identified"] for u in fitted.report_.units if u["layer"] == last])
    claims = fitted.components_[np.flatnonzero(known)]
    n_claims = claims.shape[0]
    n_true = share_found(claims, truth.factors_[-1]) * n_claims if n_claims else 0
    n_false = round(n_claims - n_true)
    # Nodes that no row of the layer before uses leave no trace.
    used = np.unique(truth.factors_[1].indices)
    found = share_found(truth.factors_[-1][used], fitted.components_)
    return {
        "factors": fitted.n_factors_,
        "last_layer_found": found,
        "last_layer_identified": int(known.sum()),
        "false_claims": n_false,
        "status": fitted.report_.status,
        "success": found >= 0.95 and n_false == 0,
    }


@case(
    group="products",
    figure="1500 x 100 x 80 x 240: last layer >= .98, middle layer >= .95 found",
)
def chain_1500_100_80_240(seed: int) -> dict:
    X, truth = make_sparse_product(
        1500, 240, n_hidden=[100, 80], n_nonzero=[3, 4, 4], random_state=seed
    )
    fitted = quiet_fit(X, seed, n_factors=3)
    last = share_found(truth.factors_[-1], fitted.components_)
    product = fitted.factors_[1] @ fitted.factors_[2]
    middle = share_found(sp.csr_array(truth.factors_[1] @ truth.factors_[2]), sp.csr_array(product))
    return {
        "factors": fitted.n_factors_,
        "last_layer_found": last,
        "middle_layer_found": middle,
        "identified": float(np.mean(fitted.report_.identified)),
        "status": fitted.report_.status,
        "success": last >= 0.98 and middle >= 0.95,
    }


@case(group="products", figure="default fit of 200 x 10 dense data ends in < .3 s, not recovered")
def dense_200_10(seed: int) -> dict:
    X = np.random.RandomState(seed).standard_normal((200, 10))
    quiet_fit(X, seed)
    start = time.process_time()
    fitted = quiet_fit(X, seed)
    seconds = time.process_time() - start
    return {
        "seconds": seconds,
        "status": fitted.report_.status,
        "success": seconds < 0.3 and fitted.report_.status == "not_recovered",
    }


@case(group="products", figure="two layers at n = 10 000, d = 4, finished", goal=1.0)
def square_10000_d4(seed: int) -> dict:
    return two_factors(seed, 10_000, 10_000, 10_000, 4, 0.99)


@case(
    group="products",
    figure="spams on the data of wide_500_400_1000_d4, swept over lambda1 .05-.4",
    requires=("spams",),
    goal=0.0,
)
def spams_500_400_1000_d4(seed: int) -> dict:
    import spams

    X, truth = make_sparse_product(1000, 500, n_hidden=[400], n_nonzero=4, random_state=seed)
    data = np.asfortranarray(X.T / np.maximum(np.linalg.norm(X, axis=1), 1e-12))
    start, best = time.process_time(), 0.0
    for penalty in (0.05, 0.1, 0.2, 0.4):
        D = spams.trainDL(data, K=400, lambda1=penalty, iter=500, numThreads=1)
        true = truth.factors_[1].toarray()
        true /= np.linalg.norm(true, axis=1, keepdims=True)
        best = max(best, float(np.mean(np.abs(true @ D).max(axis=1) > 0.99)))
    return {"exact_atoms": best, "seconds": time.process_time() - start, "success": best > 0.99}
