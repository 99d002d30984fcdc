"""From data to a chain of sparse factors with its status: prepare, split, judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import working_memory_bytes
from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.chain_judgement import judged_chain
from sklearn_nnrecover.products.fast_transforms.butterflies import butterfly_factors
from sklearn_nnrecover.products.method_order import automatic_order, is_low_rank, peel_methods
from sklearn_nnrecover.products.noisy.entry_errors import entry_errors
from sklearn_nnrecover.products.noisy.noisy_products import (
    dense_bytes,
    noisy_status,
    recover_noisy_factors,
)
from sklearn_nnrecover.products.peeling import (
    Chain,
    Evidence,
    Link,
    Matrix,
    count_nonzero,
    peel_chain,
)
from sklearn_nnrecover.products.prepared_data import PreparedData, noise_of_reals, prepare_data
from sklearn_nnrecover.products.recovery import Recovery, nothing_recovered
from sklearn_nnrecover.products.recovery_status import chain_status, product_error, unit_table


def recover_chain(
    X: Matrix,
    *,
    method: str,
    n_factors: int | None,
    n_nonzero: int | None,
    n_init: int,
    max_iter: int,
    eps: float,
    rng: np.random.RandomState,
) -> Steps[Recovery]:
    """Recover sparse factors of X.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
    method : str
        ``"auto"`` or the name of one method.
    n_factors, n_nonzero : int or None
        Number of factors and bound on the non-zeros of their rows, None where unknown.
    n_init, max_iter : int
        Starts, and sweeps of each.
    eps : float
        Rounding of X, relative to its largest entry.
    rng : RandomState

    Yields
    ------
    Step

    Returns
    -------
    Recovery
    """
    data = prepare_data(X, eps)
    yield Step(float(count_nonzero(data.matrix)), 1.0)
    if not data.is_integer and method in ("auto", "intersection"):
        found = yield from _behind_noise(
            X,
            data,
            eps,
            is_asked=method == "intersection",
            n_factors=n_factors,
            n_nonzero=n_nonzero,
            n_init=n_init,
            max_iter=max_iter,
            rng=rng,
        )
        if found is not None:
            return found
    chain = Chain([sp.csr_array(data.matrix)], [], [])
    # A product through few nodes is hardly a fast transform, and its row space is searched sooner.
    seeks_transform = method in ("auto", "butterfly") and n_factors is None
    seeks_transform = seeks_transform and _is_dense(data.matrix)
    transform_last = seeks_transform and method == "auto" and is_low_rank(data.matrix)
    if seeks_transform and not transform_last:
        chain = _fast_transform(data.matrix, rng) or chain
    if not chain.links and count_nonzero(data.matrix) and method != "butterfly":
        names, last_resort = automatic_order(data.matrix) if method == "auto" else ((method,), ())
        chain = yield from peel_chain(
            data.matrix,
            peel_methods(names, n_init, max_iter),
            rng=rng,
            n_factors=n_factors,
            n_nonzero=n_nonzero,
            last_resort=last_resort,
        )
    if not chain.links and transform_last:
        chain = _fast_transform(data.matrix, rng) or chain
    if not chain.links:
        return nothing_recovered(X, chain_status(chain, 0.0, 0.0, None), data.conditions)
    return judged_chain(X, data, chain, eps)


def _behind_noise(
    X: Matrix,
    data: PreparedData,
    eps: float,
    *,
    is_asked: bool,
    rng: np.random.RandomState,
    **search: Any,
) -> Steps[Recovery | None]:
    """Recover real factors behind noise; None where there is none, or no factors are found."""
    noise = noise_of_reals(X, eps)
    if noise is None or (not is_asked and dense_bytes(X) > working_memory_bytes()):
        return None
    noisy = yield from recover_noisy_factors(
        X, noise.level, rounded=noise.is_rounding, rng=rng, **search
    )
    if noisy is None:
        return None
    fit = noisy.fit
    links = [Link(claim, "intersection", "features", "local") for claim in noisy.identified]
    error = product_error(X, 1.0, fit.factors)
    status, error_condition, exact = noisy_status(noisy, error, 100 * eps)
    return Recovery(
        fit.factors,
        1.0,
        0.0,
        len(fit.factors),
        status,
        [*data.conditions, *noisy.conditions, error_condition],
        unit_table(links, fit.factors),
        factors_std=entry_errors(
            fit.factors, noisy.identified, None if exact else fit.standard_errors
        ),
    )


def _is_dense(A: Matrix) -> bool:
    """Whether most entries are non-zero, as those of a fast transform are."""
    return 2 * count_nonzero(A) > A.shape[0] * A.shape[1]


def _fast_transform(A: Matrix, rng: np.random.RandomState) -> Chain | None:
    """Factors of a fast transform, of which there are always several, or None."""
    factors = butterfly_factors(A, rng=rng)
    if factors is None or sum(F.nnz for F in factors) >= count_nonzero(A):
        return None
    links = [
        Link(np.zeros(F.shape[0], dtype=bool), "butterfly", "both", "local") for F in factors[1:]
    ]
    entries = factors[0].shape[0] * factors[-1].shape[1]
    nonzeros = sum(F.nnz for F in factors)
    condition = Evidence(
        "non-zeros of the fast transform",
        nonzeros,
        entries,
        nonzeros < entries,
        "fewer than the entries of X",
    )
    return Chain(factors, links, [condition])
