"""Constants of the encoders come from residuals."""

from dataclasses import replace

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.calibration import LearningOptions, calibrate
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.samples import Samples


@pytest.fixture
def problem(rng):
    return make_sparse_codes(3000, 40, n_components=50, n_nonzero=4, noise=0.05, random_state=rng)


def constants(problem, rng, width, encoder="omp", **given):
    X, truth = problem
    settings = {"grow": True, "given_threshold": False, **given}
    options = LearningOptions(50, CodeRule(encoder, 10), **settings)
    rule = replace(options.rule, n_nonzero=width)
    return calibrate(Samples(X), truth.components_, rule, options, rng)


def test_noise_and_threshold(problem, rng):
    rule, variance = constants(problem, rng, 4)
    assert rule.n_nonzero == 4
    assert np.sqrt(variance) == pytest.approx(0.05, rel=0.03)
    # The threshold is what noise reaches in 5 % of the samples: below the codes, above its scale.
    assert 2 * 0.05 < rule.threshold < 0.5
    X, truth = problem
    sizes = np.diff(encode(X, truth.components_, rule).indptr)
    assert np.mean(sizes == 4) > 0.9


def test_supports_that_are_too_small_grow(problem, rng):
    assert constants(problem, rng, 2)[0].n_nonzero >= 4
    assert constants(problem, rng, 2, grow=False)[0].n_nonzero == 2


@pytest.mark.parametrize("encoder", ["threshold", "relu", "jumprelu"])
def test_thresholds_balance_usage(problem, rng, encoder):
    rule, _ = constants(problem, rng, 4, encoder)
    X, truth = problem
    usage = np.mean(np.abs(X @ truth.components_.T) > rule.threshold)
    assert usage == pytest.approx(4 / 50, rel=0.1)
    assert np.ndim(rule.threshold) == (1 if encoder == "jumprelu" else 0)


def test_a_given_threshold_stays(problem, rng):
    rule, _ = constants(problem, rng, 4, "threshold", given_threshold=True)
    assert rule.threshold == 0
