"""Hermite moments, independent components, and the networks that their estimates lead to."""

import warnings
from math import sqrt

import numpy as np
import pytest

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import match_components, recovery_error
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import RELU, activation_of
from sklearn_nnrecover.networks.moments.hermite_moments import (
    hermite_coefficients,
    hermite_start,
    looks_gaussian,
    moment_directions,
    moment_order,
    place_units,
    score_slices,
    signs_of_first_order,
)
from sklearn_nnrecover.networks.moments.independent_components import (
    component_start,
    independent_components,
)
from sklearn_nnrecover.networks.search.estimated_starts import random_half, search_from_estimates


def gaussian_problem(rng, n, d, k, m, activation=RELU, bias=0.0, orthogonal=True):
    """Samples in design coordinates, and the true units there."""
    X = rng.standard_normal((n, d))
    W = np.linalg.qr(rng.standard_normal((d, k)))[0]
    if not orthogonal:
        W = W + 0.4 * rng.standard_normal((d, k)) / sqrt(d)
        W /= np.linalg.norm(W, axis=0)
    b = bias * rng.standard_normal(k)
    # With fewer outputs a random unit may have next to no output weight, and be invisible.
    A = np.linalg.qr(rng.standard_normal((m, m)))[0][:k] if m >= k else rng.choice([-1, 1], (k, m))
    T = X @ W + b
    samples, _ = orthonormal_design(X, activation.value(T) @ A, np.ones(n), intercept=True)
    return samples, np.linalg.lstsq(samples.Z, T, rcond=None)[0]


def test_hermite_coefficients_of_known_activations():
    density = 1 / sqrt(2 * np.pi)
    relu = hermite_coefficients(RELU)
    np.testing.assert_allclose(relu, [density, 0.5, density, 0, -density], atol=8e-3)
    square = hermite_coefficients(activation_of("relu2"))
    np.testing.assert_allclose(square, [0.5, 2 * density, 1, 2 * density, 0], atol=2e-3)
    smooth = activation_of((np.sin, np.cos))
    # E[sin(g) g] = exp(-1/2), even orders vanish.
    np.testing.assert_allclose(
        hermite_coefficients(smooth)[:4], [0, np.exp(-0.5), 0, -np.exp(-0.5)], atol=1e-12
    )


def test_the_order_avoids_moments_that_vanish():
    assert moment_order(RELU, n_outputs=3, n_hidden=3) == 2
    # One output has one slice of order 2; the third order of the ReLU, which the paper uses, is 0.
    assert moment_order(RELU, n_outputs=1, n_hidden=3) == 4
    assert moment_order(activation_of("relu2"), n_outputs=1, n_hidden=3) == 3
    assert moment_order(activation_of((np.sin, np.cos)), n_outputs=3, n_hidden=3) == 3


@pytest.mark.parametrize("order", [2, 3, 4])
def test_slices_are_contracted_hermite_tensors(rng, order):
    d = 3
    samples, _ = gaussian_problem(rng, 40, d, 2, 2)
    residual = samples.Y - samples.Z @ np.linalg.lstsq(samples.Z, samples.Y, rcond=None)[0]
    slices = score_slices(samples, order)
    step = 0.01
    # The generating function exp(s x - s s / 2) of Hermite polynomials, by its derivatives.
    x = samples.Z[:, :d]

    def moment(*directions):
        """Derivative of E[r exp(s x - s s / 2)] along directions, by central differences."""
        signs = np.array(np.meshgrid(*[[1, -1]] * len(directions))).reshape(len(directions), -1)
        total = 0.0
        for sign in signs.T:
            s = step * np.sum([c * v for c, v in zip(sign, directions, strict=True)], axis=0)
            total = total + np.prod(sign) * np.exp(x @ s - s @ s / 2)
        return (total / (2 * step) ** len(directions)) @ residual / len(x)

    e = np.eye(d)
    for i, j, axis in [(0, 0, 1), (0, 1, 2), (2, 1, 1)]:
        expected = moment(e[i], e[j], *[e[axis]] * (order - 2))
        for output in range(2):
            index = output if order == 2 else output * d + axis
            assert slices[index, i, j] == pytest.approx(expected[output], abs=5e-3)


@pytest.mark.parametrize("name", ["relu", "relu2", "sqrt", "expm1"])
def test_directions_and_signs_of_many_samples(rng, name):
    activation = activation_of(name)
    samples, V = gaussian_problem(rng, 20000, 4, 3, 3, activation)
    directions = moment_directions(samples, 3, activation, rng)
    match = match_components(directions.T, V[:4].T)
    assert np.abs(match.cosine).min() > 0.95
    signs = signs_of_first_order(samples, directions)[match.permutation]
    np.testing.assert_array_equal(signs, np.sign(match.scale))
    placed = place_units(samples, directions, activation)
    assert match_components(placed.T, V.T, signed=False).cosine.min() > 0.9


def test_the_printed_order_tells_nothing_of_a_relu(rng):
    samples, _ = gaussian_problem(rng, 20000, 4, 3, 3)
    second, third = (np.linalg.norm(score_slices(samples, order)) for order in (2, 3))
    # Twelve slices of noise against three of signal.
    assert third < 0.5 * second


def test_one_output_by_the_third_order(rng):
    activation = activation_of("relu2")
    samples, V = gaussian_problem(rng, 40000, 3, 2, 1, activation)
    directions = moment_directions(samples, 2, activation, rng)
    assert np.abs(match_components(directions.T, V[:3].T).cosine).min() > 0.9


def test_biases_are_placed(rng):
    samples, V = gaussian_problem(rng, 20000, 4, 3, 3, bias=0.7)
    start = hermite_start(samples, 3, RELU, rng)
    assert match_components(start.T, V.T, signed=False).cosine.min() > 0.9


def test_independent_components_are_hidden_units(rng):
    samples, V = gaussian_problem(rng, 5000, 6, 4, 5, bias=0.3)
    components = independent_components(samples, 4, rng)
    np.testing.assert_allclose(components.T @ components / 5000, np.eye(4), atol=1e-6)
    hidden = RELU.value(samples.Z @ V)
    correlation = np.corrcoef(np.hstack([components, hidden]), rowvar=False)[:4, 4:]
    assert np.abs(correlation).max(axis=1).min() > 0.95
    start = component_start(samples, 4, RELU, rng)
    assert match_components(start.T, V.T, signed=False).cosine.min() > 0.95


def test_components_respect_weights(rng):
    samples, V = gaussian_problem(rng, 4000, 4, 3, 3)
    weight = rng.randint(1, 4, 4000).astype(float)
    start = component_start(samples._replace(weight=weight), 3, RELU, rng)
    assert match_components(start.T, V.T, signed=False).cosine.min() > 0.9


def test_a_random_half_is_white_and_maps_back(rng):
    samples, V = gaussian_problem(rng, 300, 4, 2, 2)
    half, transform = random_half(samples, rng)
    np.testing.assert_allclose(half.Z.T @ half.Z / 150, np.eye(5), atol=1e-10)
    np.testing.assert_allclose(half.Z[:, -1], 1)
    U = np.linalg.solve(transform, V)
    T = half.Z @ U
    everything = samples.Z @ V
    assert np.abs(T[:, None] - everything[None]).max(axis=2).min(axis=1).max() < 1e-10


def test_estimates_that_agree_prove_a_network(rng):
    samples, V = gaussian_problem(rng, 2000, 5, 3, 3, bias=0.3, orthogonal=False)
    search = run_to_end(search_from_estimates(samples, 3, hermite_start, rng=rng, activation=RELU))
    assert search.n_agreeing == 3
    assert match_components(search.network.V.T, V.T, signed=False).cosine.min() > 1 - 1e-12


# --- the solvers -------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["moments", "ica"])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_solvers_where_their_theorems_hold(rng, seed, solver, noise):
    W, A = (np.linalg.qr(rng.standard_normal((size, 3)))[0] for size in (5, 3))
    X, b = rng.standard_normal((2000, 5)), 0.3 * rng.standard_normal(3)
    y = np.maximum(X @ W + b, 0) @ A
    y = y + noise * y.std() * rng.standard_normal(y.shape)
    net = ReLUNetRecovery(3, solver=solver, random_state=seed).fit(X, y)
    assert net.solver_ == solver
    assert net.report_.status == ("approximate" if noise else "exact")
    error = recovery_error(net, ([W, A], [b, np.zeros(3)]))
    assert error < (0.1 if noise else 1e-9)


@pytest.mark.parametrize("solver", ["moments", "ica"])
def test_solvers_find_the_width(rng, seed, solver):
    X = rng.standard_normal((2000, 5))
    W = np.linalg.qr(rng.standard_normal((5, 3)))[0]
    A = np.linalg.qr(rng.standard_normal((4, 4)))[0][:3]
    net = ReLUNetRecovery(solver=solver, random_state=seed).fit(X, np.maximum(X @ W, 0) @ A)
    assert (net.n_hidden_, net.solver_) == (3, solver)


def test_more_units_than_inputs_are_declined(rng, seed):
    X = rng.standard_normal((300, 2))
    W, A = rng.standard_normal((2, 3)), rng.standard_normal((3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        net = ReLUNetRecovery(3, solver="moments", random_state=seed).fit(
            X, np.maximum(X @ W + [0.1, 0.2, -0.1], 0) @ A
        )
    assert net.solver_ == "varpro"
    assert "finds at most 2 units" in net.report_.reason


def test_inputs_far_from_gaussian_end_in_a_true_claim_or_none(rng, seed):
    # Signs: every fourth moment is wrong, and so are the moments of the outputs.
    X = rng.choice([-1.0, 1.0], (400, 6))
    W, A = rng.standard_normal((6, 3)), rng.standard_normal((3, 3))
    y = np.maximum(X @ W, 0) @ A
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        net = ReLUNetRecovery(3, solver="moments", random_state=seed).fit(X, y)
    if net.report_.status == "exact":
        np.testing.assert_allclose(net.predict(X), y, atol=1e-8)
    else:
        assert net.report_.reason


def test_gaussian_inputs_are_told_from_others(rng):
    for draw, expected in (
        (rng.standard_normal, True),
        (lambda shape: rng.uniform(-1, 1, shape), False),
        (lambda shape: rng.exponential(size=shape), False),
    ):
        passed = 0
        for _ in range(5):
            X = draw((2000, 4))
            samples, _ = orthonormal_design(X, X[:, :1], np.ones(2000), intercept=True)
            passed += looks_gaussian(samples)
        assert (passed >= 3) == expected and (passed > 0) == expected
