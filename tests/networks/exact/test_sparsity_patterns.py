"""Sparsity patterns: nearly right units made exact, and starts that must be left alone."""

import numpy as np
import pytest

from sklearn_nnrecover.networks.exact.sparsity_patterns import (
    inverse,
    output_functions,
    refine_by_patterns,
    unit_of_function,
    vanishing_function,
)
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import (
    ACTIVATIONS,
    activation_of,
    leaky_relu,
)

RECTIFIED = [name for name in ACTIVATIONS if name != "leaky_relu"]


def draw(rng, name="relu", n=400, d=4, k=3, m=4, noise=0.0):
    """Samples of a network each unit of which is often active and often not, and its units."""
    activation = activation_of(name)
    X = rng.standard_normal((n, d))
    W = np.linalg.qr(rng.standard_normal((d, k)))[0] + 0.1 * rng.standard_normal((d, k))
    T = X @ W + 0.3 * rng.standard_normal(k)
    y = activation.value(T) @ rng.standard_normal((k, m)) + rng.standard_normal(m)
    y = y + noise * y.std() * rng.standard_normal(y.shape)
    samples, _ = orthonormal_design(X, y, np.ones(n), intercept=True)
    return samples, np.linalg.lstsq(samples.Z, T, rcond=None)[0], activation


def perturbed(rng, V, angle):
    aside = rng.standard_normal(V.shape)
    return V + angle * aside * np.linalg.norm(V, axis=0) / np.linalg.norm(aside, axis=0)


@pytest.mark.parametrize("name", RECTIFIED)
def test_inverses(name):
    activation = activation_of(name)
    t = np.geomspace(1e-6, 20, 30)
    np.testing.assert_allclose(inverse(activation, activation.value(t)), t, rtol=1e-9)


def test_inverse_of_a_pair():
    pair = activation_of(
        (
            lambda T: np.maximum(T, 0) + np.maximum(T, 0) ** 2,
            lambda T: np.where(T > 0, 1 + 2 * T, 0.0),
        )
    )
    assert pair.degree is None and pair.rectified
    t = np.geomspace(1e-6, 20, 30)
    np.testing.assert_allclose(inverse(pair, pair.value(t)), t, rtol=1e-9)


@pytest.mark.parametrize("name", RECTIFIED)
def test_a_start_off_by_a_tenth_becomes_exact(rng, name):
    samples, V, activation = draw(rng, name)
    found = refine_by_patterns(samples, perturbed(rng, V, 0.1), activation)
    assert found.settled.all() and np.all(found.margin > 0)
    if activation.degree is not None:
        V = V / np.linalg.norm(V, axis=0)
    np.testing.assert_allclose(found.V, V, atol=1e-5)


def test_mirror_images_are_put_right(rng):
    samples, V, activation = draw(rng)
    found = refine_by_patterns(samples, perturbed(rng, -V, 0.02), activation)
    assert found.settled.all()
    np.testing.assert_allclose(found.V, V / np.linalg.norm(V, axis=0), atol=1e-8)


def test_without_a_margin_one_wrong_sample_ruins_it(rng):
    samples, V, activation = draw(rng)
    start = perturbed(rng, V, 0.1)
    wrong = ((samples.Z @ start < 0) & (samples.Z @ V > 0)).any(axis=0)
    assert wrong.any()
    printed = refine_by_patterns(samples, start, activation, margins=(0.0,))
    assert not printed.settled[wrong].any()


def test_the_function_that_vanishes_is_the_unit(rng):
    samples, V, activation = draw(rng)
    functions = output_functions(samples)
    inactive = samples.Z @ V[:, 0] < 0
    coefficients, sine = vanishing_function(functions, inactive, 1e-9)
    assert sine < 1e-12
    unit = unit_of_function(samples.Z, functions @ coefficients, activation)
    np.testing.assert_allclose(unit, V[:, 0] / np.linalg.norm(V[:, 0]), atol=1e-9)


# --- what must not settle ----------------------------------------------------------------------


def test_a_random_start_does_not_settle(rng):
    samples, V, activation = draw(rng)
    found = refine_by_patterns(samples, rng.standard_normal(V.shape), activation, margins=(0.02,))
    close = np.abs(found.V / np.linalg.norm(found.V, axis=0)).T @ np.abs(V)
    # What settles is a unit of the network, whatever the start; nothing else does.
    for j in np.flatnonzero(found.settled):
        nearest = np.argmax(found.V[:, j] @ V / np.linalg.norm(V, axis=0))
        np.testing.assert_allclose(
            found.V[:, j], V[:, nearest] / np.linalg.norm(V[:, nearest]), atol=1e-6
        )
    assert close.shape == (3, 3)


def test_noise_does_not_settle(rng):
    samples, V, activation = draw(rng, noise=1e-3)
    start = V.copy()
    found = refine_by_patterns(samples, start, activation)
    assert not found.settled.any()
    np.testing.assert_array_equal(found.V, start)
    assert np.all(found.sine > 1e-6)


def test_fewer_outputs_than_units_do_not_settle(rng):
    samples, V, activation = draw(rng, k=3, m=1)
    assert not refine_by_patterns(samples, V, activation).settled.any()


def test_two_units_that_vanish_together_do_not_settle(rng):
    X = rng.standard_normal((300, 3))
    # Both units are active on the same samples: any mixture of them vanishes alike.
    X[:, 1] = np.abs(X[:, 1]) * np.sign(X[:, 0])
    T = X @ np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    y = np.maximum(T, 0) @ rng.standard_normal((2, 2))
    samples, _ = orthonormal_design(X, y, np.ones(300), intercept=True)
    V = np.linalg.lstsq(samples.Z, T, rcond=None)[0]
    assert not refine_by_patterns(samples, V, activation_of("relu")).settled.any()


def test_leaky_units_have_no_pattern(rng):
    samples, V, _ = draw(rng)
    with pytest.raises(ValueError, match="no sparsity pattern"):
        refine_by_patterns(samples, V, leaky_relu(0.1))
