"""Input mixins: dtypes, weights as repetition, canonical rows, kind errors."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from sklearn_nnrecover.base.inputs import FloatInputMixin, WeightedSamplesMixin


class Plain(FloatInputMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.seen_ = self._validate_samples(X, y, reset=True)
        return self


class Weighted(WeightedSamplesMixin, BaseEstimator):
    def fit(self, X, y, sample_weight=None):
        self.rows_ = self._canonical_samples(X, y, sample_weight)
        return self


@pytest.mark.parametrize(
    ("given", "kept"), [("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("u1", "f8"), ("f2", "f8")]
)
def test_float32_stays_and_other_dtypes_become_float64(rng, given, kept):
    X = rng.randint(0, 9, (5, 3)).astype(given)
    estimator = Plain().fit(X)
    assert estimator.seen_.dtype == estimator.dtype_ == np.dtype(kept)


def test_targets_follow_the_inputs_dtype(rng):
    X, y = Plain().fit(rng.randn(6, 2).astype("f4"), rng.randint(0, 3, 6)).seen_
    assert X.dtype == y.dtype == np.float32


def test_read_only_and_fortran_inputs_are_not_touched(rng):
    X, y = np.asfortranarray(rng.randn(20, 3)), rng.randn(20)
    copies = X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    Weighted().fit(X, y)
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(y, copies[1])


def test_weights_equal_repetition_and_order_does_not_matter(rng):
    X, y = rng.randn(15, 3), rng.randn(15, 2)
    weight = rng.randint(0, 4, 15)
    weight[0] = 1
    repeated = rng.permutation(np.repeat(np.arange(15), weight))
    one = Weighted().fit(X, y, sample_weight=weight).rows_
    other = Weighted().fit(X[repeated], y[repeated]).rows_
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (np.where(X[0, 0] == X, np.nan, X), y, None), "NaN"),
        (lambda X, y: (X, np.where(y == y[0], np.inf, y), None), "infinity"),
        (lambda X, y: (X[:1], y[:1], None), "n_samples=1|1 sample"),
        (lambda X, y: (X, y[:-1], None), "inconsistent"),
        (lambda X, y: (X[:, 0], y, None), "2D array"),
        (lambda X, y: (X, y, np.zeros(len(y))), "[Ss]ample.weight"),
        (lambda X, y: (X, y, -np.ones(len(y))), "[Nn]egative"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(rng, change, message):
    X, y, weight = change(rng.randn(12, 3), rng.randn(12))
    with pytest.raises(ValueError, match=message):
        Weighted().fit(X, y, sample_weight=weight)
