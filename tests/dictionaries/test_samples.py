"""Samples are read the same from arrays, sparse matrices and subsets."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.dictionaries.samples import (
    Samples,
    feature_mean,
    largest_entry,
    refuse_extremes,
)


def test_sources_agree(rng):
    X = rng.standard_normal((30, 5)) * (rng.rand(30, 5) < 0.5)
    mean = feature_mean(X)
    np.testing.assert_allclose(feature_mean(sp.csr_array(X)), mean)
    rows = np.array([4, 9, 2, 20])
    for source in (X, np.asfortranarray(X), sp.csr_array(X), X.astype(np.float32)):
        for centre in (None, mean):
            samples = Samples(source, centre)
            expected = X if centre is None else X - mean
            np.testing.assert_allclose(samples.read(slice(3, 9)), expected[3:9], atol=1e-6)
            subset = samples.subset(rows)
            assert subset.shape == (4, 5)
            np.testing.assert_allclose(subset.read(slice(1, 3)), expected[rows[1:3]], atol=1e-6)
            nested = subset.subset(np.array([3, 0]))
            np.testing.assert_allclose(nested.read(slice(0, 2)), expected[[20, 4]], atol=1e-6)
            assert samples.read(slice(0, 2), np.float32).dtype == np.float32


def test_reading_never_aliases(rng):
    X = rng.standard_normal((6, 3))
    before = X.copy()
    block = Samples(X, np.zeros(3)).read(slice(0, 6))
    block += 1
    np.testing.assert_array_equal(X, before)


def test_slices_cover_all_rows():
    slices = Samples(np.empty((1000, 3))).slices(2**20)
    np.testing.assert_array_equal(
        np.concatenate([np.arange(1000)[part] for part in slices]), np.arange(1000)
    )
    assert max(part.stop - part.start for part in slices) <= 32


def test_repeated_rows_are_left_out(rng):
    X = rng.randint(-2, 3, (500, 3)).astype(float)
    X[X == 0] *= rng.choice([-1.0, 1.0], np.sum(X == 0))  # zeros of either sign are equal
    distinct = Samples(X).distinct()
    expected = np.unique(X, axis=0)
    assert len(distinct) == len(expected)
    np.testing.assert_array_equal(np.unique(distinct.read(slice(None)), axis=0), expected)
    assert len(Samples(sp.csr_array(X)).distinct()) == len(expected)
    assert len(Samples(X).distinct().distinct()) == len(expected)


def test_distinct_rows_all_stay(rng):
    samples = Samples(rng.standard_normal((400, 5)))
    assert samples.distinct() is samples
    same = Samples(np.ones((40, 5)))
    assert same.distinct() is same


@pytest.mark.parametrize("size", [1e-160, 5e-324, 1e71, 1e300])
def test_units_in_which_nothing_can_be_learned(size):
    X = np.array([[0.0, -1.0], [0.5, 0.0]]) * size
    for form in (X, sp.csr_array(X)):
        with pytest.raises(ValueError, match="rescale"):
            refuse_extremes(form)


@pytest.mark.parametrize("size", [0.0, 1e-150, 1.0, 1e69])
def test_other_units(size):
    X = np.array([[0.0, -1.0], [0.5, 0.0]]) * size
    refuse_extremes(X)
    assert largest_entry(sp.csr_array(X)) == largest_entry(X) == size
