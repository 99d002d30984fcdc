"""Real sparse factors behind noise: supports, claims, errors beside known supports, intervals."""

from __future__ import annotations

import time
import warnings

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from benchmarks.registry import case
from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.noisy.support_least_squares import (
    fit_supports,
    in_gauge,
)

GROUP = "products"

HIDDEN = 6.5
"""Standard errors below which an entry is not expected to be found."""


def rows_of(A: sp.csr_array) -> list[slice]:
    return [slice(a, b) for a, b in zip(A.indptr[:-1], A.indptr[1:], strict=True)]


def matched_rows(found: sp.csr_array, truth: list[sp.csr_array], noise: float) -> list[int | None]:
    """For each row found the true row of the same support, but for entries below the noise."""
    codes, layer = truth
    energy = np.sqrt(codes.power(2).sum(axis=0))
    of = {}
    for g, row in enumerate(rows_of(layer)):
        visible = np.abs(layer.data[row]) * energy[g] > HIDDEN * noise
        of[tuple(layer.indices[row][visible])] = g
        of[tuple(layer.indices[row])] = g
    return [of.get(tuple(found.indices[row])) for row in rows_of(found)]


def deviations(
    fitted: SparseDeepFactorizer, truth: list[sp.csr_array], partner: list[int | None]
) -> tuple[np.ndarray, int]:
    """Errors over standard errors of the identified nodes, and how many have a wrong support."""
    codes, layer = fitted.factors_
    code_errors, layer_errors = fitted.factors_std_[0].tocsc(), fitted.factors_std_[1]
    true_codes, true_layer = truth
    found, wrong = [np.empty(0)], 0
    for g, row in enumerate(rows_of(layer)):
        if not fitted.report_.units[g]["identified"]:
            continue
        if partner[g] is None:
            wrong += 1
            continue
        values, errors = layer.data[row], layer_errors.data[row]
        planted = true_layer[[partner[g]]].toarray().ravel()[layer.indices[row]]
        reference = int(np.argmin(np.abs(values)))
        scale = planted[reference] / values[reference]
        free = errors > 0
        found.append((values - planted / scale)[free] / errors[free])
        column = code_errors[:, [g]].toarray().ravel()
        free = (column > 0) & np.isfinite(column)
        difference = codes[:, [g]].toarray().ravel() - scale * (
            true_codes[:, [partner[g]]].toarray().ravel()
        )
        found.append(difference[free] / column[free])
    return np.concatenate(found), wrong


def behind_noise(seed: int, n: int, k: int, n_samples: int, d: int, noise: float) -> dict:
    X, truth = make_sparse_product(
        n_samples, n, n_hidden=[k], n_nonzero=d, values="real", noise=noise, random_state=seed
    )
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        fitted = SparseDeepFactorizer(random_state=0).fit(X)
    seconds = time.process_time() - start
    if fitted.n_factors_ < 2:
        return {"status": fitted.report_.status, "seconds": seconds, "success": False}
    planted = in_gauge(truth.factors_)
    partner = matched_rows(fitted.factors_[1], planted, noise)
    clean = (planted[0] @ planted[1]).toarray()
    told = fit_supports(X, planted).factors
    ours, best = (
        float(np.linalg.norm((C @ D).toarray() - clean)) for C, D in (fitted.factors_, told)
    )
    z, wrong = deviations(fitted, planted, partner)
    uses = np.bincount(planted[0].indices, minlength=k)
    found = len(set(partner) - {None}) / np.sum(uses > 1)
    return {
        "status": fitted.report_.status,
        "atoms_found": found,
        "identified": float(np.mean(fitted.report_.identified)),
        "wrong_claims": wrong,
        "error_over_known_supports": ours / best,
        "intervals": len(z),
        "coverage": float(np.mean(np.abs(z) < 1.96)),
        "seconds": seconds,
        "success": found >= 0.99 and wrong == 0 and ours <= 1.05 * best,
    }


FIGURE = "real factors: .99 of the atoms, no wrong claim, error 1.05 x that of known supports"


@case(group=GROUP, figure=f"{FIGURE}; noise .01", goal=0.9)
def real_500_400_1000_noise_001(seed: int) -> dict:
    return behind_noise(seed, 500, 400, 1000, 4, 0.01)


@case(group=GROUP, figure=f"{FIGURE}; noise .03", goal=0.9)
def real_500_400_1000_noise_003(seed: int) -> dict:
    return behind_noise(seed, 500, 400, 1000, 4, 0.03)


@case(group=GROUP, figure=f"{FIGURE}; noise .1", goal=0.9)
def real_500_400_1000_noise_01(seed: int) -> dict:
    return behind_noise(seed, 500, 400, 1000, 4, 0.1)


@case(group=GROUP, figure=f"{FIGURE}; square, d = 6, noise .03", goal=0.9)
def real_square_500_d6_noise_003(seed: int) -> dict:
    return behind_noise(seed, 500, 500, 500, 6, 0.03)


@case(
    group=GROUP,
    figure="three real factors behind noise .03: all three, no wrong claim, error 1.1 x that of "
    "known supports",
    goal=0.9,
)
def three_600_100_40_150_noise(seed: int) -> dict:
    X, truth = make_sparse_product(
        600, 150, n_hidden=[100, 40], n_nonzero=3, values="real", noise=0.03, random_state=seed
    )
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        fitted = SparseDeepFactorizer(random_state=0).fit(X)
    seconds = time.process_time() - start
    planted = in_gauge([sp.csr_array(F) for F in truth.factors_])
    clean = chain_product(planted).toarray()
    told = fit_supports(X, planted).factors
    ours, best = (
        float(np.linalg.norm(chain_product(factors).toarray() - clean))
        for factors in (fitted.factors_, told)
    )
    # What the nodes of each layer make of the features.
    nodes, found = (
        normalize(sp.vstack([chain_product(factors[level:]) for level in range(1, len(factors))]))
        for factors in (planted, fitted.factors_)
    )
    cosines = abs(found @ nodes.T).toarray().max(axis=1)
    identified = np.array(fitted.report_.identified)
    wrong = int(np.sum(identified & (cosines < 0.99)))
    return {
        "status": fitted.report_.status,
        "factors": fitted.n_factors_,
        "identified": int(identified.sum()),
        "wrong_claims": wrong,
        "error_over_known_supports": ours / best,
        "seconds": seconds,
        "success": fitted.n_factors_ == 3 and wrong == 0 and ours <= 1.1 * best,
    }
