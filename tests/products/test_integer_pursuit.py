from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.products.integer_pursuit import propose, pursue, pursue_again


@pytest.mark.parametrize("values", ["signs", "real"])
def test_pursuit_returns_the_true_codes(seed, values):
    X, truth = make_sparse_product(
        200,
        600,
        n_hidden=[150],
        n_nonzero=[3, 6],
        values=values,
        sparse_output=True,
        random_state=seed,
    )
    C, R = pursue(X, truth.factors_[1])
    exact = np.abs((C - truth.factors_[0]).toarray()).max(axis=1) < 1e-9
    assert exact.mean() > 0.9
    np.testing.assert_allclose((C @ truth.factors_[1] + R - X).toarray(), 0, atol=1e-12)


def test_codes_in_a_singular_dictionary_stay_sparse(seed, rng):
    # More atoms than columns: least squares would spread over the null space.
    X, truth = make_sparse_product(
        100, 300, n_hidden=[400], n_nonzero=[2, 8], sparse_output=True, random_state=seed
    )
    C, R = pursue(X, truth.factors_[1])
    assert R.nnz < 0.05 * X.nnz
    assert C.nnz <= 1.1 * truth.factors_[0].nnz
    least_squares = np.linalg.lstsq(truth.factors_[1].toarray().T, X.toarray().T, rcond=None)[0]
    assert np.count_nonzero(np.abs(least_squares) > 1e-9) > 10 * C.nnz


def test_randomised_pursuit_is_never_longer_than_the_rows(seed, rng):
    X, truth = make_sparse_product(
        100, 150, n_hidden=[60], n_nonzero=5, sparse_output=True, random_state=seed
    )
    C, R = pursue_again(X, truth.factors_[1], rng)
    np.testing.assert_allclose((C @ truth.factors_[1] + R - X).toarray(), 0, atol=1e-9)
    assert C.nnz + R.nnz <= 1.05 * truth.factors_[0].nnz


def test_gains_count_what_the_subtraction_removes(rng):
    D = sp.csr_array(rng.choice([-1.0, 0, 1], p=[0.1, 0.8, 0.1], size=(15, 60)))
    R = sp.csr_array(rng.choice([-1.0, 0, 1], size=(5, 15), p=[0.1, 0.8, 0.1]) @ D)
    R.eliminate_zeros()
    found = propose(R, D)
    assert len(found.row)
    before = np.diff(R.indptr)
    for i, g, q, gain in zip(*found, strict=True):
        left = R.toarray()[i] - q * D.toarray()[g]
        assert before[i] - np.count_nonzero(np.abs(left) > 1e-9) == gain


def test_nothing_fits(rng):
    X = sp.csr_array(np.eye(5, 20))
    D = sp.csr_array(np.ones((2, 20)))
    C, R = pursue(X, D)
    assert C.nnz == 0
    assert abs(R - X).sum() == 0
