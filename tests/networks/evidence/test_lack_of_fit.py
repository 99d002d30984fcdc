"""Lack of fit: quiet for the right model, whatever the noise; loud for a wrong one."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.evidence.lack_of_fit import lack_of_fit
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.search.variable_projection import variable_projection

NOISE = {
    "gaussian": lambda rng, X, shape: rng.randn(*shape),
    "heavy tails": lambda rng, X, shape: rng.standard_t(4, size=shape),
    "unequal variances": lambda rng, X, shape: rng.randn(*shape) * np.abs(X[:, :1]),
}


def p_value(rng, X, y, T, kept=slice(None)):
    """Fit from the true hidden units that are kept, then test."""
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    V = np.linalg.lstsq(samples.Z, T[:, kept], rcond=None)[0]
    fit = run_to_end(variable_projection(samples, V / np.linalg.norm(V, axis=0)))
    return lack_of_fit(fit.network, samples, rng).p_value


def teacher(seed, n=1000, m=3):
    X, _, truth = make_relu_network(n, 5, n_hidden=3, n_outputs=m, random_state=seed)
    (W, A), (b, _) = truth.coefs_, truth.intercepts_
    return X, X @ W + 0.5 * b, A


@pytest.mark.parametrize("kind", NOISE)
def test_right_model_passes(rng, seed, kind):
    # The measured level at .001 is below .001; three draws below 1e-4 would be a defect.
    X, T, A = teacher(seed)
    y = np.maximum(T, 0) @ A
    smallest = min(p_value(rng, X, y + 0.2 * NOISE[kind](rng, X, y.shape), T) for _ in range(3))
    assert smallest > 1e-5


@pytest.mark.parametrize("activation", [np.tanh, lambda t: 2 * t / (1 + np.exp(-2 * t))])
def test_wrong_activation_is_found(rng, seed, activation):
    X, T, A = teacher(seed)
    y = activation(T) @ A
    assert p_value(rng, X, y + 0.02 * y.std() * rng.randn(*y.shape), T) < 1e-3


def test_missed_unit_is_found(rng, seed):
    X, T, A = teacher(seed, n=2000)
    A = A / np.linalg.norm(A, axis=1, keepdims=True)
    y = np.maximum(T, 0) @ A
    assert p_value(rng, X, y + 0.05 * rng.randn(*y.shape), T, kept=slice(1, None)) < 1e-3


def test_no_degrees_of_freedom_no_test(rng, seed):
    X, T, A = teacher(seed, n=12, m=1)
    y = np.maximum(T, 0) @ A
    samples, _ = orthonormal_design(X, y, np.ones(12), intercept=True)
    V = rng.randn(samples.Z.shape[1], 3)
    fit = run_to_end(variable_projection(samples, V, max_iter=3))
    result = lack_of_fit(fit.network, samples, rng)
    assert result.p_value == 1.0 and result.n_features == 0
