"""The lightest basis of a row space, searched through random information sets.

Random systematic bases show the sparse vectors of a space again and again (`systematic_bases`), and
the greedy lightest basis of all that was seen is the answer (`lightest_bases`). The search is over
when a bound on the weight of anything else proves the basis (`minimum_weight`), or when each of its
vectors was met in several systematic forms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.row_spaces.basis_exchanges import least_correlated_basis
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
from sklearn_nnrecover.products.row_spaces.orthonormal_bases import RowSpace
from sklearn_nnrecover.products.row_spaces.rounded_vectors import refined_vectors
from sklearn_nnrecover.products.row_spaces.systematic_bases import (
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

    def show(self, vectors: sp.csr_array) -> None:
        """Add the vectors that one systematic form shows, each of them once."""
        if self.space.column_noise is not None:
            most = int(np.diff(vectors.indptr).max(initial=0))
            vectors = refined_vectors(vectors, self.space, max_weight=most).vectors
        self.add(distinct_vectors(vectors, np.ones(vectors.shape[0], dtype=int)).vectors, 1)

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
        preference = np.exp(rng.normal(size=n_columns)) / leverage**2
        systematic = systematic_basis(basis, preference, space=space)
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
        pool.show(found)
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
