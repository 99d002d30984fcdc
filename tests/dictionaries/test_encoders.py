"""Each encoder's definition, and thresholds from the data."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.encoders import (
    CodeRule,
    balanced_threshold,
    encode,
)


@pytest.fixture
def problem(rng):
    X, truth = make_sparse_codes(
        400, 60, n_components=70, n_nonzero=3, noise=0.02, random_state=rng
    )
    return X, truth.components_, truth


def test_thresholding_encoders_are_their_formulas(problem):
    X, D, _ = problem
    z = X @ D.T
    hard = encode(X, D, CodeRule("threshold", 3, 0.4)).toarray()
    np.testing.assert_allclose(hard, np.where(np.abs(z) > 0.4, z, 0))
    soft = encode(X, D, CodeRule("relu", 3, 0.4)).toarray()
    np.testing.assert_allclose(soft, np.sign(z) * np.maximum(np.abs(z) - 0.4, 0), atol=1e-15)
    relu = encode(X, D, CodeRule("relu", 3, 0.4, nonnegative=True)).toarray()
    np.testing.assert_allclose(relu, np.maximum(z - 0.4, 0), atol=1e-15)
    limits = np.linspace(0.2, 0.6, len(D))
    jump = encode(X, D, CodeRule("jumprelu", 3, limits, nonnegative=True)).toarray()
    np.testing.assert_allclose(jump, np.where(z > limits, z, 0))


@pytest.mark.parametrize("encoder", ["top-k", "omp"])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_least_squares_encoders(problem, encoder, nonnegative):
    X, D, _ = problem
    codes = encode(X, D, CodeRule(encoder, 4, nonnegative=nonnegative)).toarray()
    assert np.all(np.count_nonzero(codes, axis=1) <= 4)
    if nonnegative:
        assert codes.min() >= 0
    for x, code in zip(X[:20], codes[:20], strict=True):
        support = np.flatnonzero(code)
        best = np.linalg.lstsq(D[support].T, x, rcond=None)[0]
        np.testing.assert_allclose(code[support], best, atol=1e-8)


def test_top_k_takes_the_largest_correlations(problem):
    X, D, _ = problem
    codes = encode(X, D, CodeRule("top-k", 2)).toarray()
    expected = np.sort(np.argsort(-np.abs(X @ D.T), axis=1)[:, :2], axis=1)
    np.testing.assert_array_equal(np.array([np.flatnonzero(row) for row in codes]), expected)


def test_balanced_threshold_matches_the_usage(problem):
    X, D, _ = problem
    threshold = balanced_threshold(X, D, 3 / 70, nonnegative=False)
    assert np.mean(np.abs(X @ D.T) > threshold) == pytest.approx(3 / 70, rel=0.02)
    usage = np.linspace(0.02, 0.1, 70)
    limits = balanced_threshold(X, D, usage, nonnegative=True)
    frequency = np.mean(limits < X @ D.T, axis=0)
    np.testing.assert_allclose(frequency, usage, atol=2 / 400)


def test_pursuits_drop_coefficients_that_fell_to_the_threshold(rng):
    """A wrong first atom has no coefficient once the right ones are found."""
    D = rng.standard_normal((30, 40))
    D[0] = D[1] + D[2]
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    X = D[1:2] + D[2:3] + 1e-3 * rng.standard_normal((50, 40))
    kept = encode(X, D, CodeRule("omp", 3)).toarray()
    assert np.all(kept[:, 0] != 0)
    X = X + 0.05 * D[3]
    codes = encode(X, D, CodeRule("omp", 4, threshold=0.02)).toarray()
    assert np.all((codes != 0) <= (np.abs(codes) > 0.02))
    for x, code in zip(X, codes, strict=True):
        support = np.flatnonzero(code)
        best = np.linalg.lstsq(D[support].T, x, rcond=None)[0]
        np.testing.assert_allclose(code[support], best, atol=1e-10)


def test_supports_of_different_sizes(rng):
    """Each atom is active by itself; noiseless samples are coded by their own atoms alone."""
    _, truth = make_sparse_codes(2000, 32, n_components=64, n_nonzero=3, random_state=rng)
    on = rng.rand(2000, 64) < 3 / 64
    on[on.sum(axis=1) > 7] = False
    codes = np.where(on, rng.uniform(0.5, 1.5, on.shape), 0)
    X = codes @ truth.components_
    rule = CodeRule("omp", 9, threshold=1e-12, search_above=1e-22)
    found = encode(X, truth.components_, rule).toarray()
    assert np.mean(np.all((found != 0) == on, axis=1)) > 0.99
