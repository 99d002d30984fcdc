"""Sparse vectors of rounded data: supports, values within their errors, and what is in doubt."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_spaces.orthonormal_bases import row_space
from sklearn_nnrecover.products.row_spaces.rounded_vectors import blur_of_vectors, refined_vectors

EPS = float(np.finfo(np.float32).eps)


def rounded_space(rows, rng, n_rows=60):
    Y = rng.standard_normal((n_rows, len(rows))) @ rows
    return row_space(Y.astype(np.float32).astype(float), eps=EPS)


def sparse_rows(rng, *, integer, shape=(15, 50), weight=5):
    rows = np.zeros(shape)
    for row in rows:
        row[rng.choice(shape[1], weight, replace=False)] = rng.choice([-1.0, 1.0], weight)
    return rows if integer else rows * rng.uniform(1, 3, size=shape)


def sorted_rows(A):
    return A[np.lexsort(A.T)]


@pytest.mark.parametrize("integer", [True, False])
def test_supports_come_back_from_wider_ones(integer, rng):
    rows = sparse_rows(rng, integer=integer)
    space = rounded_space(rows, rng)
    estimates = np.where(rows != 0, 1.0, 0.0)
    for estimate in estimates:
        estimate[rng.choice(np.flatnonzero(estimate == 0), 2, replace=False)] = 1.0
    found, unclear = refined_vectors(sp.csr_array(estimates), space, max_weight=8)
    planted = row_gauge(sp.csr_array(rows))[0].toarray()
    distance = np.abs(found.toarray()[:, None] - planted).max(axis=2)
    assert unclear == 0
    # Two more columns may make room for a sum of two rows.
    assert np.sum(distance.min(axis=0) < 1e-4) >= 12
    values = distance.min(axis=0)
    assert np.median(values) < 2e-6
    if integer:
        assert np.median(values) == 0


def test_entries_far_smaller_than_others_are_kept(rng):
    rows = sparse_rows(rng, integer=False) * 10 ** rng.uniform(-2, 0, size=(15, 50))
    space = rounded_space(rows, rng)
    large = np.where(np.abs(rows) > 0.03 * np.abs(rows).max(axis=1, keepdims=True), rows, 0.0)
    found, _ = refined_vectors(sp.csr_array(large), space, max_weight=8)
    planted = {tuple(np.flatnonzero(row)) for row in rows}
    supports = {tuple(np.flatnonzero(row)) for row in found.toarray()}
    assert len(planted & supports) >= 13


def test_supports_without_a_vector_give_none(rng):
    space = rounded_space(sparse_rows(rng, integer=False), rng)
    noise = sp.csr_array(rng.standard_normal((30, 50)) * (rng.uniform(size=(30, 50)) < 0.1))
    found, _ = refined_vectors(noise, space, max_weight=8)
    dense = found.toarray()
    outside = dense - dense @ space.basis.T @ space.basis
    assert np.all(np.abs(outside).max(axis=1, initial=0) <= 1e-5 * np.abs(dense).max(axis=1))


def test_two_vectors_on_one_support_are_not_one(rng):
    rows = np.zeros((2, 30))
    rows[0, :4] = 1.0, 2.0, -1.0, 0.0
    rows[1, :4] = 0.0, 1.0, 1.0, 3.0
    space = rounded_space(np.vstack([rows, rng.standard_normal((5, 30))]), rng)
    both = sp.csr_array(np.where(np.arange(30) < 4, 1.0, 0.0)[None])
    found = refined_vectors(both, space, max_weight=8).vectors
    # The search may move on to one of those with three entries.
    assert np.all(np.diff(found.indptr) == 3)
    alone = refined_vectors(sp.csr_array(np.abs(rows)), space, max_weight=8).vectors
    np.testing.assert_allclose(
        sorted_rows(alone.toarray()), sorted_rows(row_gauge(sp.csr_array(rows))[0].toarray())
    )


def test_what_rounding_cannot_tell_apart_is_unclear(rng):
    # The second vector has one more entry, far below what a turn by rounding leaves.
    rows = np.zeros((2, 30))
    rows[0, :3] = 1.0, 2.0, -1.0
    rows[1, :4] = 1.0, -1.0, 2.5, 2e-5
    space = rounded_space(np.vstack([rows, rng.standard_normal((5, 30))]), rng)
    found, unclear = refined_vectors(sp.csr_array(np.abs(rows[:1])), space, max_weight=8)
    assert found.shape[0] == 0
    assert unclear == 1


def test_blur_grows_with_the_condition_of_the_codes(rng):
    rows = sparse_rows(rng, integer=True)
    codes = rng.standard_normal((60, 15)) * np.where(np.arange(15) == 3, 1e-4, 1.0)
    space = row_space((codes @ rows).astype(np.float32).astype(float), eps=EPS)
    blur = blur_of_vectors(sp.csr_array(rows), space)
    assert blur[3] > 100 * np.median(np.delete(blur, 3))
    assert not blur_of_vectors(sp.csr_array(rows), row_space(codes @ rows)).any()
