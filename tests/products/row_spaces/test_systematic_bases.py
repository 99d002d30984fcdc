"""Systematic bases: the row space, the identity on the pivots, and the sparse vectors shown."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_spaces.systematic_bases import (
    row_space,
    sparse_combinations,
    systematic_basis,
)


def whole(systematic, n_columns):
    G = np.zeros((len(systematic.pivots), n_columns))
    G[:, systematic.pivots] = np.eye(len(G))
    G[:, systematic.others] = systematic.rest
    return G


@pytest.mark.parametrize("shape", [(12, 20), (40, 20), (8, 8)])
def test_row_space_is_that_of_the_data(shape, rng):
    rank = 5
    Y = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    space = row_space(Y)
    assert space.rank == rank
    assert_allclose(space.basis @ space.basis.T, np.eye(rank), atol=1e-12)
    assert_allclose(Y @ space.basis.T @ space.basis, Y, atol=1e-10)
    assert_allclose(space.singular_values, np.linalg.svd(Y, compute_uv=False)[:rank])
    assert space.gap < 1e-10


def test_rank_of_zero_and_of_everything(rng):
    assert row_space(np.zeros((4, 6))).rank == 0
    full = row_space(rng.standard_normal((9, 6)))
    assert (full.rank, full.gap) == (6, 0.0)


@pytest.mark.parametrize("rank", [1, 6, 11])
def test_same_row_space_with_the_identity_on_the_pivots(rank, rng):
    space = row_space(rng.standard_normal((14, rank)) @ rng.standard_normal((rank, 20)))
    systematic = systematic_basis(space.basis, np.exp(rng.normal(size=20)))
    assert sorted([*systematic.pivots, *systematic.others]) == list(range(20))
    G = whole(systematic, 20)
    assert np.linalg.matrix_rank(G) == rank
    assert_allclose(G @ space.basis.T @ space.basis, G, atol=1e-8 * np.abs(G).max())
    # x = x[pivots] @ G for every vector of the space.
    x = rng.standard_normal(rank) @ space.basis
    assert_allclose(x[systematic.pivots] @ G, x, atol=1e-8)


def test_pivots_are_the_heaviest_basis_of_the_column_matroid(rng):
    # Generic columns: any six are a basis, so the six heaviest are taken.
    space = row_space(rng.normal(size=(6, 20)))
    weights = np.ones(20)
    preferred = rng.permutation(20)[:6]
    weights[preferred] = 1e6
    assert set(systematic_basis(space.basis, weights).pivots) == set(preferred)


def test_dependent_columns_are_never_pivots_together(rng):
    basis = rng.standard_normal((4, 12))
    basis[:, 1] = -2 * basis[:, 0]
    basis[:, 5] = 0.0
    for _ in range(10):
        weights = np.exp(rng.normal(size=12))
        weights[[0, 1]] = 1e3
        pivots = set(systematic_basis(row_space(basis).basis, weights).pivots)
        assert len(pivots & {0, 1}) == 1
        assert 5 not in pivots


def test_combinations_are_sums_of_rows_of_the_basis(rng):
    space = row_space(rng.standard_normal((5, 13)))
    systematic = systematic_basis(space.basis, np.ones(13))
    members = np.array(list(itertools.combinations(range(5), 2)))
    coefficients = rng.standard_normal(members.shape)
    expected = np.einsum("nt,ntc->nc", coefficients, whole(systematic, 13)[members])
    assert_allclose(systematic.combine(members, coefficients, 13), expected, atol=1e-12)


@pytest.mark.parametrize("n_on_pivots", [1, 2, 3, 4])
def test_a_vector_is_found_by_its_few_nonzeros_on_the_pivots(n_on_pivots, rng):
    rank, n_columns = 20, 60
    basis = rng.normal(size=(rank, n_columns))
    x = np.zeros(n_columns)
    pivots = rng.permutation(n_columns)[:rank]
    others = np.setdiff1d(np.arange(n_columns), pivots)
    x[pivots[:n_on_pivots]] = rng.choice([-1.0, 1.0], size=n_on_pivots)
    x[rng.choice(others, 3, replace=False)] = rng.choice([-2.0, 1.0, 3.0], size=3)
    basis[0] = x
    weights = np.full(n_columns, 1e-3)
    weights[pivots] = 1.0
    systematic = systematic_basis(row_space(basis).basis, weights)
    assert set(systematic.pivots) == set(pivots)
    # A window that avoids the three other non-zeros: probability > .3 each time.
    found = sp.vstack(
        [sparse_combinations(systematic, n_columns, 10, rng, n_vanishing=10) for _ in range(30)]
    ).toarray()
    planted = row_gauge(sp.csr_array(x[None]))[0].toarray()
    assert np.any(np.abs(found - planted).max(axis=1) < 1e-8)


def test_a_real_pair_is_found_by_its_ratio_but_a_real_triple_is_not(rng):
    rank, n_columns = 15, 50
    for n_on_pivots in (2, 3):
        basis = rng.normal(size=(rank, n_columns))
        x = np.zeros(n_columns)
        x[:n_on_pivots] = [1.0, 2.3, -1.7][:n_on_pivots]
        x[rank + np.arange(3)] = rng.uniform(1, 2, size=3)
        basis[0] = x
        weights = np.where(np.arange(n_columns) < rank, 1.0, 1e-3)
        systematic = systematic_basis(row_space(basis).basis, weights)
        found = sp.vstack(
            [sparse_combinations(systematic, n_columns, 10, rng, n_vanishing=8) for _ in range(40)]
        ).toarray()
        planted = row_gauge(sp.csr_array(x[None]))[0].toarray()
        assert np.any(np.abs(found - planted).max(axis=1) < 1e-8) == (n_on_pivots == 2)


def test_what_is_found_is_light_in_the_space_and_in_the_gauge(rng):
    F = np.zeros((30, 90))
    for row in F:
        row[rng.choice(90, 4, replace=False)] = rng.choice([-1.0, 1.0], 4)
    space = row_space(rng.standard_normal((30, 30)) @ F)
    systematic = systematic_basis(space.basis, np.exp(rng.normal(size=90)))
    found = sparse_combinations(systematic, 90, 6, rng, n_vanishing=8)
    vectors = found.toarray()
    assert len(vectors) >= 3
    assert np.all(np.count_nonzero(vectors, axis=1) <= 6)
    assert_allclose(vectors @ space.basis.T @ space.basis, vectors, atol=1e-7)
    again = row_gauge(found)[0]
    assert abs(again - found).max() < 1e-12


def test_generic_spaces_show_nothing(rng):
    space = row_space(rng.standard_normal((20, 60)))
    for _ in range(5):
        systematic = systematic_basis(space.basis, np.exp(rng.normal(size=60)))
        assert not sparse_combinations(systematic, 60, 30, rng, n_vanishing=8).shape[0]
