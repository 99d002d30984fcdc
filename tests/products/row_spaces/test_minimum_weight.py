"""The list of light vectors against all vectors of small spaces, found by brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.products.row_spaces.minimum_weight import list_light_vectors
from sklearn_nnrecover.products.row_spaces.systematic_bases import row_space


def vectors_of_weight(space, weight):
    """Supports of at most ``weight`` columns that carry a vector of the row space."""
    n_columns = space.basis.shape[1]
    found = set()
    for support in combinations(range(n_columns), weight):
        outside = np.delete(space.basis, support, axis=1)
        _, singular, _ = np.linalg.svd(outside.T)
        rank = int(np.sum(singular > 1e-9))
        if rank == space.rank - 1:
            null = np.linalg.svd(outside.T)[2][-1]
            vector = null @ space.basis
            found.add(tuple(np.flatnonzero(np.abs(vector) > 1e-9)))
    return found


@pytest.mark.parametrize("rank", [4, 5])
def test_no_vector_below_the_proven_weight_is_missing(rng, rank):
    F = np.zeros((rank, 14))
    for row in F:
        row[rng.choice(14, 3, replace=False)] = rng.choice([-1.0, 1], 3)
    if np.linalg.matrix_rank(F) < rank:
        F = np.hstack([np.eye(rank), np.ones((rank, 14 - rank))])
    space = row_space(rng.standard_normal((20, rank)) @ F)
    listing = list_light_vectors(space, max_weight=3, rng=rng)
    listed = {tuple(row.nonzero()[0]) for row in listing.vectors.toarray()}
    every = vectors_of_weight(space, listing.complete_weight) if listing.complete_weight else set()
    # Sums of lighter vectors without a cancellation are left out on purpose.
    for support in every - listed:
        parts = [set(other) for other in listed if set(other) < set(support)]
        assert len(parts) >= 2
        assert set().union(*parts) == set(support)


def test_what_is_listed_lies_in_the_space(rng):
    F = sp.random_array((12, 40), density=0.1, random_state=rng).toarray()
    space = row_space(rng.standard_normal((20, 12)) @ F)
    vectors = list_light_vectors(space, max_weight=6, rng=rng).vectors.toarray()
    outside = vectors - (vectors @ space.basis.T) @ space.basis
    assert np.abs(outside).max(initial=0) < 1e-6
    assert np.all(np.count_nonzero(vectors, axis=1) <= 6)


def test_a_full_space_proves_nothing_beyond_its_unit_vectors(rng):
    space = row_space(rng.standard_normal((10, 8)))
    listing = list_light_vectors(space, max_weight=4, rng=rng)
    assert listing.complete_weight <= 1
