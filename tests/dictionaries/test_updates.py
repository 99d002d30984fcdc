"""Updates: fixed points, descent, the paper's gradient against finite differences."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.updates import (
    code_moments,
    decoder_gradient,
    gradient_update,
    normalized_rows,
    preconditioned_update,
    tied_gradient,
)


@pytest.fixture
def problem(rng):
    return make_sparse_codes(800, 20, n_components=24, n_nonzero=2, random_state=rng)


def test_true_codes_give_the_true_atoms(problem, rng):
    X, truth = problem
    start = normalized_rows(rng.standard_normal(truth.components_.shape), np.ones((24, 20)))
    D = preconditioned_update(*code_moments(truth.codes, X), start, 1e-15)
    np.testing.assert_allclose(D, truth.components_, atol=1e-12)


def test_unused_atoms_stay(problem, rng):
    X, truth = problem
    codes = truth.codes.toarray()
    codes[:, 7] = 0
    start = normalized_rows(rng.standard_normal((24, 20)), np.ones((24, 20)))
    moments = code_moments(sparse.csr_array(codes), X)
    np.testing.assert_array_equal(preconditioned_update(*moments, start, 1e-9)[7], start[7])
    gradient = decoder_gradient(*moments, start, len(X))
    energy = np.mean(codes**2, axis=0)
    np.testing.assert_allclose(gradient_update(gradient, start, energy, 0.5)[7], start[7])


def test_dependent_codes_are_survived(problem):
    X, truth = problem
    codes = truth.codes.toarray()
    codes[:, 1] = codes[:, 0]
    D = preconditioned_update(*code_moments(sparse.csr_array(codes), X), truth.components_, 0.0)
    assert np.isfinite(D).all()
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1)


def test_gradient_descends_to_the_truth(problem, rng):
    X, truth = problem
    D = normalized_rows(
        truth.components_ + 0.1 * rng.standard_normal(truth.components_.shape), truth.components_
    )
    energy = np.mean(truth.codes.toarray() ** 2, axis=0)
    distances = [np.linalg.norm(D - truth.components_)]
    for _ in range(8):
        gradient = decoder_gradient(*code_moments(truth.codes, X), D, len(X))
        D = gradient_update(gradient, D, energy, 0.7)
        distances.append(np.linalg.norm(D - truth.components_))
    assert np.all(np.diff(distances) < 0)
    assert distances[-1] < 0.1 * distances[0]


def test_tied_gradient_is_the_derivative_of_the_loss(problem, rng):
    """Away from the threshold the paper's approximate gradient is exact for hard thresholding."""
    X, truth = problem
    X = X[:50]
    D = normalized_rows(
        truth.components_ + 0.05 * rng.standard_normal(truth.components_.shape), truth.components_
    )
    rule = CodeRule("threshold", 2, 0.35)

    def loss(W):
        z = X @ W.T
        return 0.5 * np.sum((X - np.where(active, z, 0) @ W) ** 2) / len(X)

    active = np.abs(X @ D.T) > 0.35
    gradient = tied_gradient(X, encode(X, D, rule), D)
    for _ in range(5):
        direction = rng.standard_normal(D.shape)
        slope = (loss(D + 1e-6 * direction) - loss(D - 1e-6 * direction)) / 2e-6
        assert slope == pytest.approx(np.sum(gradient * direction), rel=1e-5, abs=1e-7)
