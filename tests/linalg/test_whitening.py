"""Whitening on the subspace in which samples vary."""

import numpy as np

from sklearn_nnrecover.linalg.whitening import whiten


def moments(Z, weight):
    return weight @ Z / weight.sum(), (Z * weight[:, None]).T @ Z / weight.sum()


def test_weighted_coordinates_are_uncorrelated_whatever_the_scales(rng):
    X = rng.randn(80, 5) * np.geomspace(1e-6, 1e6, 5) + np.geomspace(1e3, 1e-3, 5)
    weight = rng.randint(1, 5, 80).astype(float)
    whitening = whiten(X, weight)
    mean, covariance = moments(whitening.apply(X), weight)
    assert whitening.rank == 5
    np.testing.assert_allclose(mean, 0, atol=1e-6)
    np.testing.assert_allclose(covariance, np.eye(5), atol=1e-6)


def test_without_centring_the_second_moment_is_the_identity(rng):
    X = rng.randn(50, 3) + 2
    whitening = whiten(X, center=False)
    np.testing.assert_allclose(moments(whitening.apply(X), np.ones(50))[1], np.eye(3), atol=1e-10)


def test_constant_and_collinear_columns_get_no_direction(rng):
    X = rng.randn(40, 3)
    X = np.column_stack([X, np.full(40, 7.3), X[:, 0] - 2 * X[:, 1]])
    whitening = whiten(X)
    assert whitening.rank == 3
    np.testing.assert_array_equal(whitening.transform[3], 0)
    np.testing.assert_allclose(moments(whitening.apply(X), np.ones(40))[1], np.eye(3), atol=1e-10)


def test_fewer_samples_than_features(rng):
    whitening = whiten(rng.randn(4, 9))
    assert whitening.rank == 3
    assert whitening.transform.shape == (9, 3)


def test_all_columns_constant():
    whitening = whiten(np.ones((5, 2)))
    assert whitening.rank == 0
    assert whitening.apply(np.ones((3, 2))).shape == (3, 0)
