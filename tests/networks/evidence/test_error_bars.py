import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.evidence.error_bars import (
    mark_not_pinned,
    standard_errors,
    units_moved_by_rivals,
    user_weights,
)
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import Activation
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork
from sklearn_nnrecover.networks.search.least_squares_search import Rival
from sklearn_nnrecover.networks.search.variable_projection import variable_projection

# Smooth and of degree 3: derivatives by differences are good to many digits.
CUBE = Activation("relu^3", lambda T: np.maximum(T, 0) ** 3, lambda T: 3 * np.maximum(T, 0) ** 2, 3)
TANH = Activation("tanh", np.tanh, lambda T: 1 - np.tanh(T) ** 2)


def fitted(rng, X, activation, intercept=True, weighted=True, n_outputs=2):
    n, d = X.shape
    weight = rng.randint(1, 4, n).astype(float) if weighted else np.ones(n)
    scaled = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-12)
    # Orthogonal units: parallel ones would have output weights without error bars.
    T = 1.5 * scaled @ np.linalg.qr(rng.standard_normal((d, 2)))[0] + (0.3 if intercept else 0.0)
    y = activation.value(T) @ rng.standard_normal((2, n_outputs))
    y = 3 * y + 0.3 * rng.standard_normal(y.shape)
    samples, design = orthonormal_design(X, y, weight, intercept=intercept)
    V = np.linalg.lstsq(samples.Z, T, rcond=None)[0]
    fit = run_to_end(variable_projection(samples, V, activation=activation))
    return samples, design, fit.network


def dense_standard_errors(samples, design, network, sandwich):
    """The definition, by differences and a pseudo-inverse over all parameters."""
    p, k = network.V.shape
    m = samples.Y.shape[1]
    bias = samples.intercept

    def unpack(t):
        V, A = t[: p * k].reshape(p, k), t[p * k : p * k + k * m].reshape(k, m)
        c = t[p * k + k * m :] if bias else np.zeros(m)
        return TwoLayerNetwork(V, A, c, network.activation)

    def jacobian(f, t, h=1e-6):
        moves = h * np.eye(len(t))
        return np.array([(f(t + e) - f(t - e)).ravel() / (2 * h) for e in moves]).T

    def weights(t):
        return np.concatenate([part.ravel() for part in user_weights(unpack(t), design)])

    t = np.concatenate([network.V.ravel(), network.A.ravel(), network.c if bias else []])
    J = jacobian(lambda t: unpack(t).predict(samples.Z), t)
    G = jacobian(weights, t)
    residual = samples.Y - unpack(t).predict(samples.Z)
    w = np.repeat(samples.weight, m)
    bread = np.linalg.pinv((J * w[:, None]).T @ J, rcond=1e-9)
    gauge = k if network.activation.degree is not None else 0
    freedom = w.sum() - (len(t) - gauge)
    if sandwich:
        scores = (J * residual.reshape(-1, 1)).reshape(len(samples.Z), m, -1).sum(axis=1)
        meat = (scores * samples.weight[:, None]).T @ scores
        covariance = bread @ meat @ bread * w.sum() / freedom
    else:
        covariance = bread * np.sum(w * residual.ravel() ** 2) / freedom
    return np.sqrt(np.maximum(np.diag(G @ covariance @ G.T), 0))


@pytest.mark.parametrize("sandwich", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("activation", [CUBE, TANH])
def test_against_the_definition(rng, activation, intercept, sandwich):
    X = rng.standard_normal((150, 3))
    samples, design, network = fitted(rng, X, activation, intercept)
    errors = standard_errors(samples, design, network, sandwich=sandwich)
    expected = dense_standard_errors(samples, design, network, sandwich)
    ours = np.concatenate([part.ravel() for part in errors])
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-6 * expected.max())


def test_scaling_and_constant_columns(rng):
    X = rng.standard_normal((300, 3))
    samples, design, network = fitted(rng, X, CUBE, weighted=False)
    errors = standard_errors(samples, design, network)
    wide = np.column_stack([X, np.full(300, 7.0)])
    more, its_design = orthonormal_design(
        wide, samples.Y * design.output_scale, samples.weight, intercept=True
    )
    same = run_to_end(variable_projection(more, network.V, activation=CUBE)).network
    wide_errors = standard_errors(more, its_design, same)
    assert np.all(wide_errors.W[3] == 0)
    np.testing.assert_allclose(wide_errors.W[:3], errors.W, rtol=1e-4)
    np.testing.assert_allclose(wide_errors.b, errors.b, rtol=1e-4)
    assert np.all(np.isfinite(wide_errors.A)) and np.all(wide_errors.A > 0)


def test_errors_shrink_with_the_root_of_the_frequencies(rng):
    samples, design, network = fitted(rng, rng.standard_normal((200, 3)), CUBE, weighted=False)
    once = standard_errors(samples, design, network)
    fourfold = standard_errors(samples._replace(weight=4 * samples.weight), design, network)
    n, p = samples.Y.size, samples.n_parameters(2)
    ratio = np.sqrt((n - p) / (4 * n - p))
    for part, whole in zip(fourfold, once, strict=True):
        np.testing.assert_allclose(part, ratio * whole, rtol=1e-6)


def test_zero_when_exact_infinite_when_not_pinned(rng):
    samples, design, network = fitted(rng, rng.standard_normal((100, 3)), CUBE)
    exact = standard_errors(samples, design, network, exact=True)
    assert [part.shape for part in exact] == [(3, 2), (2,), (2, 2), (2,)]
    assert not any(part.any() for part in exact)
    marked = mark_not_pinned(exact, np.array([False, True]), True)
    assert np.isinf(marked.W[:, 1]).all() and np.isinf(marked.b[1]) and np.isinf(marked.A[1]).all()
    assert not marked.W[:, 0].any()


def test_dead_unit_and_no_freedom_are_infinite(rng):
    samples, design, network = fitted(rng, rng.standard_normal((100, 3)), CUBE)
    dead = np.zeros((4, 1))
    dead[3] = -1.0
    with_dead = TwoLayerNetwork(np.hstack([network.V, dead]), np.zeros((3, 2)), network.c, CUBE)
    errors = standard_errors(samples, design, with_dead)
    assert np.isinf(errors.W[:, 2]).all()
    assert np.isfinite(errors.W[:, :2]).all()
    few = samples._replace(Z=samples.Z[:4], Y=samples.Y[:4], weight=np.ones(4))
    assert all(np.isinf(part).all() for part in standard_errors(few, design, network))


def test_rivals_name_the_units_they_move(rng):
    samples, design, network = fitted(rng, rng.standard_normal((400, 3)), CUBE)
    errors = standard_errors(samples, design, network)
    V = network.V[:, ::-1].copy()  # order must not matter
    V[:, 0] = rng.standard_normal(4)
    moved = TwoLayerNetwork(V, network.A[::-1], network.c, CUBE)
    named = units_moved_by_rivals(network, errors, [Rival(moved, 3.0)], design)
    np.testing.assert_array_equal(named, [False, True])
    far = units_moved_by_rivals(network, errors, [Rival(moved, 11.0)], design, window=6.0)
    assert not far.any()
    assert not units_moved_by_rivals(network, errors, [Rival(network, 0.0)], design).any()


def test_intervals_cover_the_truth(rng):
    inside, total = 0, 0
    for _ in range(20):
        X, y, truth = make_relu_network(
            1000, 4, n_hidden=2, n_outputs=3, noise=0.1, random_state=rng
        )
        samples, design = orthonormal_design(X, y, np.ones(1000), intercept=True)
        T = X @ truth.coefs_[0] + truth.intercepts_[0]
        V = np.linalg.lstsq(samples.Z, T, rcond=None)[0]
        network = run_to_end(variable_projection(samples, V)).network
        errors = standard_errors(samples, design, network)
        true = [truth.coefs_[0], truth.intercepts_[0], truth.coefs_[1], truth.intercepts_[1]]
        for value, spread, exact in zip(user_weights(network, design), errors, true, strict=True):
            inside += np.sum(np.abs(value - exact) <= 1.96 * spread)
            total += value.size
    # 380 intervals, nominally .95: far outside these bounds for wrong standard errors.
    assert 0.85 <= inside / total <= 0.995
