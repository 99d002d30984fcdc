"""What of the data is noise, and their common unit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.products.prepared_data import (
    background_noise,
    noise_of_reals,
    prepare_data,
)

EPS = float(np.finfo(float).eps)


@pytest.mark.parametrize("convert", [np.asarray, sp.csr_array])
def test_integer_data_are_divided_by_their_unit(convert, rng):
    integers = rng.randint(-4, 5, size=(30, 20)).astype(float)
    integers[0, 0] = 1.0
    data = prepare_data(convert(0.37 * integers), EPS)
    matrix = data.matrix.toarray() if sp.issparse(data.matrix) else data.matrix
    np.testing.assert_array_equal(matrix, integers)
    assert data.is_integer
    assert data.unit == pytest.approx(0.37)
    assert data.noise_std == 0


def test_the_integers_of_deep_products_are_large(seed):
    widths = [120, 100, 90, 80, 70, 60, 50]
    X, _ = make_sparse_product(120, 80, n_hidden=widths, n_nonzero=4, random_state=seed)
    data = prepare_data(X, EPS)
    assert data.is_integer
    np.testing.assert_array_equal(data.matrix, np.rint(data.matrix))
    np.testing.assert_allclose(data.unit * data.matrix, X, atol=1e-12 * np.abs(X).max())


def test_real_data_are_left_alone(rng):
    X = rng.standard_normal((30, 20))
    data = prepare_data(X, EPS)
    assert data.matrix is X
    assert not data.is_integer


def test_noise_around_zero_is_measured(rng):
    X = 0.05 * rng.standard_normal((200, 100))
    signal = rng.uniform(size=X.shape) < 0.1
    X[signal] += rng.choice([-1, 1], signal.sum()) * rng.uniform(1, 3, signal.sum())
    assert background_noise(X) == pytest.approx(0.05, rel=0.05)
    noise = noise_of_reals(X, EPS)
    assert noise.level == pytest.approx(0.05, rel=0.05)
    assert not noise.is_rounding


def test_low_rank_data_have_no_noise(rng):
    """A deep real product is mostly small entries with a few large ones, as a noisy one is."""
    layers = [
        rng.standard_normal(shape) * (rng.uniform(size=shape) < 0.1)
        for shape in ((300, 100), (100, 60), (60, 100), (100, 120))
    ]
    X = np.linalg.multi_dot(layers)
    X += 1e-3 * rng.standard_normal((300, 40)) @ rng.standard_normal((40, 120))
    assert background_noise(X) is not None
    assert noise_of_reals(X, EPS) is None
    noisy = X + 1e-4 * rng.standard_normal(X.shape)
    assert noise_of_reals(noisy, EPS) is not None


def test_repeated_samples_do_not_hide_noise(rng):
    X = 0.05 * rng.standard_normal((60, 100))
    signal = rng.uniform(size=X.shape) < 0.1
    X[signal] += rng.choice([-1, 1], signal.sum()) * rng.uniform(1, 3, signal.sum())
    repeated = X[rng.randint(60, size=150)]
    assert noise_of_reals(repeated, EPS) is not None


def test_single_precision_is_rounding_and_double_is_not(rng):
    X = rng.uniform(1, 2, size=(50, 40)) * (rng.uniform(size=(50, 40)) < 0.2)
    assert noise_of_reals(X, EPS) is None
    noise = noise_of_reals(X, float(np.finfo(np.float32).eps))
    assert noise.is_rounding
    assert 0 < noise.level < 1e-6
