"""Row spaces: basis, rank with and without rounding, and rows and columns of any size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_nnrecover.products.row_spaces.orthonormal_bases import balanced, row_space

EPS = float(np.finfo(np.float32).eps)


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


@pytest.mark.parametrize("shape", [(12, 20), (40, 20), (100, 300)])
def test_rank_of_data_in_single_precision(shape, rng):
    Y = rng.standard_normal((shape[0], 9)) @ rng.standard_normal((9, shape[1]))
    single = Y.astype(np.float32).astype(float)
    assert row_space(single).rank == min(shape)
    space = row_space(single, eps=EPS)
    assert space.rank == 9
    # Noise well above rounding is none.
    noisy = single + 1e-4 * rng.standard_normal(shape)
    assert row_space(noisy, eps=EPS).rank == min(shape)


def test_entries_of_vectors_have_the_errors_stated(rng):
    Y = rng.standard_normal((60, 12)) @ rng.standard_normal((12, 80))
    space = row_space(Y.astype(np.float32).astype(float), eps=EPS)
    vectors = rng.standard_normal((200, 60)) @ Y
    coordinates = vectors @ space.basis.T
    errors = np.abs(vectors - coordinates @ space.basis)
    scale = space.combination_norms(coordinates)[:, None] * space.column_noise
    assert np.all(errors <= 8 * scale)
    assert 0.05 < np.sqrt(np.mean((errors / scale) ** 2)) < 1


def test_rows_and_columns_of_one_size_are_left_alone(rng):
    Y = rng.standard_normal((30, 40))
    Y[3], Y[:, 5] = 0, 0
    result = balanced(Y)
    assert result.matrix is Y
    assert np.all(result.rows == 1)
    assert np.all(result.columns == 1)


def test_any_scales_are_taken_out_without_rounding(rng):
    Y = rng.standard_normal((30, 40))
    Y[:, 7] = 0
    scaled = 10 ** rng.uniform(-9, 9, (30, 1)) * Y * 10 ** rng.uniform(-9, 9, 40)
    result = balanced(scaled)
    np.testing.assert_array_equal(result.rows[:, None] * result.matrix * result.columns, scaled)
    sizes = np.sqrt(np.mean(result.matrix**2, axis=0))
    assert sizes[np.arange(40) != 7].max() < 50 * sizes[np.arange(40) != 7].min()
    assert not result.matrix[:, 7].any()
