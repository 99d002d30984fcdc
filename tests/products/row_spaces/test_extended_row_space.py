"""Rows that a singular remainder keeps out of the row space, and what must not be taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_spaces.extended_row_space import (
    extended_row_space,
    lies_in,
    rounded_rows,
)
from sklearn_nnrecover.products.row_spaces.last_factor_ica import last_factor_by_ica
from sklearn_nnrecover.products.row_spaces.systematic_bases import row_space


def sparse_integers(n_rows, n_columns, rng):
    """Rows with a tenth of their entries 1 or -1, now and then 2, in the row gauge."""
    shape = (n_rows, n_columns)
    values = rng.choice([0.0, 1, -1, 2, -2], p=[0.9, 0.045, 0.045, 0.005, 0.005], size=shape)
    return row_gauge(sp.csr_array(values))[0]


def singular_mixture(k, rng):
    """A k x k matrix of rank k - 1 whose null vector has no zeros."""
    null = rng.choice([-1.0, 1], size=k) * rng.uniform(0.5, 1, size=k)
    null /= np.linalg.norm(null)
    Z = rng.standard_normal((k, k))
    return Z - np.outer(Z @ null, null)


def equal_rows(A, B):
    A, B = (M.toarray() for M in (A, B))
    distance = np.abs(A[:, None] - B[None]).max(axis=2)
    return np.count_nonzero(distance.min(axis=0) < 1e-9)


def test_every_row_behind_a_singular_mixture_and_none_proven(rng):
    F = sparse_integers(25, 1500, rng)
    Z = singular_mixture(25, rng)
    Y = Z @ F
    assert np.linalg.matrix_rank(Y) == 24
    peel = run_to_end(last_factor_by_ica(Y, rng=rng))
    assert peel.factor.shape == (25, 1500)
    assert equal_rows(peel.factor, F) == 25
    np.testing.assert_allclose(peel.remainder @ peel.factor, Y, atol=1e-9)
    # No row of F is in the row space of Y.
    assert not peel.proven.any()


def test_real_rows_behind_a_singular_mixture_are_not_made_up(rng):
    F = sparse_integers(25, 1500, rng)
    F.data = F.data * rng.uniform(0.5, 2, size=F.nnz)
    assert run_to_end(last_factor_by_ica(singular_mixture(25, rng) @ F, rng=rng)) is None


def test_rounding_finds_integer_rows_under_noise(rng):
    F = sparse_integers(10, 600, rng)
    scales = rng.choice([-1, 1], size=(10, 1)) * rng.uniform(0.01, 3, size=(10, 1))
    noisy = scales * (F.toarray() + 0.03 * rng.standard_normal(F.shape))
    found = rounded_rows(noisy, max_weight=200)
    assert found.shape[0] == 10
    assert equal_rows(found, F) == 10
    assert rounded_rows(noisy, max_weight=3).shape[0] == 0


def test_dense_and_real_estimates_are_left_out(rng):
    assert rounded_rows(rng.standard_normal((8, 400)), max_weight=200).shape[0] == 0
    real = sparse_integers(8, 400, rng).toarray() * rng.uniform(0.5, 2, size=(8, 400))
    assert rounded_rows(real, max_weight=200).shape[0] == 0
    assert rounded_rows(np.zeros((2, 50)), max_weight=20).shape[0] == 0


@pytest.mark.parametrize("n_right", [10, 0])
def test_rows_of_another_factor_do_not_extend_the_space(rng, n_right):
    F, other = sparse_integers(20, 500, rng), sparse_integers(20, 500, rng)
    space = row_space(singular_mixture(20, rng) @ F)
    wrong = np.vstack([F.toarray()[:n_right], other.toarray()[: 20 - n_right]])
    assert extended_row_space(space, wrong, max_weight=200) is None
    right = extended_row_space(space, F.toarray(), max_weight=200)
    assert right.rank == 20
    assert lies_in(F, right).all()
    assert not lies_in(other, right).any()
    assert not lies_in(F, space).any()
