"""All means from any start, unbiased where components overlap; the test of sphericity."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_spherical_mixture
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.spherical_mixture import (
    find_means,
    learn_mixture,
    nearest_mean,
    one_hot,
    tracy_widom_tail,
)
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import match_components


def distances(means, truth):
    match = match_components(means, truth.components_, signed=False)
    return np.linalg.norm(means[match.permutation] - truth.components_, axis=1)


def test_every_mean_from_a_single_start(rng):
    X, _, truth = make_spherical_mixture(
        2000, 20, n_components=25, norm=3.0, noise=0.2, random_state=rng
    )
    means, _ = run_to_end(find_means(X, 25, rng))
    assert distances(means, truth).max() < 0.5


def test_overlap_does_not_bias_the_means(rng):
    """Hard assignments push close means apart by far more than the standard error."""
    centres = np.zeros((2, 5))
    centres[:, 0] = [-1.0, 1.0]
    y = rng.randint(2, size=40_000)
    X = centres[y] + rng.standard_normal((40_000, 5))
    mixture = run_to_end(
        learn_mixture(Samples(X), 2, rng, n_init=1, n_explored=4000, max_passes=200)
    )
    found = np.sort(mixture.means[:, 0])
    labels = X[:, 0] > 0
    hard = X[labels, 0].mean()
    assert hard - 1 > 0.1
    assert np.abs(found - [-1, 1]).max() < 0.05
    assert mixture.noise_variance == pytest.approx(1, rel=0.05)


def test_points_are_recovered_as_they_are(rng):
    centres = rng.standard_normal((4, 3))
    X = centres[rng.randint(4, size=200)]
    mixture = run_to_end(learn_mixture(Samples(X), 4, rng, n_init=3, n_explored=200))
    _, square = nearest_mean(X, mixture.means)
    assert square.max() < 1e-24
    assert mixture.counts.sum() == pytest.approx(200)


def test_one_hot_and_nearest(rng):
    means = rng.standard_normal((5, 4))
    labels, square = nearest_mean(means + 1e-9, means)
    np.testing.assert_array_equal(labels, np.arange(5))
    assert square.max() < 1e-16
    np.testing.assert_array_equal(one_hot(labels, 5).toarray(), np.eye(5))


@pytest.mark.parametrize(("n", "d"), [(60, 5), (20, 40)])
def test_tracy_widom_level(rng, n, d):
    small = 0
    for _ in range(300):
        Y = rng.standard_normal((n, d))
        small += tracy_widom_tail(np.linalg.norm(Y, 2) ** 2, n, d) < 0.05
    # Binomial(300, .07) exceeds 42 with probability 2e-5.
    assert small <= 42
    assert tracy_widom_tail(3.0 * np.linalg.norm(Y, 2) ** 2, n, d) < 1e-6
