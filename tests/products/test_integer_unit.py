from __future__ import annotations

import numpy as np
import pytest

from sklearn_nnrecover.products.integer_unit import integer_unit, noisy_integer_unit


def test_unit_of_scaled_integers(rng):
    unit = rng.uniform(0.01, 100)
    integers = rng.randint(-9, 10, size=(40, 30)) * 3
    assert integer_unit(unit * integers) == pytest.approx(3 * unit, rel=1e-12)


@pytest.mark.parametrize("largest", [300, 20_000, 900_000])
def test_unit_of_large_integers(largest, rng):
    integers = rng.randint(-largest, largest + 1, size=3000)
    integers[:3] = largest, largest - 1, 1
    unit = rng.uniform(0.1, 10)
    assert integer_unit(unit * rng.permutation(integers)) == pytest.approx(unit, rel=1e-12)


def test_float32_integers_are_recognised_at_their_own_precision(rng):
    X = (0.37 * rng.randint(-5, 6, size=500)).astype(np.float32).astype(float)
    assert integer_unit(X, rtol=1e-6) == pytest.approx(0.37, rel=1e-6)


@pytest.mark.parametrize("n", [3, 20, 3000])
def test_continuous_data_have_no_unit(rng, n):
    assert integer_unit(rng.standard_normal(n)) is None
    assert noisy_integer_unit(rng.standard_normal(n)) is None


def test_zero_has_no_unit():
    assert integer_unit(np.zeros(5)) is None
    assert noisy_integer_unit(np.zeros(5)) is None


def test_unit_under_noise(rng):
    integers = rng.randint(-3, 4, size=(200, 50)) * (rng.rand(200, 50) < 0.2)
    X = 0.37 * (integers + 0.1 * rng.standard_normal(integers.shape))
    unit, noise = noisy_integer_unit(X)
    assert unit == pytest.approx(0.37, rel=1e-2)
    assert noise == pytest.approx(0.037, rel=0.1)
    np.testing.assert_array_equal(np.round(X / unit), integers)


def test_too_much_noise_is_refused(rng):
    integers = rng.randint(-3, 4, size=(200, 50))
    assert noisy_integer_unit(integers + 0.5 * rng.standard_normal(integers.shape)) is None
