"""Networks of signs: their output, their inverse, and what is claimed about them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.sign_networks import (
    invert_sign_chain,
    sign_network_factors,
    sign_product,
)


def sparse_network(seed, widths=(600, 300, 400), n_nonzero=3):
    _, truth = make_sparse_product(
        widths[0], widths[-1], n_hidden=widths[1:-1], n_nonzero=n_nonzero, random_state=seed
    )
    return [factor.sign() for factor in truth.factors_]


def test_the_output_takes_signs_after_every_layer(rng):
    factors = [rng.choice([0.0, 1, -1], size=shape) for shape in [(7, 6), (6, 5), (5, 8)]]
    expected = np.sign(factors[0])
    for factor in factors[1:]:
        expected = np.sign(expected @ factor)
    found = sign_product([sp.csr_array(factor) for factor in factors])
    np.testing.assert_array_equal(found.toarray(), expected)


def test_most_nodes_of_a_sparse_network_are_identified_and_right(seed, rng):
    factors = sparse_network(seed)
    X = sign_product(factors)
    layers = run_to_end(sign_network_factors(X, n_factors=2, rng=rng, max_sweeps=40))
    assert layers.mismatch < 0.02
    assert layers.identified[0].mean() > 0.5
    planted = factors[1].toarray()
    scores = np.abs(layers.factors[1].toarray()[layers.identified[0]] @ planted.T)
    agreeing = scores.max(axis=1)
    sizes = np.diff(layers.factors[1].indptr)[layers.identified[0]]
    matched = np.count_nonzero(planted, axis=1)[scores.argmax(axis=1)]
    assert np.all((agreeing == sizes) & (agreeing == matched))


def test_fewer_factors_than_asked_for_claim_nothing(seed, rng):
    X = sign_product(sparse_network(seed))
    layers = run_to_end(sign_network_factors(X, n_factors=5, rng=rng, max_sweeps=40))
    if len(layers.factors) < 5:
        assert not any(claim.any() for claim in layers.identified)


def test_random_signs_are_left_alone(rng):
    X = sp.csr_array(rng.choice([0.0, 1, -1], p=[0.9, 0.05, 0.05], size=(80, 60)))
    layers = run_to_end(sign_network_factors(X, n_factors=2, rng=rng, max_sweeps=40))
    assert len(layers.factors) == 1
    assert not layers.identified


def test_codes_of_new_samples_give_them_back(seed, rng):
    factors = sparse_network(seed)
    codes = sparse_network(seed + 1)[0]
    X = sign_product([codes, factors[1]])
    found = invert_sign_chain([factors[1]], X.toarray())
    again = sign_product([sp.csr_array(found), factors[1]])
    assert np.mean(np.diff(abs(again - X).tocsr().indptr) > 0) < 0.2
    assert set(np.unique(found)) <= {-1.0, 0.0, 1.0}
