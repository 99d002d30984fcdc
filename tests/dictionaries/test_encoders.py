"""Each encoder's definition, thresholds from the data, least squares on supports."""

import itertools

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.encoders import (
    CodeRule,
    balanced_threshold,
    encode,
    least_squares_values,
    nonnegative_least_squares,
    padded_to_csr,
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


def test_wider_search_mends_greedy_picks(rng):
    X, truth = make_sparse_codes(3000, 12, n_components=32, n_nonzero=3, random_state=rng)
    D = truth.components_
    true = truth.codes.toarray() != 0

    def right(rule):
        return np.mean(np.all((encode(X, D, rule).toarray() != 0) == true, axis=1))

    greedy = right(CodeRule("omp", 3))
    searched = right(CodeRule("omp", 3, search_above=1e-20))
    assert greedy < 0.9
    assert searched > greedy + 0.5 * (1 - greedy)


@pytest.mark.parametrize("k", [2, 3])
def test_of_few_supports_the_best_is_found(rng, k):
    """Coherent atoms in few dimensions, where greedy picks are poor."""
    D = rng.standard_normal((7, 5)) + 1.5 * rng.standard_normal(5)
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    X = rng.standard_normal((300, 5))

    def left(search_above):
        codes = encode(X, D, CodeRule("omp", k, search_above=search_above))
        return np.linalg.norm(X - codes @ D, axis=1)

    best = np.full(300, np.inf)
    for support in itertools.combinations(range(7), k):
        basis = np.linalg.qr(D[list(support)].T)[0]
        best = np.minimum(best, np.linalg.norm(X - X @ basis @ basis.T, axis=1))
    assert np.mean(left(np.inf) > best + 1e-9) > 0.1
    searched = left(0.0)
    assert np.all(searched <= np.sqrt(1 / 0.9) * best + 1e-9)  # a tenth of the square is kept


def test_balanced_threshold_matches_the_usage(problem):
    X, D, _ = problem
    threshold = balanced_threshold(X, D, 3 / 70, nonnegative=False)
    assert np.mean(np.abs(X @ D.T) > threshold) == pytest.approx(3 / 70, rel=0.02)
    usage = np.linspace(0.02, 0.1, 70)
    limits = balanced_threshold(X, D, usage, nonnegative=True)
    frequency = np.mean(limits < X @ D.T, axis=0)
    np.testing.assert_allclose(frequency, usage, atol=2 / 400)


def test_padding_is_not_stored():
    atoms = np.array([[3, 1], [2, 2], [0, 1]], dtype=np.int32)
    values = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 0.0]])
    codes = padded_to_csr(atoms, values, 4)
    np.testing.assert_array_equal(codes.toarray(), [[0, -2, 0, 1], [0, 0, 0.5, 0], [0, 0, 0, 0]])
    assert codes.nnz == 3
    assert codes.has_canonical_format


def test_inactive_entries_do_not_matter(problem, rng):
    X, D, _ = problem
    gram = D @ D.T
    atoms = rng.randint(70, size=(400, 5)).astype(np.int32)
    atoms[:, :2] = [0, 1]
    active = np.zeros((400, 5), dtype=bool)
    active[:, :2] = True
    values = least_squares_values(X, D, gram, atoms, active)
    assert not values[:, 2:].any()
    np.testing.assert_allclose(values[:, :2], X @ np.linalg.pinv(D[:2]), atol=1e-9)


def test_nonnegative_refit_leaves_no_negative(problem):
    X, D, _ = problem
    gram = D @ D.T
    atoms = np.tile(np.arange(6, dtype=np.int32), (400, 1))
    free = least_squares_values(X, D, gram, atoms, np.ones(atoms.shape, dtype=bool))
    assert free.min() < 0
    values = nonnegative_least_squares(X, D, gram, atoms, free)
    assert values.min() >= 0
    residual = X - values @ D[:6]
    assert np.all(np.abs(residual @ D[:6].T)[values > 0] < 1e-8)
