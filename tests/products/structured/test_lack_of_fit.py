"""The levels and the power of the tests for noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sklearn_nnrecover.products.structured import lack_of_fit
from sklearn_nnrecover.products.structured.lack_of_fit import (
    combined_p_value,
    signal_p_value,
    simulated_signal_p_value,
    singular_value_p_value,
)


@pytest.mark.parametrize("shape", [(20, 30), (60, 15)])
def test_singular_value_test_has_its_level(rng, shape):
    values = [singular_value_p_value(rng.standard_normal(shape), 1.0) for _ in range(200)]
    # 200 p-values, nearly uniform: at most 30 of them below .05 but with probability 1e-6.
    assert np.sum(np.array(values) < 0.05) < 30
    assert np.mean(values) == pytest.approx(0.5, abs=0.15)


def test_singular_value_test_sees_one_weak_node(rng):
    noise = rng.standard_normal((40, 60))
    left, right = rng.standard_normal(40), rng.standard_normal(60)
    node = 20 * np.outer(left, right) / np.linalg.norm(left) / np.linalg.norm(right)
    assert singular_value_p_value(noise + node, 1.0) < 1e-4
    assert singular_value_p_value(noise, 1.0) > 1e-5


def test_singular_value_test_is_the_same_by_either_algorithm(rng, monkeypatch):
    difference = rng.standard_normal((70, 90))
    direct = singular_value_p_value(difference, 1.0)
    monkeypatch.setattr(lack_of_fit, "LARGEST_DECOMPOSED", 10)
    assert singular_value_p_value(difference, 1.0) == pytest.approx(direct, rel=1e-2, abs=1e-3)


def test_singular_value_test_needs_a_few_rows(rng):
    assert singular_value_p_value(rng.standard_normal((4, 100)), 1.0) is None


def test_signal_of_pure_noise_is_none(rng):
    assert signal_p_value(0.99, [3, 3], 9, 200) > 0.001
    assert signal_p_value(0.1, [3, 3], 9, 200) < 1e-6
    assert signal_p_value(0.1, [3, 3], 9, 12) is None


def test_simulated_signal_compares_with_the_fits_to_noise(rng):
    fits = list(np.exp(-0.1 + 0.02 * rng.standard_normal(6)))
    assert simulated_signal_p_value(0.3, fits) < 0.001
    assert simulated_signal_p_value(float(np.exp(-0.1)), fits) > 0.05


def test_bonferroni_over_the_tests_that_were_made():
    assert combined_p_value(None, None) is None
    assert combined_p_value(0.01, None, 0.4) == pytest.approx(0.02)
    assert combined_p_value(0.9, 0.8) == 1.0
    assert combined_p_value(stats.norm.sf(0.0)) == pytest.approx(0.5)
