"""Generative models: shapes, truth in the estimators' format, repeatable draws."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network


@pytest.mark.parametrize("distribution", ["normal", "uniform", "exponential"])
def test_relu_network_is_its_truth(seed, distribution):
    X, y, truth = make_relu_network(
        400, 5, n_hidden=3, n_outputs=2, distribution=distribution, random_state=seed
    )
    (W, A), (b, c) = truth.coefs_, truth.intercepts_
    np.testing.assert_allclose(y, np.maximum(X @ W + b, 0) @ A + c, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), 1)
    assert np.abs(X.mean(axis=0)).max() < 0.5 and np.abs(X.std(axis=0) - 1).max() < 0.5


def test_same_seed_same_bits(seed):
    one, other = (make_relu_network(30, 4, noise=0.1, random_state=seed) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_noise_conditions_and_one_output(seed):
    X, y, truth = make_relu_network(
        4000, 6, n_outputs=1, noise=0.5, input_condition=1e4, random_state=seed
    )
    (W, A), (b, c) = truth.coefs_, truth.intercepts_
    residual = y - (np.maximum(X @ W + b, 0) @ A + c)[:, 0]
    assert y.ndim == 1
    assert residual.std() == pytest.approx(truth.noise_std, rel=0.1)
    assert np.linalg.cond(np.cov(X.T)) > 1e3
    A = make_relu_network(10, 8, output_condition=1e4, random_state=seed)[2].coefs_[1]
    assert np.linalg.cond(A) == pytest.approx(1e4, rel=1e-6)


def test_without_biases(seed):
    b, c = make_relu_network(10, 3, bias=False, random_state=seed)[2].intercepts_
    assert not b.any() and not c.any()


def test_unknown_distribution_is_named():
    with pytest.raises(ValueError, match="cauchy"):
        make_relu_network(distribution="cauchy")
