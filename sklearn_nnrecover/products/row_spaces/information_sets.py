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
from sklearn_nnrecover.products.row_spaces.basis_exchanges import (
    integral_basis,
    least_correlated_basis,
)
from sklearn_nnrecover.products.row_spaces.lightest_bases import (
    SparseVectors,
    distinct_vectors,
    lightest_independent,
)
from sklearn_nnrecover.products.row_spaces.minimum_weight import (
    Listing,
    list_light_vectors,
    reachable_weight,
)
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

ENOUGH_HITS = 2
"""The search ends when every vector of the basis was found in so many systematic forms."""

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
    pool : csr_array of shape (n_seen, n_columns)
        All vectors seen that are no heavier than the heaviest of the basis; row gauge, lightest
        first.
    chosen : ndarray of int, shape (n_found,)
        Rows of the pool that are the basis, or part of one: ``n_found <= rank``.
    hits : ndarray of int, shape (n_found,)
        How many systematic forms, drawn independently, showed each of them.
    n_forms : int
        Number of systematic forms drawn.
    listing : Listing
        Every vector of the space up to a weight, part of the pool.
    """

    pool: sp.csr_array
    chosen: np.ndarray
    hits: np.ndarray
    n_forms: int
    listing: Listing

    @property
    def vectors(self) -> sp.csr_array:
        """The basis, ``(n_found, n_columns)``."""
        return sp.csr_array(self.pool[self.chosen])


class _Pool:
    """Vectors seen, how often each was, and the lightest basis among them."""

    def __init__(self, space: RowSpace):
        self.space = space
        # Two counts of each vector: forms that showed it, and verdicts that lighter ones span it.
        none = np.zeros((0, 2), dtype=int)
        self.seen = SparseVectors(sp.csr_array((0, space.basis.shape[1])), none)
        self.chosen = np.zeros(0, dtype=int)
        self.listing = Listing(0, self.seen.vectors, 0)

    def add(self, vectors: sp.csr_array, hits: int) -> None:
        """Add distinct vectors that were met ``hits`` times."""
        counts = np.tile([hits, 0], (vectors.shape[0], 1))
        self.seen = distinct_vectors(
            sp.csr_array(sp.vstack([self.seen.vectors, vectors])), np.r_[self.seen.hits, counts]
        )

    def list_up_to(self, weight: int, rng: np.random.RandomState) -> None:
        """Add every vector of at most that weight where this can be proven, once."""
        if self.listing.asked_weight < weight <= reachable_weight(self.space):
            self.listing = list_light_vectors(self.space, max_weight=weight, rng=rng)
            self.add(self.listing.vectors, 0)

    def choose(self, heaviest: int) -> None:
        """Forget heavier vectors and choose the lightest basis."""
        light = self.seen.weights <= heaviest
        self.seen = SparseVectors(self.seen.vectors[light], self.seen.hits[light])
        # What lighter vectors span once they span for ever.
        open_ones = np.flatnonzero(self.seen.hits[:, 1] == 0)
        self.chosen = open_ones[lightest_independent(self.seen.vectors[open_ones], self.space)]
        self.seen.hits[np.setdiff1d(open_ones, self.chosen), 1] = 1

    @property
    def hits(self) -> np.ndarray:
        """How often each chosen vector was seen."""
        return self.seen.hits[self.chosen, 0]

    @property
    def chosen_weights(self) -> np.ndarray:
        """Non-zeros of each chosen vector."""
        return self.seen.weights[self.chosen]


def sparsest_basis(
    space: RowSpace,
    *,
    max_weight: int,
    n_rows: int,
    rng: np.random.RandomState,
    budget: int = DEFAULT_BUDGET,
) -> Steps[SparsestBasis]:
    """Search the lightest basis of a row space through random information sets.

    As soon as there is a basis, all vectors are listed up to the weight that can be proven. If it
    is no lighter than the basis the search is over; else every vector must be met several times.

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
    pool = _Pool(space)
    heaviest, missing, next_check, depth = max_weight, rank, 1, 2
    n_forms, n_rest = 0, n_columns - rank
    total, total_since, progress, widened, is_limited = 0, 0, 0, 0, False
    # Four non-zeros on the pivots pay where a sparse vector has most of its non-zeros there.
    deepest = 4 if n_columns < 1.6 * rank else 3
    for n_forms in range(1, budget + 1):
        # Columns of low leverage meet few of the sparse vectors: good pivots.
        systematic = systematic_basis(basis, np.exp(rng.normal(size=n_columns)) / leverage**2)
        typical = int(np.median(pool.seen.weights)) if len(pool.seen.hits) else heaviest
        found = sparse_combinations(
            systematic,
            n_columns,
            heaviest,
            rng,
            n_vanishing=min(n_rest, max(3, min(16, n_rest // max(typical, 1)))),
            depth=depth,
        )
        # Three rows of a form that sum to a sparse vector show it three times.
        pool.add(distinct_vectors(found, np.ones(found.shape[0], dtype=int)).vectors, 1)
        if found.shape[0] < rank / 8:
            depth = min(deepest, depth + 1)
        if not is_limited and len(pool.seen.hits) >= rank / 8:
            # Sums of two sparse vectors are twice as heavy: leave them out while there is a choice.
            is_limited = True
            heaviest = min(max_weight, 2 * int(np.quantile(pool.seen.weights, 0.1)))
        if n_forms in (next_check, budget):
            next_check = 1 + int(1.25 * n_forms)
            pool.choose(heaviest)
            before, missing = missing, rank - len(pool.chosen)
            if missing < before:
                progress = n_forms
            if missing == 0:
                if missing < before:
                    # Some vectors of the first basis are sums that lighter ones will replace.
                    pool.list_up_to(int(np.quantile(pool.chosen_weights, 0.9)), rng)
                    pool.choose(heaviest)
                heaviest = int(pool.chosen_weights[-1])
                if int(pool.chosen_weights.sum()) != total:
                    total, total_since = int(pool.chosen_weights.sum()), n_forms
                settled = n_forms >= max(SETTLED_FORMS, 1.5 * total_since)
                proven = pool.listing.complete_weight >= heaviest
                if proven or settled or pool.hits.min() >= ENOUGH_HITS:
                    yield Step(0.0, 0.0)
                    break
                depth = min(deepest, depth + 1)
            else:
                n_alike = n_forms - widened
                exhausted = missing > (budget - n_forms) * _most_new(pool.hits, n_alike)
                if depth < deepest and (exhausted or missing > 0.9 * before):
                    depth, widened = depth + 1, n_forms
                elif heaviest < max_weight and (exhausted or missing == before):
                    heaviest, widened = min(max_weight, 2 * heaviest), n_forms
                elif n_alike >= PATIENCE and (exhausted or progress <= n_forms / 2):
                    break
        yield Step(float(missing), missing / rank)
        if n_forms >= PATIENCE and not len(pool.seen.hits):
            break
    if missing == 0:
        pool.list_up_to(heaviest, rng)
        pool.choose(heaviest)
        pool.choose(int(pool.chosen_weights[-1]))
        pool.chosen = least_correlated_basis(pool.seen.vectors, pool.chosen, space, n_rows)
    return SparsestBasis(pool.seen.vectors, pool.chosen, pool.hits, n_forms, pool.listing)


def _most_new(hits: np.ndarray, n_forms: int) -> float:
    """Bound on the new vectors that one more systematic form shows, by the hits of those seen.

    The chance of something new is about the share of vectors seen once (Good and Turing, 1953),
    and it only falls. Three standard deviations are added.
    """
    seen_once = int(np.sum(hits == 1))
    return float(seen_once + 3.0 * np.sqrt(seen_once) + 3.0) / max(n_forms, 1)


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
    if np.array_equal(Y, np.rint(Y)):
        chosen = integral_basis(search.pool, chosen, Y)
    vectors = sp.csr_array(search.pool[chosen])
    heaviest = int(np.diff(vectors.indptr).max())
    proven = np.zeros(rank, dtype=bool)
    complete = listing.complete_weight >= heaviest
    if complete:
        proven = ~replaceable(search.pool, chosen, heaviest)
    solved = solve_remainder(Y, vectors)
    if solved is None:
        return None
    factor, remainder, residual = solved
    if np.count_nonzero(Y) <= SPARSE * Y.size:
        proven &= seen_repeatedly(remainder, rng)
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
            1e-9,
            residual <= 1e-9,
            "relative distance between the data and remainder times factor",
        ),
    ]
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
