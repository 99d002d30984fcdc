"""The paper's algorithms as printed: right in the limit, and exact on exact moments."""

import numpy as np

from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.moments.symmetric_input_algorithms import (
    paper_network,
    pure_neuron_detector,
    single_layer_network,
)


def mirrored(rng, n, d, k, m):
    """On mirror images the empirical distribution is symmetric, so the moments are exact."""
    X = rng.exponential(size=(n, d))
    X = np.vstack([X, -X]) * rng.choice([-1, 1], size=(1, d))
    W, A = rng.standard_normal((d, k)), rng.standard_normal((k, m))
    W /= np.linalg.norm(W, axis=0)
    return X, np.maximum(X @ W, 0) @ A, ([W, A], [np.zeros(k), np.zeros(m)])


def test_algorithm_1(rng):
    X, _, ((W, _), _) = mirrored(rng, 50, 5, 1, 1)
    y = np.maximum(X @ W, 0)
    np.testing.assert_allclose(single_layer_network(X, y, np.ones(100)), W, atol=1e-10)
    found, A = paper_network(X, y, np.ones(100), 1, rng=rng)
    np.testing.assert_allclose(found * A, W, atol=1e-10)


def test_the_detector_vanishes_on_pure_neurons_only(rng):
    X, y, ((_, A), _) = mirrored(rng, 400, 5, 3, 3)
    T = pure_neuron_detector(X, y, np.ones(800))
    upper = np.triu_indices(3)
    for u in np.linalg.inv(A).T:
        size = np.linalg.norm(T, 2) * np.linalg.norm(u) ** 2
        assert np.linalg.norm(T @ np.outer(u, u)[upper]) < 1e-10 * size
    u = np.linalg.inv(A).T[:2].sum(axis=0)
    assert np.linalg.norm(T @ np.outer(u, u)[upper]) > 1e-6 * np.linalg.norm(T, 2) * (u @ u)


def test_algorithms_3_and_4_on_many_samples(rng):
    n = 60000
    for m in (3, 5):
        X = rng.standard_normal((n, 3))
        W = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        A = np.linalg.qr(rng.standard_normal((m, 3)))[0].T
        y = np.maximum(X @ W, 0) @ A
        truth = ([W, A], [np.zeros(3), np.zeros(m)])
        # A random pair of combinations may be a bad one: the best of a few tells.
        errors = [
            recovery_error((list(paper_network(X, y, np.ones(n), 3, rng=rng)), truth[1]), truth)
            for _ in range(4)
        ]
        assert min(errors) < 0.3
