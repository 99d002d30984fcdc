"""Noise is recognised as noise; description lengths prefer the truth."""

import numpy as np
import pytest

from sklearn_nnrecover.dictionaries.support_growth import (
    code_length,
    description_length,
    noise_correlation,
    noise_correlation_square,
    unexplained,
)


@pytest.mark.parametrize(("m", "n"), [(8, 6), (200, 64)])
def test_level_on_white_noise(rng, m, n):
    D = rng.standard_normal((m, n))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    X = rng.standard_normal((4000, n)) * rng.uniform(0.1, 10, (4000, 1))
    square = np.sum(X**2, axis=1)
    following = np.abs(X @ D.T).max(axis=1)
    share = unexplained(following, square, square, noise_correlation_square(m, n)).mean()
    assert share < 0.05 + 5 * np.sqrt(0.05 / 4000)
    assert share > 0.005


def test_correlation_that_noise_hardly_reaches(rng):
    D = rng.standard_normal((50, 30))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    largest = np.abs(0.3 * rng.standard_normal((4000, 30)) @ D.T).max(axis=1)
    share = np.mean(largest > noise_correlation(0.09, 50, 30))
    assert 0.005 < share < 0.1
    assert noise_correlation(0.36, 50, 30) == pytest.approx(2 * noise_correlation(0.09, 50, 30))
    assert noise_correlation(1.0, 50, 0) == 1.0


def test_atoms_are_not_noise(rng):
    D = np.eye(30)
    X = D[rng.randint(30, size=100)] + 0.05 * rng.standard_normal((100, 30))
    square = np.sum(X**2, axis=1)
    following = np.abs(X).max(axis=1)
    assert unexplained(following, square, square, noise_correlation_square(30, 30)).all()
    assert not unexplained(following, 1e-17 * square, square, 0.5).any()


def test_one_dimension_is_never_significant():
    assert noise_correlation_square(5, 1) == 1.0


def test_longer_codes_must_pay():
    base = dict(sample_square=1000.0, n_samples=100, n_features=10, n_components=20)
    short = description_length(10.0, n_nonzero=200, **base)
    assert description_length(10.0, n_nonzero=300, **base) > short
    assert description_length(1.0, n_nonzero=300, **base) < short
    assert np.isfinite(description_length(0.0, n_nonzero=0, **base))


def test_the_length_of_codes_does_not_depend_on_the_number_of_samples():
    """So that starts on different numbers of samples can be compared."""
    sizes = dict(n_features=10, n_components=20)
    few = code_length(10.0, 100.0, 200, 100, **sizes)
    assert code_length(100.0, 1000.0, 2000, 1000, **sizes) == pytest.approx(few)
    whole = description_length(10.0, 100.0, 200, 100, **sizes)
    assert whole - few == pytest.approx(0.5 * 20 * 9 * np.log(100) / 100)
