"""Sparsest vectors of a row space, found through information sets.

Model: ``Y (n_rows, n_columns) = Z @ F`` with F ``(rank, n_columns)`` sparse, rank below n_columns;
Z may be dense, and a product of any number of further factors. The rows of F are then the sparsest
vectors of the row space of Y, whatever Z is. Random systematic bases show them
(`systematic_bases`), the greedy lightest basis of all that was seen is F (`lightest_bases`), and a
bound on the weight of anything else proves it where the data allow (`minimum_weight`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.layer_inversion import least_squares_codes
from sklearn_nnrecover.products.peeling import SPARSE, Evidence, Peel
from sklearn_nnrecover.products.row_agreement import pattern
from sklearn_nnrecover.products.row_spaces.basis_exchanges import least_correlated_basis
from sklearn_nnrecover.products.row_spaces.lightest_bases import (
    SparseVectors,
    distinct_vectors,
    lightest_independent,
)
from sklearn_nnrecover.products.row_spaces.minimum_weight import list_light_vectors
from sklearn_nnrecover.products.row_spaces.remainders import (
    dense_rows,
    seen_repeatedly,
    solve_remainder,
)
from sklearn_nnrecover.products.row_spaces.systematic_bases import (
    RowSpace,
    row_space,
    sparse_combinations,
    systematic_basis,
)

DEFAULT_BUDGET = 400
"""Systematic forms drawn at most."""

PATIENCE = 30
"""Systematic forms without a single sparse vector after which the search ends."""

ENOUGH_HITS = 3
"""The search ends when every vector of the basis was found so often, independently."""

SETTLED_FORMS = 120
"""After so many forms a basis that the last third of them has not made lighter is kept."""

EMPTY_LEVERAGE = 1e-16
"""Squared entries of a column of an orthonormal basis that are rounding."""

SMALLEST_LEVERAGE = 1e-3
"""Columns of lower leverage are preferred as pivots no more than those of this one."""

MIN_CODIMENSION = 4
"""Columns beyond the rank without which no vector can be called sparse on evidence."""


class SparsestBasis(NamedTuple):
    """A lightest basis found in a row space, after exchanges where the codes know better.

    Attributes
    ----------
    vectors : csr_array of shape (n_found, n_columns)
        In the row gauge, lightest first; ``n_found <= rank``.
    hits : ndarray of int
        How many systematic forms, drawn independently, showed each vector.
    n_forms : int
        Number of systematic forms drawn.
    pool : csr_array of shape (n_seen, n_columns)
        All vectors seen that are no heavier than the heaviest of the basis.
    """

    vectors: sp.csr_array
    hits: np.ndarray
    n_forms: int
    pool: sp.csr_array


def sparsest_basis(
    space: RowSpace,
    *,
    max_weight: int,
    n_rows: int,
    rng: np.random.RandomState,
    budget: int = DEFAULT_BUDGET,
) -> Steps[SparsestBasis]:
    """Search the lightest basis of a row space through random information sets.

    Parameters
    ----------
    space : RowSpace
        Of rank below ``n_columns``.
    max_weight : int
        Heaviest vector accepted.
    n_rows : int
        Rows of the data, for the choice between bases that are equally light.
    rng : RandomState
    budget : int, default=DEFAULT_BUDGET
        Systematic forms drawn at most.

    Yields
    ------
    Step
        Once per systematic form: objective is the number of basis vectors still missing (an upper
        bound between two checks), gap the share of them.

    Returns
    -------
    SparsestBasis
    """
    basis, rank = space.basis, space.rank
    n_columns = basis.shape[1]
    leverage = np.sum(basis**2, axis=0)
    # A column of zeros holds rounding errors, which no weight may turn into a pivot.
    leverage[leverage < EMPTY_LEVERAGE] = 1.0
    leverage = np.maximum(leverage, SMALLEST_LEVERAGE)
    pool = SparseVectors(sp.csr_array((0, n_columns)), np.zeros(0, dtype=int))
    chosen = np.zeros(0, dtype=int)
    heaviest, missing, next_check, depth = max_weight, rank, 1, 2
    n_forms, n_rest = 0, n_columns - rank
    total, total_since = 0, 0
    # Four non-zeros on the pivots pay where a sparse vector has most of its non-zeros there.
    deepest = 4 if n_columns < 1.6 * rank else 3
    for n_forms in range(1, budget + 1):
        # Columns of low leverage meet few of the sparse vectors: good pivots.
        systematic = systematic_basis(basis, np.exp(rng.normal(size=n_columns)) / leverage**2)
        typical = int(np.median(pool.weights)) if len(pool.hits) else heaviest
        found = sparse_combinations(
            systematic,
            n_columns,
            heaviest,
            rng,
            n_vanishing=min(n_rest, max(3, min(16, n_rest // max(typical, 1)))),
            depth=depth,
        )
        pool = distinct_vectors(
            sp.csr_array(sp.vstack([pool.vectors, found])),
            np.r_[pool.hits, np.ones(found.shape[0], dtype=int)],
        )
        if found.shape[0] < rank / 8:
            depth = min(deepest, depth + 1)
        if heaviest == max_weight and len(pool.hits) >= rank / 8:
            # Sums of two sparse vectors are twice as heavy: leave them out while there is a choice.
            heaviest = min(max_weight, 2 * int(np.quantile(pool.weights, 0.1)))
        if n_forms in (next_check, budget):
            next_check = 1 + int(1.25 * n_forms)
            light = pool.weights <= heaviest
            pool = SparseVectors(pool.vectors[light], pool.hits[light])
            chosen, _ = lightest_independent(pool.vectors, space)
            before, missing = missing, rank - len(chosen)
            if missing == 0:
                heaviest = int(pool.weights[chosen[-1]])
                if int(pool.weights[chosen].sum()) != total:
                    total, total_since = int(pool.weights[chosen].sum()), n_forms
                settled = n_forms >= max(SETTLED_FORMS, 1.5 * total_since)
                if settled or pool.hits[chosen].min() >= ENOUGH_HITS:
                    yield Step(0.0, 0.0)
                    break
                depth = min(deepest, depth + 1)
            elif missing == before and depth == deepest:
                heaviest = min(max_weight, 2 * heaviest)
            elif missing > 0.9 * before:
                depth = min(deepest, depth + 1)
        yield Step(float(missing), missing / rank)
        if n_forms >= PATIENCE and not len(pool.hits):
            break
    if len(chosen) == rank:
        light = pool.weights <= pool.weights[chosen].max()
        chosen = (np.cumsum(light) - 1)[chosen]
        pool = SparseVectors(pool.vectors[light], pool.hits[light])
        chosen = least_correlated_basis(pool.vectors, chosen, space, n_rows)
    return SparsestBasis(pool.vectors[chosen], pool.hits[chosen], n_forms, pool.vectors)


def replaceable(pool: sp.csr_array, chosen: np.ndarray, max_weight: int) -> np.ndarray:
    """Whether a vector of weight at most ``max_weight`` can take the place of each chosen one.

    The pool lists all such vectors but those that are sums of two listed ones without a
    cancellation; their supports are unions, so that pairs of supports decide.

    Parameters
    ----------
    pool : csr_array of shape (n_vectors, n_columns)
    chosen : ndarray of int
        Rows of the pool that form a basis.
    max_weight : int

    Returns
    -------
    ndarray of bool, shape (n_chosen,)
    """
    result = np.zeros(len(chosen), dtype=bool)
    weights = np.diff(pool.indptr)
    light = np.flatnonzero(weights <= max_weight)
    others = np.setdiff1d(light, chosen)
    if len(others):
        codes = least_squares_codes(sp.csr_array(pool[chosen]), pool[others].toarray())
        result |= np.abs(codes).max(axis=0) > 1e-6 * np.abs(codes).max()
    supports = pattern(pool)
    shared = (supports[chosen] @ supports[light].T.tocsr()).tocoo()
    mine, other = chosen[shared.row], light[shared.col]
    union = weights[mine] + weights[other] - shared.data
    result[shared.row[(mine != other) & (union <= max_weight)]] = True
    # Of disjoint pairs the lightest partner decides.
    first, second = np.partition(np.r_[weights[light], np.inf, np.inf], 1)[:2]
    partner = np.where(weights[chosen] > first, first, second)
    return result | (weights[chosen] + partner <= max_weight)


def information_set_factor(
    Y: np.ndarray | sp.csr_array,
    *,
    n_nonzero: int | None = None,
    rng: np.random.RandomState,
    budget: int = DEFAULT_BUDGET,
) -> Steps[Peel | None]:
    """Peel the sparse right factor of a matrix whose rank is below its number of columns.

    Parameters
    ----------
    Y : ndarray or csr_array of shape (n_rows, n_columns)
        ``Y = Z @ F`` with F sparse of rank(Y) rows; Z may be dense and of any depth.
    n_nonzero : int or None, default=None
        Largest number of non-zeros of a row of the factor; None means half of
        ``n_columns - rank``, about the weight that linear algebra gives for free.
    rng : RandomState
    budget : int, default=DEFAULT_BUDGET
        Systematic forms drawn at most.

    Yields
    ------
    Step
        Once per systematic form, see `sparsest_basis`.

    Returns
    -------
    Peel or None
        None when the rank is full, or the sparse vectors found do not span the row space. Rows are
        proven in the class of factors with rank(Y) rows that are no heavier than the heaviest row
        found; of sparse data, where `seen_repeatedly` shows that the width is not just the number
        of samples.
    """
    Y = dense_rows(Y)
    n_columns = Y.shape[1]
    # A Gaussian matrix with fewer rows than columns passes here, and fails in PATIENCE forms.
    space = row_space(Y)
    rank = space.rank
    codimension = n_columns - rank
    if rank < 1 or codimension < MIN_CODIMENSION:
        return None
    max_weight = max(1, codimension // 2)
    if n_nonzero is not None:
        max_weight = min(n_nonzero, max_weight)
    search = yield from sparsest_basis(
        space, max_weight=max_weight, n_rows=Y.shape[0], rng=rng, budget=budget
    )
    if search.vectors.shape[0] < rank:
        return None
    heaviest = int(np.diff(search.vectors.indptr).max())
    listing = list_light_vectors(space, max_weight=heaviest, rng=rng)
    everything = sp.csr_array(sp.vstack([search.vectors, search.pool, listing.vectors]))
    pool = distinct_vectors(everything, np.ones(everything.shape[0], dtype=int)).vectors
    chosen, _ = lightest_independent(pool, space)
    chosen = least_correlated_basis(pool, chosen, space, Y.shape[0])
    heaviest = int(np.diff(pool.indptr)[chosen].max())
    proven = np.zeros(rank, dtype=bool)
    if listing.complete_weight >= heaviest:
        proven = ~replaceable(pool, chosen, heaviest)
    solved = solve_remainder(Y, sp.csr_array(pool[chosen]))
    if solved is None:
        return None
    factor, remainder, residual = solved
    if np.count_nonzero(Y) <= SPARSE * Y.size:
        proven &= seen_repeatedly(remainder, rng)
    rarest = int(search.hits.min())
    evidence = [
        Evidence(
            "weight up to which every vector of the row space is known",
            float(listing.complete_weight),
            float(heaviest),
            listing.complete_weight >= heaviest,
            f"{listing.n_sets} information sets list every vector with at most "
            f"{listing.complete_weight} non-zeros, apart from sums of lighter ones; the factor's "
            f"rows have up to {heaviest}",
        ),
        Evidence(
            "rows that no other vector of the row space can replace",
            float(np.sum(proven)),
            float(rank),
            bool(np.all(proven)),
            f"rows contained in every factor of this width whose rows have at most {heaviest} "
            "non-zeros; of sparse data, those seen through more samples than dimensions",
        ),
        Evidence(
            "residual of the peel",
            residual,
            1e-9,
            residual <= 1e-9,
            "relative distance between the data and remainder times factor",
        ),
    ]
    if listing.complete_weight < heaviest:
        # A vector met as rarely as the rarest one would stay unseen in all forms with this chance.
        missed = (1.0 - min(rarest / search.n_forms, 1.0)) ** search.n_forms
        evidence.append(
            Evidence(
                "chance that the random search misses a vector",
                missed,
                0.05,
                missed <= 0.05,
                f"the rarest row was met in {rarest} of {search.n_forms} random systematic forms; "
                "measured, not a proof",
            )
        )
    return Peel(factor, remainder, proven, evidence)
