"""From data to a chain with a status: what is returned is X, and no more is claimed than holds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product, make_structured_product
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.chain_recovery import recover_chain
from sklearn_nnrecover.products.factor_gauge import normalize_chain, row_gauge
from sklearn_nnrecover.products.known_structures import recover_structured_chain
from sklearn_nnrecover.products.sign_recovery import recover_sign_network
from sklearn_nnrecover.products.structures import Convolution

EPS = float(np.finfo(float).eps)


def recover(X, rng, **options):
    defaults = {"method": "auto", "n_factors": None, "n_nonzero": None, "n_init": 3, "max_iter": 40}
    return run_to_end(recover_chain(X, eps=EPS, rng=rng, **(defaults | options)))


def product_of(recovery):
    product = sp.csr_array(recovery.factors[0])
    for factor in recovery.factors[1:]:
        product = product @ factor
    return recovery.scale * product.toarray()


def claimed_rows(recovery):
    last = recovery.n_factors - 1
    known = [u["unit"] for u in recovery.units if u["layer"] == last and u["identified"]]
    return recovery.factors[-1].toarray()[known]


def are_rows_of(rows, planted):
    planted = row_gauge(sp.csr_array(planted))[0].toarray()
    return [np.abs(planted - row).max(axis=1).min() < 1e-8 for row in rows]


def three_layers(seed):
    """Rank 20 of 80 features: the last layer by its row space, the others by their sparsity."""
    return make_sparse_product(
        150, 80, n_hidden=[30, 20], n_nonzero=[2, 3, 4], scale=0.25, random_state=seed
    )


def test_a_chain_of_three_is_the_data_and_its_claims_are_true(seed, rng):
    X, truth = three_layers(seed)
    recovery = recover(X, rng)
    assert recovery.n_factors == len(recovery.factors) >= 2
    np.testing.assert_allclose(product_of(recovery), X, atol=1e-10)
    assert all(are_rows_of(claimed_rows(recovery), truth.factors_[-1]))
    normal, _ = normalize_chain(recovery.factors)
    assert all(abs(a - b).max() < 1e-12 for a, b in zip(normal, recovery.factors, strict=True))
    every = all(unit["identified"] for unit in recovery.units)
    assert recovery.status.status == ("exact" if every else "partial")
    # One entry for each node between two factors.
    assert len(recovery.units) == sum(F.shape[0] for F in recovery.factors[1:])


def test_dense_and_sparse_input_give_the_same(seed):
    X, _ = three_layers(seed)
    dense, sparse = (recover(A, np.random.RandomState(0)) for A in (X, sp.csr_array(X)))
    for a, b in zip(dense.factors, sparse.factors, strict=True):
        assert abs(a - b).max() < 1e-12


def test_the_number_of_factors_is_kept(seed, rng):
    X, _ = three_layers(seed)
    recovery = recover(X, rng, n_factors=2)
    assert recovery.n_factors == 2
    np.testing.assert_allclose(product_of(recovery), X, atol=1e-10)


def test_a_deep_dense_product_gives_its_last_layer(seed, rng):
    widths = [150, 130, 110, 90, 70, 50]
    X, truth = make_sparse_product(160, 120, n_hidden=widths, n_nonzero=4, random_state=seed)
    recovery = recover(X, rng)
    assert recovery.n_factors == 2
    np.testing.assert_allclose(product_of(recovery), X, atol=1e-9 * np.abs(X).max())
    claimed = claimed_rows(recovery)
    assert len(claimed) >= 25
    assert all(are_rows_of(claimed, truth.factors_[-1]))


def test_two_methods_unite_their_claims(seed, rng):
    # Rank below half the features leaves ties in row spaces that sparse codes settle.
    X, truth = make_sparse_product(300, 150, n_hidden=[60], n_nonzero=4, random_state=seed)
    alone = recover(X, rng, method="information-set")
    both = recover(X, rng)
    assert len(claimed_rows(both)) >= len(claimed_rows(alone))
    assert all(are_rows_of(claimed_rows(both), truth.factors_[-1]))


@pytest.mark.parametrize("shape", [(80, 12), (12, 80), (40, 40)])
def test_nothing_is_claimed_of_dense_noise(shape, rng):
    X = rng.standard_normal(shape)
    recovery = recover(X, rng)
    assert recovery.status.status == "not_recovered"
    assert recovery.n_factors == 1
    assert not recovery.units
    np.testing.assert_array_equal(recovery.factors[0].toarray(), X)
    np.testing.assert_array_equal(recovery.factors[1].toarray(), np.eye(shape[1]))


def test_noise_is_never_exact_and_the_scale_has_an_error(seed, rng):
    X, _ = make_sparse_product(
        500, 200, n_hidden=[80], n_nonzero=4, scale=0.37, noise=0.05, random_state=seed
    )
    recovery = recover(X, rng)
    assert recovery.status.status in ("approximate", "partial")
    assert recovery.scale_std > 0
    # The noise is a share of the unit; five standard errors of the scale.
    assert abs(recovery.scale - 0.37) < 5 * recovery.scale_std + 1e-3


def test_wrong_entries_fail_the_claim_of_exactness(seed, rng):
    X, _ = make_sparse_product(300, 150, n_hidden=[60], n_nonzero=5, random_state=seed)
    X[rng.randint(300, size=40), rng.randint(150, size=40)] += 0.3
    recovery = recover(X, rng)
    assert recovery.status.status != "exact"


def test_structures_keep_their_parameters(seed, rng):
    structures = [Convolution(40, 3), Convolution(40, 3, dilation=3)]
    X, _ = make_structured_product(structures, random_state=seed)
    recovery = run_to_end(
        recover_structured_chain(
            X, structures, n_init=10, max_iter=200, tol=1e-10, certify=True, eps=EPS, rng=rng
        )
    )
    assert recovery.status.status == "exact"
    assert [len(h) for h in recovery.parameters] == [3, 3]
    np.testing.assert_allclose(product_of(recovery), X, atol=1e-9)


def test_sign_networks_need_signs(rng):
    X = rng.standard_normal((20, 10))
    recovery = run_to_end(recover_sign_network(X, n_factors=None, max_iter=10, rng=rng))
    assert recovery.status.status == "not_recovered"
    assert not recovery.conditions[0].passed
    empty = run_to_end(recover_sign_network(np.zeros((5, 4)), n_factors=2, max_iter=5, rng=rng))
    assert empty.status.status == "not_recovered"
