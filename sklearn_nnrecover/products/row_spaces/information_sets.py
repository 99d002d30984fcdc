"""Sparsest vectors of a row space, found through information sets.

Model: ``Y (n_rows, n_columns) = Z @ F`` with F ``(rank, n_columns)`` sparse, rank below n_columns;
Z may be dense, and a product of any number of further factors. The rows of F are then the sparsest
vectors of the row space of Y, whatever Z is: its lightest basis (`sparsest_bases`). Which of its
rows no other vector can replace follows from the list of all light vectors (`minimum_weight`).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.layer_inversion import least_squares_codes
from sklearn_nnrecover.products.peeling import SPARSE, Evidence, Peel
from sklearn_nnrecover.products.row_agreement import pattern
from sklearn_nnrecover.products.row_spaces.basis_exchanges import integral_basis
from sklearn_nnrecover.products.row_spaces.orthonormal_bases import Balanced, balanced, row_space
from sklearn_nnrecover.products.row_spaces.remainders import (
    RESIDUAL_PER_EPS,
    dense_rows,
    seen_repeatedly,
    solve_remainder,
)
from sklearn_nnrecover.products.row_spaces.rounded_vectors import blur_of_vectors
from sklearn_nnrecover.products.row_spaces.sparsest_bases import DEFAULT_BUDGET, sparsest_basis
from sklearn_nnrecover.products.row_spaces.systematic_bases import BLUR

MIN_CODIMENSION = 4
"""Columns beyond the rank without which no vector can be called sparse on evidence."""

CLAIMED_BLUR = 1e-3
"""No claim is made about rows with a non-zero of which rounding may be more than this part."""


def replaceable(
    pool: sp.csr_array, chosen: np.ndarray, max_weight: int, *, rounded: bool = False
) -> np.ndarray:
    """Whether a vector of weight at most ``max_weight`` can take the place of each chosen one.

    The pool lists all such vectors but those that are sums of two listed ones without a
    cancellation; their supports are unions, so that pairs of supports decide.

    Parameters
    ----------
    pool : csr_array of shape (n_vectors, n_columns)
    chosen : ndarray of int
        Rows of the pool that form a basis.
    max_weight : int
    rounded : bool, default=False
        The data are coarser than double precision.

    Returns
    -------
    ndarray of bool, shape (n_chosen,)
    """
    result = np.zeros(len(chosen), dtype=bool)
    weights = np.diff(pool.indptr)
    light = np.flatnonzero(weights <= max_weight)
    others = np.setdiff1d(light, chosen)
    if len(others):
        basis, vectors = sp.csr_array(pool[chosen]), pool[others].toarray()
        codes = least_squares_codes(basis, vectors)
        needed = np.abs(codes) > 1e-6 * np.abs(codes).max()
        if rounded:
            # What is left outside the space measures what rounding does to the codes.
            spare = max(1, basis.shape[1] - basis.shape[0])
            rounding = np.linalg.norm(vectors - codes @ basis, axis=1, keepdims=True) / spare**0.5
            inverse = np.linalg.pinv(basis.toarray())
            needed &= np.abs(codes) > BLUR * rounding * np.linalg.norm(inverse, axis=0)
        result |= np.any(needed, axis=0)
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
    eps: float = 0.0,
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
    eps : float, default=0.0
        Rounding of the entries, relative to each, where it is coarser than double precision.

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
    is_integer = np.array_equal(Y, np.rint(Y))
    ones = np.ones(Y.shape[0]), np.ones(n_columns)
    scaled = Balanced(Y, *ones) if is_integer else balanced(Y, eps)
    # A Gaussian matrix with fewer rows than columns passes here, and fails in PATIENCE forms.
    space = row_space(scaled.matrix, eps=0.0 if is_integer else eps)
    rank = space.rank
    codimension = n_columns - rank
    if rank < 1 or codimension < MIN_CODIMENSION:
        return None
    max_weight = max(1, codimension // 2)
    row_weights = np.count_nonzero(Y, axis=1)
    # Rows of sparse data are sparse vectors of their own row space: a factor has lighter ones.
    max_weight = min(max_weight, int(np.quantile(row_weights[row_weights > 0], 0.75)))
    if n_nonzero is not None:
        max_weight = min(n_nonzero, max_weight)
    search = yield from sparsest_basis(
        space, max_weight=max_weight, n_rows=Y.shape[0], rng=rng, budget=budget
    )
    if len(search.chosen) < rank:
        return None
    chosen, listing = search.chosen, search.listing
    if is_integer:
        chosen = integral_basis(search.pool, chosen, Y)
    vectors = sp.csr_array(search.pool[chosen])
    heaviest = int(np.diff(vectors.indptr).max())
    blur = blur_of_vectors(vectors, space)
    proven = np.zeros(rank, dtype=bool)
    complete = listing.complete_weight >= heaviest
    if complete:
        is_rounded = space.column_noise is not None
        proven = ~replaceable(search.pool, chosen, heaviest, rounded=is_rounded)
        proven &= blur <= CLAIMED_BLUR
    solved = solve_remainder(scaled.matrix, vectors, eps=eps)
    if solved is None:
        return None
    factor, remainder, residual = solved
    most_residual = max(1e-9, RESIDUAL_PER_EPS * eps)
    proven &= residual <= most_residual
    factor, scales = row_gauge(sp.csr_array(factor @ sp.diags_array(scaled.columns)))
    remainder = scaled.rows[:, None] * remainder * scales
    if np.count_nonzero(Y) <= SPARSE * Y.size:
        proven &= seen_repeatedly(remainder, rng, eps=eps)
    evidence = [
        Evidence(
            "weight up to which every vector of the row space is known",
            float(listing.complete_weight),
            float(heaviest),
            complete,
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
            most_residual,
            residual <= most_residual,
            "relative distance between the data and remainder times factor",
        ),
    ]
    if space.column_noise is not None:
        evidence.append(
            Evidence(
                "part of a non-zero of the factor that may be rounding",
                float(blur.max()),
                CLAIMED_BLUR,
                bool(np.all(blur <= CLAIMED_BLUR)),
                "the rest of each entry is known; entries that rounding alone explains count as "
                "zero, and no claim is made about rows where it may be more",
            )
        )
    if not complete:
        once, twice = (int(np.sum(search.hits == count)) for count in (1, 2))
        missed = once**2 / (2 * max(twice, 1))
        evidence.append(
            Evidence(
                "vectors that the random search misses",
                missed,
                0.05,
                missed <= 0.05,
                f"expected number (Chao's estimate), as {once} rows were met in one and {twice} in "
                f"two of {search.n_forms} random systematic forms; measured, not a proof",
            )
        )
    complete = complete and bool(np.any(proven))
    return Peel(factor, remainder, proven, evidence, complete=complete)
