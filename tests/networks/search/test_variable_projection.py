import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation
from sklearn_nnrecover.networks.model.two_layer_network import residual_sum_of_squares
from sklearn_nnrecover.networks.search.variable_projection import (
    SeparableLeastSquares,
    variable_projection,
)

TANH = Activation("tanh", np.tanh, lambda T: 1 - np.tanh(T) ** 2)


def problem(rng, n_samples=200, n_features=5, noise=0.0, weighted=False, bias=True, **shape):
    X, y, truth = make_relu_network(
        n_samples, n_features, noise=noise, bias=bias, random_state=rng, **shape
    )
    weight = rng.uniform(0.5, 2, n_samples) if weighted else np.ones(n_samples)
    samples, _ = orthonormal_design(X, y.reshape(n_samples, -1), weight, intercept=bias)
    T = X @ truth.coefs_[0] + truth.intercepts_[0]
    return samples, np.linalg.lstsq(samples.Z, T, rcond=None)[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_outputs", [1, 2, 6])
def test_reaches_rounding_from_near_the_truth(rng, bias, n_outputs):
    samples, V = problem(
        rng, n_samples=400, n_hidden=3, n_outputs=n_outputs, weighted=True, bias=bias
    )
    start = V + 1e-4 * rng.standard_normal(V.shape)
    fit = run_to_end(variable_projection(samples, start))
    assert fit.converged
    assert fit.loss <= 1e-28 * np.sum(samples.Y**2)
    np.testing.assert_allclose(np.linalg.norm(fit.network.V, axis=0), 1)
    np.testing.assert_allclose(fit.network.V, V / np.linalg.norm(V, axis=0), atol=1e-10)


def test_ill_conditioned_outputs_cost_no_digits_of_the_residual(rng):
    samples, V = problem(rng, n_hidden=4, n_outputs=4, output_condition=1e4)
    fit = run_to_end(variable_projection(samples, V + 1e-5 * rng.standard_normal(V.shape)))
    assert fit.loss <= 1e-28 * np.sum(samples.Y**2)
    np.testing.assert_allclose(fit.network.V, V / np.linalg.norm(V, axis=0), atol=1e-9)


@pytest.mark.parametrize("linear_part", [False, True])
@pytest.mark.parametrize("activation", [RELU, TANH])
def test_loss_is_that_of_the_network_and_stationary(rng, activation, linear_part):
    samples, V = problem(rng, n_hidden=2, n_outputs=2, noise=0.2, weighted=True)
    start = V + 0.1 * rng.standard_normal(V.shape)
    fit = run_to_end(
        variable_projection(samples, start, activation=activation, linear_part=linear_part)
    )
    extra = samples.Z @ fit.linear if linear_part else 0.0
    if linear_part:
        assert np.all(fit.linear[-1] == 0)
    else:
        assert fit.linear is None
    without = samples._replace(Y=samples.Y - extra)
    np.testing.assert_allclose(residual_sum_of_squares(fit.network, without), fit.loss, rtol=1e-9)
    first = next(variable_projection(samples, start, activation=activation, max_iter=1))
    assert fit.loss <= first.objective


@pytest.mark.parametrize("activation", [RELU, TANH])
def test_gradient_is_the_derivative_of_the_loss(rng, activation):
    samples, V = problem(rng, n_hidden=3, n_outputs=2, noise=0.5, weighted=True)
    separable = SeparableLeastSquares(samples, activation)
    V = V + 0.1 * rng.standard_normal(V.shape)
    at = separable.project(V)
    move = rng.standard_normal(V.shape)
    h = 1e-7
    slope = (separable.project(V + h * move).loss - separable.project(V - h * move).loss) / (2 * h)
    expected = -2 * np.sum(separable.gradient(at) * move.T)
    assert slope == pytest.approx(expected, rel=1e-3, abs=1e-3 * at.loss)


def test_normal_matrix_is_that_of_the_projected_jacobian(rng):
    samples, V = problem(rng, n_samples=60, n_hidden=3, n_outputs=2, noise=0.1, weighted=True)
    separable = SeparableLeastSquares(samples)
    at = separable.project(V)
    p, k = V.shape
    F = at.features.T
    projector = np.eye(len(F)) - F @ np.linalg.pinv(F)
    columns = [
        np.outer(
            projector @ (separable.root * at.slope[j] * samples.Z[:, a]), at.coefficients[j]
        ).ravel()
        for j in range(k)
        for a in range(p)
    ]
    J = np.array(columns).T
    np.testing.assert_allclose(separable.normal_matrix(at), J.T @ J, atol=1e-9 * len(F))


def test_small_blocks_change_nothing(rng):
    import sklearn

    samples, V = problem(rng, n_samples=300, n_hidden=3, n_outputs=2, noise=0.1)
    separable = SeparableLeastSquares(samples)
    at = separable.project(V)
    whole = separable.normal_matrix(at)
    with sklearn.config_context(working_memory=0.005):
        blocks = separable.normal_matrix(at)
    np.testing.assert_allclose(whole, blocks, atol=1e-11 * np.abs(whole).max())


def test_weights_are_frequencies(rng):
    samples, V = problem(rng, n_samples=80, n_hidden=2, n_outputs=2, noise=0.1)
    counts = rng.randint(1, 4, size=80)
    once = samples._replace(weight=counts.astype(float))
    repeated = samples._replace(
        Z=np.repeat(samples.Z, counts, axis=0),
        Y=np.repeat(samples.Y, counts, axis=0),
        weight=np.ones(counts.sum()),
    )
    a, b = (run_to_end(variable_projection(s, V)) for s in (once, repeated))
    assert a.loss == pytest.approx(b.loss, rel=1e-6)


def test_dead_and_duplicate_units_are_survived(rng):
    samples, V = problem(rng, n_hidden=3, n_outputs=2, noise=0.1)
    dead = np.zeros(len(V))
    dead[-1] = -1.0
    start = np.column_stack([V, dead, V[:, 0]])
    fit = run_to_end(variable_projection(samples, start))
    assert np.isfinite(fit.loss)
    assert np.all(fit.network.A[3] == 0)
    plain = run_to_end(variable_projection(samples, V))
    assert fit.loss <= plain.loss * (1 + 1e-3)


def test_budget_is_kept_and_told(rng):
    samples, V = problem(rng, n_hidden=5, n_outputs=1, noise=0.3)
    steps = list(variable_projection(samples, rng.standard_normal(V.shape), max_iter=2))
    assert len(steps) <= 2
    fit = run_to_end(variable_projection(samples, rng.standard_normal(V.shape), max_iter=2))
    assert fit.n_iter == 2
    assert not fit.converged


def test_losses_fall(rng):
    samples, V = problem(rng, n_hidden=4, n_outputs=2, noise=0.1)
    losses = [s.objective for s in variable_projection(samples, rng.standard_normal(V.shape))]
    assert np.all(np.diff(losses) <= 0)
