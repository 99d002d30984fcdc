"""Sparse codes and spherical mixtures are what they say."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes, make_spherical_mixture


@pytest.mark.parametrize("nonnegative", [False, True])
def test_sparse_codes_are_their_truth(rng, nonnegative):
    X, truth = make_sparse_codes(
        300, 10, n_components=14, n_nonzero=4, nonnegative=nonnegative, random_state=rng
    )
    codes = truth.codes.toarray()
    np.testing.assert_allclose(X, codes @ truth.components_)
    np.testing.assert_allclose(np.linalg.norm(truth.components_, axis=1), 1)
    assert np.all(np.count_nonzero(codes, axis=1) == 4)
    sizes = np.abs(codes[codes != 0])
    assert sizes.min() >= 0.5
    assert sizes.max() <= 1.5
    assert (codes.min() >= 0) == nonnegative


def test_noise_level(rng):
    X, truth = make_sparse_codes(2000, 10, noise=0.3, random_state=rng)
    assert (X - truth.codes @ truth.components_).std() == pytest.approx(0.3, rel=0.05)


def test_mixture_is_its_truth(rng):
    X, y, truth = make_spherical_mixture(
        6000, 4, n_components=3, norm=2.0, noise=0.1, weights=[1, 1, 2], random_state=rng
    )
    np.testing.assert_allclose(np.linalg.norm(truth.components_, axis=1), 2)
    assert (X - truth.components_[y]).std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_allclose(np.bincount(y) / 6000, [0.25, 0.25, 0.5], atol=0.04)


def test_same_seed_same_bits(seed):
    for make in (make_sparse_codes, make_spherical_mixture):
        one, other = (make(30, 4, noise=0.1, random_state=seed)[0] for _ in range(2))
        np.testing.assert_array_equal(one, other)


def test_more_active_atoms_than_atoms():
    with pytest.raises(ValueError, match="n_nonzero=5"):
        make_sparse_codes(10, 4, n_components=4, n_nonzero=5)
