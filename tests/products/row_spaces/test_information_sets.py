import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_spaces.information_sets import (
    information_set_factor,
    replaceable,
    sparsest_basis,
)
from sklearn_nnrecover.products.row_spaces.minimum_weight import list_light_vectors
from sklearn_nnrecover.products.row_spaces.remainders import seen_repeatedly
from sklearn_nnrecover.products.row_spaces.systematic_bases import row_space


def peel_of(Y, **options):
    return run_to_end(information_set_factor(Y, **options))


def sparse_rows(n_rows, n_columns, weight, rng, *, integer=True):
    """Rows with exactly ``weight`` non-zeros, +-1 or real, in the row gauge."""
    support = np.argsort(rng.random_sample((n_rows, n_columns)), axis=1)[:, :weight]
    values = rng.choice([-1.0, 1.0], size=support.shape)
    if not integer:
        values *= rng.uniform(1, 3, size=support.shape)
    F = np.zeros((n_rows, n_columns))
    np.put_along_axis(F, support, values, axis=1)
    return row_gauge(sp.csr_array(F))[0]


def n_recovered(found, planted):
    """Rows of ``planted`` that are rows of ``found``; both in the row gauge."""
    found, planted = found.toarray(), planted.toarray()
    distance = np.abs(found[:, None] - planted[None]).max(axis=2)
    return int(np.sum(distance.min(axis=0) < 1e-8))


@pytest.mark.parametrize("integer", [True, False])
def test_sparse_factor_behind_dense_remainder(integer, rng):
    F = sparse_rows(60, 150, 5, rng, integer=integer)
    Y = rng.normal(size=(80, 60)) @ F
    peel = peel_of(Y, rng=rng)
    assert n_recovered(peel.factor, F) >= 59
    assert_allclose(peel.remainder @ peel.factor, Y, atol=1e-9 * np.abs(Y).max())


def test_columns_of_zeros_never_become_pivots(rng):
    F = sparse_rows(60, 90, 3, rng).toarray()
    wide = np.zeros((60, 130))
    wide[:, rng.permutation(130)[:90]] = F
    planted = row_gauge(sp.csr_array(wide))[0]
    space = row_space(rng.normal(size=(60, 60)) @ wide)
    search = run_to_end(sparsest_basis(space, max_weight=15, n_rows=60, rng=rng))
    assert search.vectors.shape[0] == 60
    assert search.vectors.nnz <= planted.nnz + 5
    listing = list_light_vectors(space, max_weight=3, rng=rng)
    outside = listing.vectors - listing.vectors @ space.basis.T @ space.basis
    assert np.abs(outside).max(initial=0) < 1e-7


def test_any_depth_of_the_remainder(rng):
    widths = [90, 100, 70, 60]
    Y = np.eye(90)
    for before, after in itertools.pairwise(widths):
        Y = Y @ sparse_rows(before, after, 6, rng).toarray()
    F = sparse_rows(60, 140, 4, rng)
    Y = Y @ F
    peel = peel_of(Y, rng=rng)
    assert peel.factor.shape == (np.linalg.matrix_rank(Y), 140)
    if peel.factor.shape[0] == 60:
        assert n_recovered(peel.factor, F) >= 58
        # Integer data keep integers on both sides of the cut.
        assert_array_equal(peel.remainder, np.rint(peel.remainder))
        assert_array_equal(peel.remainder @ peel.factor, Y)


def test_eight_nonzeros_on_few_spare_columns_need_four_on_the_pivots(rng):
    F = sparse_rows(80, 120, 8, rng)
    space = row_space(rng.normal(size=(80, 80)) @ F)
    search = run_to_end(sparsest_basis(space, max_weight=20, n_rows=80, rng=rng))
    # A sum of two rows that cancels well may be as light as a row: hence not all 80.
    assert n_recovered(search.vectors, F) >= 79
    # A row that several combinations of one form show was met once.
    assert search.hits.min() >= 2
    assert search.hits.max() <= search.n_forms


def test_listing_proves_what_it_claims(rng):
    F = sparse_rows(30, 120, 3, rng)
    space = row_space(rng.normal(size=(30, 30)) @ F)
    listing = list_light_vectors(space, max_weight=3, rng=rng)
    assert listing.complete_weight >= 2
    # Whatever is listed as complete must contain the planted rows of that weight.
    light = np.diff(F.indptr) <= listing.complete_weight
    assert n_recovered(listing.vectors, F[light]) == light.sum()


def test_listing_is_complete_where_two_nonzeros_on_the_pivots_suffice(rng):
    F = sparse_rows(80, 200, 4, rng)
    space = row_space(rng.normal(size=(80, 80)) @ F)
    listing = list_light_vectors(space, max_weight=4, rng=rng)
    assert listing.complete_weight == 4
    assert n_recovered(listing.vectors, F) == 80
    listed = listing.vectors.toarray()
    assert_allclose(listed @ space.basis.T @ space.basis, listed, atol=1e-7)


def test_listing_of_a_generic_space_is_empty_and_says_how_far_it_reaches(rng):
    # Generic rows of rank 20 among 60 columns have weight 41 at least.
    listing = list_light_vectors(row_space(rng.normal(size=(20, 60))), max_weight=5, rng=rng)
    assert listing.vectors.shape[0] == 0
    assert listing.complete_weight == 5


def test_proven_rows_are_planted_rows_and_ties_are_never_proven(rng):
    F = np.zeros((12, 80))
    # Four vectors of weight 2 on a cycle span three dimensions: any three of them will do.
    F[0, [0, 1]] = 1.0
    F[1, [1, 2]] = -1.0, 1.0
    F[2, [2, 3]] = 1.0
    for row in range(3, 12):
        F[row, 3 * row + np.arange(3)] = rng.choice([-1.0, 1.0], size=3)
    F = row_gauge(sp.csr_array(F[:, rng.permutation(80)]))[0]
    peel = peel_of(rng.normal(size=(40, 12)) @ F, rng=rng)
    on_cycle = np.diff(peel.factor.indptr) == 2
    assert on_cycle.sum() == 3
    assert not peel.proven[on_cycle].any()
    assert peel.proven[~on_cycle].all()
    assert n_recovered(F, sp.csr_array(peel.factor[peel.proven])) == 9


def test_sums_on_disjoint_columns_are_rivals_too():
    pool = sp.csr_array(
        np.array([[1.0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0, 1, 0, 0, 1, 1]])
    )
    chosen = np.arange(4)
    # Up to weight three: the first row plus the second; beyond, every row with another.
    assert_array_equal(replaceable(pool, chosen, 3), [True, True, False, False])
    assert_array_equal(replaceable(pool, chosen, 2), [False, False, False, False])
    assert replaceable(pool, chosen, 4).all()


def test_a_planted_row_that_is_a_sum_of_lighter_ones_is_not_denied(rng):
    # Row 0 and half of it are planted; the two halves span the same space and are lighter.
    F = sparse_rows(40, 160, 4, rng).toarray()
    F[1] = np.where(np.cumsum(F[0] != 0) <= 2, F[0], 0.0)
    planted = row_gauge(sp.csr_array(F))[0]
    peel = peel_of(rng.normal(size=(60, 40)) @ F, rng=rng)
    claimed = sp.csr_array(peel.factor[peel.proven])
    assert claimed.shape[0] >= 20
    assert n_recovered(planted, claimed) == claimed.shape[0]
    assert not peel.proven[np.diff(peel.factor.indptr) == 2].any()


@pytest.mark.parametrize("shape", [(200, 10), (10, 200), (60, 150), (50, 50), (3, 2), (1, 8)])
def test_dense_random_data_never_give_a_factor(shape, rng):
    assert peel_of(rng.normal(size=shape), rng=rng) is None


def test_dense_low_rank_data_never_give_a_factor(rng):
    Y = rng.normal(size=(100, 15)) @ rng.normal(size=(15, 60))
    assert peel_of(Y, rng=rng) is None


def test_factor_denser_than_asked_for_is_refused(rng):
    F = sparse_rows(40, 100, 6, rng)
    Y = rng.normal(size=(50, 40)) @ F
    assert peel_of(Y, n_nonzero=4, rng=rng) is None


def test_same_seed_same_bits_and_input_untouched(rng):
    F = sparse_rows(30, 70, 4, rng)
    Y = rng.normal(size=(40, 30)) @ F
    Y.flags.writeable = False
    first, second = (peel_of(Y, rng=np.random.RandomState(5)).factor for _ in range(2))
    assert_array_equal(first.toarray(), second.toarray())


def test_nodes_are_seen_repeatedly_where_rows_are_to_spare(rng):
    Z = np.zeros((9, 5))
    Z[:6, :3] = rng.standard_normal((6, 3))
    Z[6, 3] = Z[7, 4] = 1.0
    Z[8] = 3 * Z[6]
    np.testing.assert_array_equal(seen_repeatedly(Z, rng), [True, True, True, False, False])
    assert not seen_repeatedly(rng.standard_normal((5, 5)), rng).any()
    assert seen_repeatedly(rng.standard_normal((6, 5)), rng).all()
