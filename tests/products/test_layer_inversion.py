from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.products import layer_inversion
from sklearn_nnrecover.products.factor_operator import chain_operator
from sklearn_nnrecover.products.layer_inversion import (
    has_full_row_rank,
    invert_chain,
    invert_layer,
    least_squares_codes,
)


def independent_layer(rng, k=30, n=60):
    return sp.csr_array(rng.standard_normal((k, n)) * (rng.rand(k, n) < 0.2) + np.eye(k, n))


@pytest.mark.parametrize("limit", [1000, 0], ids=["qr", "lsqr"])
def test_least_squares_matches_a_dense_solver(rng, monkeypatch, limit):
    monkeypatch.setattr(layer_inversion, "_QR_LIMIT", limit)
    F, Y = independent_layer(rng), rng.standard_normal((20, 60))
    expected = np.linalg.lstsq(F.toarray().T, Y.T, rcond=None)[0].T
    np.testing.assert_allclose(least_squares_codes(F, Y), expected, atol=1e-8)


@pytest.mark.parametrize("limit", [1000, 0], ids=["qr", "lsqr"])
def test_a_row_is_coded_alone_as_in_company(rng, monkeypatch, limit):
    monkeypatch.setattr(layer_inversion, "_QR_LIMIT", limit)
    F, Y = independent_layer(rng), rng.standard_normal((20, 60))
    together = least_squares_codes(F, Y)
    alone = np.vstack([least_squares_codes(F, row[None]) for row in Y])
    np.testing.assert_allclose(together, alone, atol=1e-10)


def test_rank_is_seen(rng):
    F = independent_layer(rng)
    assert has_full_row_rank(F)
    assert not has_full_row_rank(sp.vstack([F, F[:1] + F[1:2]], format="csr"))
    assert not has_full_row_rank(sp.csr_array(np.ones((3, 2))))
    assert not has_full_row_rank(sp.csr_array((2, 5)))


def test_integer_codes_come_back_exactly(rng):
    F = sp.csr_array(np.sign(independent_layer(rng).toarray()))
    if not has_full_row_rank(F):
        pytest.skip("a singular draw")
    Z = rng.randint(-3, 4, size=(40, 30)).astype(float)
    np.testing.assert_array_equal(invert_layer(F, Z @ F, independent=True), Z)


def test_singular_layers_give_the_sparse_code(seed):
    X, truth = make_sparse_product(50, 300, n_hidden=[350], n_nonzero=[2, 8], random_state=seed)
    codes = invert_layer(truth.factors_[1], X, independent=False)
    exact = np.abs(codes - truth.factors_[0].toarray()).max(axis=1) < 1e-9
    assert exact.mean() > 0.8
    np.testing.assert_allclose(codes @ truth.factors_[1], X, atol=1e-6)


def test_chains_are_inverted_from_the_features_up(rng):
    layers = [independent_layer(rng, 20, 35), independent_layer(rng, 35, 60)]
    Z = rng.standard_normal((10, 20))
    X = Z @ layers[0] @ layers[1]
    np.testing.assert_allclose(invert_chain(layers, X, [True, True]), Z, atol=1e-9)


def test_operator_and_adjoint(rng):
    factors = [sp.csr_array(rng.standard_normal(s)) for s in ((7, 5), (5, 9))]
    operator = chain_operator(factors, 2.0)
    dense = 2 * (factors[0] @ factors[1]).toarray()
    x, y = rng.standard_normal(9), rng.standard_normal(7)
    np.testing.assert_allclose(operator @ x, dense @ x)
    np.testing.assert_allclose(operator.T @ y, dense.T @ y)
    np.testing.assert_allclose(operator @ np.eye(9), dense)
