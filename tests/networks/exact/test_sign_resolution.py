"""Signs of hidden units from the linear part."""

import numpy as np
import pytest

from sklearn_nnrecover.networks.exact.sign_resolution import mirror, resolve_signs
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork


def random_network(rng, p, k, m):
    V = rng.standard_normal((p, k))
    return TwoLayerNetwork(
        V / np.linalg.norm(V, axis=0), rng.standard_normal((k, m)), rng.standard_normal(m)
    )


def with_wrong_sides(network, rng):
    """The same function with some units mirrored, and a linear part that makes up for it."""
    p, m = len(network.V), network.A.shape[1]
    wrong = rng.random_sample(network.n_hidden) < 0.5
    return mirror(network, np.zeros((p, m)), wrong)


def assert_same_units(found, true):
    assert np.array_equal(found.V, true.V)
    assert np.allclose(found.c, true.c, atol=1e-12)


def test_mirroring_keeps_the_function(rng):
    network = random_network(rng, 4, 6, 2)
    Z = rng.standard_normal((30, 4))
    mirrored, linear = with_wrong_sides(network, rng)
    assert np.allclose(mirrored.predict(Z) + Z @ linear, network.predict(Z))


@pytest.mark.parametrize(
    ("p", "k", "m", "method"),
    [
        (6, 4, 1, "independent"),
        (5, 10, 3, "independent"),
        (11, 30, 1, "subset"),
        (16, 30, 1, "subset"),
    ],
)
@pytest.mark.parametrize("intercept", [True, False])
def test_signs_are_found(rng, p, k, m, method, intercept):
    network = random_network(rng, p, k, m)
    if not intercept:
        network = TwoLayerNetwork(network.V, network.A, np.zeros(m))
    mirrored, linear = with_wrong_sides(network, rng)
    signs = resolve_signs(mirrored, linear, intercept=intercept)
    assert signs.identified
    assert signs.method == method
    assert_same_units(signs.network, network)
    assert not signs.linear.any()


def test_rounding_of_the_linear_part_is_forgiven(rng):
    network = random_network(rng, 11, 20, 1)
    mirrored, linear = with_wrong_sides(network, rng)
    linear = linear + 1e-10 * rng.standard_normal(linear.shape)
    assert_same_units(resolve_signs(mirrored, linear, intercept=True).network, network)


def test_always_on_units_are_annihilated_when_outputs_exceed_units(rng):
    network = random_network(rng, 7, 3, 5)
    mirrored, linear = with_wrong_sides(network, rng)
    always_on = np.outer(rng.standard_normal(7), rng.standard_normal(5))
    always_on[-1] = 0
    signs = resolve_signs(mirrored, linear + always_on, intercept=True)
    assert signs.identified
    assert signs.method == "annihilated"
    assert_same_units(signs.network, network)
    assert np.allclose(signs.linear, always_on)


def test_a_general_linear_part_leaves_the_signs_undecided(rng):
    network = random_network(rng, 6, 4, 1)
    mirrored, linear = with_wrong_sides(network, rng)
    linear = linear + rng.standard_normal(linear.shape)
    signs = resolve_signs(mirrored, linear, intercept=True)
    assert not signs.identified
    assert signs.method == "canonical"
    assert np.all(signs.network.V[-1] <= 0)
    Z = np.column_stack([rng.standard_normal((20, 5)), np.ones(20)])
    assert np.allclose(
        signs.network.predict(Z) + Z @ signs.linear, mirrored.predict(Z) + Z @ linear
    )


def test_more_units_than_one_coarse_equation_can_sign_stay_undecided(rng):
    network = random_network(rng, 2, 40, 1)
    mirrored, linear = with_wrong_sides(network, rng)
    assert not resolve_signs(mirrored, linear, intercept=True).identified


def test_both_sides_of_a_hard_sigmoid_fit_and_one_of_them_is_canonical(rng):
    network = random_network(rng, 5, 4, 1)
    V, A = network.V.copy(), network.A.copy()
    V[:-1, 3], A[3] = V[:-1, 1], -A[1]
    hard = TwoLayerNetwork(V, A, network.c)
    Z = np.column_stack([rng.standard_normal((30, 4)), np.ones(30)])
    outcomes = [resolve_signs(*with_wrong_sides(hard, rng), intercept=True) for _ in range(6)]
    for signs in outcomes:
        assert not signs.identified
        assert signs.method == "subset"
        assert not signs.linear.any()
        np.testing.assert_allclose(signs.network.predict(Z), hard.predict(Z), atol=1e-10)
        np.testing.assert_allclose(signs.network.V, outcomes[0].network.V)
