"""Symmetric inputs pass whatever their tails; shifts, skewness and biases do not."""

import numpy as np
import pytest

from sklearn_nnrecover.networks import SymmetricMoments
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.moments.fourth_order_moments import SampleMoments
from sklearn_nnrecover.networks.moments.input_symmetry import (
    symmetry_of_moments,
    symmetry_of_outputs,
    symmetry_of_samples,
)
from sklearn_nnrecover.networks.moments.pure_neuron_moments import linear_part


def three_tests(X, y):
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=False)
    B = linear_part(SampleMoments(samples).low)
    return (
        symmetry_of_samples(samples),
        symmetry_of_moments(SymmetricMoments().update(X, y)),
        symmetry_of_outputs(samples, B),
    )


@pytest.mark.parametrize("n", [30, 3000])
@pytest.mark.parametrize("kind", ["normal", "heavy", "signs", "mixture"])
def test_symmetric_inputs_pass(rng, n, kind):
    X = rng.standard_normal((n, 5))
    if kind == "heavy":
        X = rng.standard_t(2, size=(n, 5))
    elif kind == "signs":
        X = rng.choice([-1.0, 1.0], size=(n, 5))
    elif kind == "mixture":
        X += 3 * rng.choice([-1, 1], size=(n, 1))
    y = np.maximum(X @ rng.standard_normal((5, 3)), 0) @ rng.standard_normal((3, 3))
    assert [test.passed for test in three_tests(X, y)] == [True] * 3


def test_asymmetric_inputs_do_not(rng):
    y = rng.standard_normal((3000, 2))
    for X in (rng.standard_normal((3000, 5)) + 0.5, rng.exponential(size=(3000, 5)) - 1):
        inputs, sums, _ = three_tests(X, y)
        assert not inputs.passed
        assert not sums.passed


def test_hidden_biases_leave_odd_residuals(rng):
    X = rng.standard_normal((30000, 5))
    W = np.linalg.qr(rng.standard_normal((5, 4)))[0]
    inputs, _, outputs = three_tests(X, np.maximum(X @ W + 0.8, 0))
    assert inputs.passed
    assert not outputs.passed
