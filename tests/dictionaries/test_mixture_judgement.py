"""Mixtures: what is not spherical noise around means is not claimed."""

import warnings

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_spherical_mixture
from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.exceptions import RecoveryWarning


def status(X, n_components, seed=0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        fitted = TiedAutoencoder(n_components, model="mixture", random_state=seed).fit(X)
    return fitted.report_.status


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_uniform_cloud_has_no_means(rng, n):
    """Its halves agree on the same partition."""
    assert status(rng.uniform(size=(3000, n)), 4) == "not_recovered"


def test_long_clusters_are_refused(rng):
    X, _, _ = make_spherical_mixture(2000, 4, n_components=4, norm=5.0, random_state=rng)
    X[:, 0] += 0.2 * rng.standard_normal(2000)
    assert status(X, 4) == "not_recovered"


def test_overlapping_components_pass(rng):
    """Labels drawn from their posterior leave Gaussian differences; the nearest mean's do not."""
    centres = np.array([[-1.0, 0], [1.0, 0]])
    X = centres[rng.randint(2, size=4000)] + 0.7 * rng.standard_normal((4000, 2))
    assert status(X, 2) == "approximate"
    fitted = TiedAutoencoder(2, model="mixture", random_state=0).fit(X)
    assert fitted.report_["lack of fit"].value > 1e-4


def test_points_beyond_the_looked_at_samples_count(rng):
    """Exact means every sample, not those that were drawn for tests."""
    centres = rng.standard_normal((3, 4))
    X = centres[rng.randint(3, size=30_000)]
    assert status(X, 3) == "exact"
    X[rng.randint(30_000)] += 0.01
    assert status(X, 3) != "exact"
