"""The lightest basis among vectors of a row space, against every basis of small spaces."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_spaces.lightest_bases import (
    distinct_vectors,
    lightest_independent,
)
from sklearn_nnrecover.products.row_spaces.systematic_bases import row_space


def minimal_vectors(rows):
    """One vector of the row space for each minimal support, lightest first, by null spaces."""
    rank, n_columns = rows.shape
    found, supports = [], []
    for weight in range(1, n_columns + 1):
        for support in itertools.combinations(range(n_columns), weight):
            if any(set(other) <= set(support) for other in supports):
                continue
            off = np.delete(rows, support, axis=1)
            _, singular, right = np.linalg.svd(off.T, full_matrices=True)
            if np.sum(singular > 1e-9) < rank:
                supports.append(support)
                found.append(right[-1] @ rows)
    vectors = np.array(found)
    vectors[np.abs(vectors) < 1e-9] = 0.0
    return row_gauge(sp.csr_array(vectors))[0]


def every_basis(vectors, rank):
    for rows in itertools.combinations(range(len(vectors)), rank):
        if np.linalg.matrix_rank(vectors[list(rows)]) == rank:
            yield list(rows)


@pytest.mark.parametrize("integer", [True, False])
def test_no_basis_of_a_small_space_is_lighter(integer, rng):
    F = np.zeros((3, 8))
    while np.linalg.matrix_rank(F) < 3:
        F[:] = 0.0
        for row in F:
            support = rng.choice(8, 3, replace=False)
            row[support] = rng.choice([-1.0, 1.0], 3) if integer else rng.standard_normal(3)
    space = row_space(rng.standard_normal((6, 3)) @ F)
    # All minimal vectors of the space: the lightest basis of the space is among them.
    pool = minimal_vectors(space.basis)
    weights = np.diff(pool.indptr)
    chosen = lightest_independent(pool, space)
    lightest = min(weights[rows].sum() for rows in every_basis(pool.toarray(), 3))
    assert np.linalg.matrix_rank(pool[chosen].toarray()) == 3
    assert weights[chosen].sum() == lightest <= np.count_nonzero(F)
    assert np.all(np.diff(weights[chosen]) >= 0)


def test_no_basis_among_dependent_vectors_is_lighter(rng):
    for _ in range(5):
        A = rng.choice([-1.0, 0.0, 0.0, 1.0, 2.0], size=(9, 7))
        A = A[np.any(A, axis=1)]
        order = np.argsort(np.count_nonzero(A, axis=1), kind="stable")
        pool = row_gauge(sp.csr_array(A[order]))[0]
        space = row_space(A)
        chosen = lightest_independent(pool, space)
        dense, weights = pool.toarray(), np.diff(pool.indptr)
        assert len(chosen) == space.rank == np.linalg.matrix_rank(dense[chosen])
        bases = every_basis(dense, space.rank)
        assert weights[chosen].sum() == min(weights[rows].sum() for rows in bases)


def test_vectors_of_a_part_give_a_basis_of_that_part(rng):
    space = row_space(rng.standard_normal((8, 5)) @ rng.standard_normal((5, 12)))
    part = rng.standard_normal((2, 5)) @ space.basis
    pool = row_gauge(sp.csr_array(np.vstack([part, part[0] + part[1]])))[0]
    assert len(lightest_independent(pool, space)) == 2


def test_ties_go_to_rows_of_signs(rng):
    rows = np.array([[1.0, 1, 1, 0], [1, -1, 0, 1]])
    mixed = np.array([[2.0, 0, 1, 1], [0, 2, 1, -1]])
    space = row_space(rng.standard_normal((30, 2)) @ rows)
    pool = sp.csr_array(np.vstack([mixed, rows]))
    assert sorted(lightest_independent(pool, space)) == [2, 3]


def test_ties_of_signs_go_to_independent_codes(rng):
    # f0, f1 and f0 + f1 are equally light; uncorrelated codes of f0 and f1 tell them apart.
    rows = np.array([[1.0, 1, 0, 1, 0], [-1, 0, 1, 0, 1]])
    pool = sp.csr_array(np.vstack([rows[0] + rows[1] - [0, 0, 0, 1, 0], rows])[1:])
    both = sp.csr_array(np.vstack([rows.sum(axis=0), pool.toarray()]))
    space = row_space(rng.standard_normal((400, 2)) @ rows)
    weights = np.diff(both.indptr)
    chosen = lightest_independent(both[np.argsort(weights, kind="stable")], space)
    picked = both[np.argsort(weights, kind="stable")][chosen].toarray()
    assert {tuple(row) for row in picked} == {tuple(row) for row in rows}


def test_lightest_come_first_whatever_is_forced(rng):
    vectors = sp.csr_array(
        np.array([[1.0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 1, 0, -1, 0]])
    )
    chosen = lightest_independent(vectors, row_space(vectors.toarray()))
    assert len(chosen) == 3
    assert chosen[0] == 0


def test_equal_vectors_are_merged_and_their_counts_added(rng):
    A = np.eye(6)[[0, 1, 1, 2, 1]] * rng.uniform(1, 2, size=(5, 1)) * rng.choice([-1, 1], (5, 1))
    counts = np.column_stack([np.arange(1, 6), np.ones(5, dtype=int)])
    pool = distinct_vectors(row_gauge(sp.csr_array(A))[0], counts)
    assert pool.vectors.shape == (3, 6)
    by_column = {
        row.nonzero()[0][0]: tuple(c)
        for row, c in zip(pool.vectors.toarray(), pool.hits, strict=True)
    }
    assert by_column == {0: (1, 1), 1: (10, 3), 2: (4, 1)}


def test_vectors_that_differ_in_one_entry_stay_apart(rng):
    A = np.tile(rng.uniform(1, 2, size=8), (4, 1))
    A[np.arange(4), np.arange(4)] += 1e-4
    pool = distinct_vectors(row_gauge(sp.csr_array(A))[0], np.ones(4, dtype=int))
    assert pool.vectors.shape[0] == 4


def test_thousands_are_told_apart():
    # All signed sums of three unit vectors: among so many some meet in any one projection.
    supports = np.array(list(itertools.combinations(range(30), 3)))
    signs = np.array([[1.0, a, b] for a in (-1, 1) for b in (-1, 1)])
    columns = np.repeat(supports, 4, axis=0).ravel()
    values = np.tile(signs, (len(supports), 1)).ravel()
    rows = np.repeat(np.arange(4 * len(supports)), 3)
    vectors = sp.csr_array((values, (rows, columns)), shape=(4 * len(supports), 30))
    pool = distinct_vectors(vectors, np.ones(vectors.shape[0], dtype=int))
    assert pool.vectors.shape[0] == vectors.shape[0]
