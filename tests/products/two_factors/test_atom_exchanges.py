"""Moves on a description keep the product and never lengthen it, and find what they are for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.products.integer_pursuit import cancelling_pairs, clean
from sklearn_nnrecover.products.two_factors.atom_exchanges import exchanged, refitted, split
from sklearn_nnrecover.products.two_factors.sparse_description import (
    Description,
    dissolved,
    merged_atoms,
    shorter_codes,
)

THRESHOLD = 1e-9


def random_description(rng):
    """Atoms that meet, codes that meet, and a remainder that has something to do with both."""
    C = rng.choice([0.0, 1, -1, 2], p=[0.6, 0.2, 0.15, 0.05], size=(12, 6))
    D = rng.choice([0.0, 1, -1], p=[0.6, 0.2, 0.2], size=(6, 10))
    R = rng.choice([0.0, 1, -1], p=[0.7, 0.15, 0.15], size=(12, 10))
    return Description(*(sp.csr_array(A) for A in (C, D, R)))


def product(state):
    return (state.C @ state.D + state.R).toarray()


@pytest.mark.parametrize("move", [refitted, exchanged, split, dissolved])
def test_a_move_keeps_the_product_and_does_not_cost(rng, move):
    changed = 0
    for _ in range(30):
        before = random_description(rng)
        after = move(before, THRESHOLD)
        np.testing.assert_allclose(product(after), product(before), atol=1e-9)
        # What dissolving returns to R may be more than the atom and its code were.
        if move is not dissolved:
            assert after.cost <= before.cost
        changed += after is not before
    assert changed > 0


def test_transposed_twice_is_the_same(rng):
    state = random_description(rng)
    there = state.transposed()
    np.testing.assert_allclose(product(there), product(state).T)
    assert there.length == state.length
    for A, B in zip(there.transposed(), state, strict=True):
        np.testing.assert_array_equal(A.toarray(), B.toarray())


def test_an_entry_that_most_users_are_left_with_moves_into_the_atom():
    D = np.array([[1.0, 1, 0, 0]])
    C = np.array([[1.0], [2], [-1], [0]])
    R = np.array([[0.0, 0, 3, 0], [0, 0, 6, 0], [0, 0, 0, 5], [0, 0, 3, 0]])
    after = refitted(Description(*map(sp.csr_array, (C, D, R))), THRESHOLD)
    np.testing.assert_array_equal(after.D.toarray(), [[1, 1, 3, 0]])
    np.testing.assert_array_equal(after.R.toarray()[:, 2], [0, 0, 3, 3])


def test_an_atom_that_always_accompanies_another_is_merged_into_it():
    D = np.array([[1.0, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]])
    C = np.array([[1.0, 1], [2, 2], [-1, -1], [0, 0]])
    state = Description(*map(sp.csr_array, (C, D, np.zeros((4, 6)))))
    after = exchanged(state, THRESHOLD)
    assert after.length == state.length - 1
    np.testing.assert_allclose(product(after), product(state))
    merged = dissolved(after, THRESHOLD)
    np.testing.assert_array_equal(np.abs(merged.D.toarray()), [[1, 1, 1, 1, 0, 0]])


def test_a_part_that_a_row_is_left_with_is_split_off_and_not_when_it_costs():
    D = np.array([[1.0, 1, 1, 1, 1, 1]])
    left = np.array([[0.0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, -2, -2, -2, -2]])
    C = np.array([[1.0], [3], [0]])
    after = split(Description(*map(sp.csr_array, (C, D, left))), THRESHOLD)
    assert after.R.nnz == 0
    np.testing.assert_array_equal(after.D.toarray(), [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1]])
    np.testing.assert_array_equal(after.C.toarray(), [[1, 1], [3, 3], [0, -2]])
    many = sp.csr_array(np.vstack([np.ones((9, 1)), [[0.0]]]))
    state = Description(
        many, sp.csr_array(D), sp.csr_array(np.vstack([np.zeros((9, 6)), left[2:]]))
    )
    assert split(state, THRESHOLD) is state


def test_of_codes_as_long_the_one_that_leaves_less_is_kept():
    state = Description(*map(sp.csr_array, (np.zeros((2, 1)), np.ones((1, 3)), np.eye(2, 3))))
    code, nothing = sp.csr_array(np.ones((2, 1))), sp.csr_array((2, 3))
    after = shorter_codes(state, np.arange(2), code, nothing)
    assert after.C.nnz == 2
    assert after.R.nnz == 0
    assert shorter_codes(after, np.arange(2), sp.csr_array((2, 1)), state.R) is after


def test_atoms_that_are_multiples_become_one(rng):
    D = np.array([[1.0, 2, 0], [0, 1, 1], [-2, -4, 0]])
    C = rng.choice([0.0, 1, -1], size=(8, 3))
    state = Description(*map(sp.csr_array, (C, D, np.zeros((8, 3)))))
    after = merged_atoms(state, rng)
    assert after.D.shape[0] == 2
    np.testing.assert_allclose(product(after), product(state))


def test_pairs_that_cancel_are_listed_once(rng):
    D = sp.csr_array(rng.choice([0.0, 1, -1], p=[0.6, 0.2, 0.2], size=(7, 12)))
    pairs = cancelling_pairs(D)
    dense = D.toarray()
    met = sum(
        bool(np.any((dense[i] != 0) & (dense[j] != 0))) for i in range(7) for j in range(i + 1, 7)
    )
    assert pairs.shape == (met, 7)
    assert np.all(np.diff(pairs.indptr) == 2)
    combined = clean(pairs @ D, 1e-9)
    weights = np.diff(D.indptr)
    for row, (a, b) in enumerate(pairs.indices.reshape(-1, 2)):
        union = np.count_nonzero((dense[a] != 0) | (dense[b] != 0))
        assert combined.indptr[row + 1] - combined.indptr[row] < union <= weights[a] + weights[b]
    assert cancelling_pairs(sp.csr_array((0, 12))).shape == (0, 0)
