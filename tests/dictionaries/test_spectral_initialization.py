"""The spectral start finds atoms where its theory holds: two atoms a sample, many samples."""

import numpy as np

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.spectral_initialization import spectral_atoms
from sklearn_nnrecover.metrics import match_components


def test_most_atoms_at_two_a_sample(rng):
    X, truth = make_sparse_codes(4000, 24, n_components=16, n_nonzero=2, random_state=rng)
    D = spectral_atoms(X, 16, rng)
    assert D.shape == (16, 24)
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1)
    assert np.mean(np.abs(match_components(D, truth.components_).cosine) > 0.8) > 0.5


def test_always_returns_enough_atoms(rng):
    D = spectral_atoms(rng.standard_normal((50, 6)), 9, rng)
    assert D.shape == (9, 6)
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1)
