"""Score tests: level under noise of any kind, power against what may be missing."""

import numpy as np
import pytest

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.evidence.score_tests import GROUPS, score_tests
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.search.variable_projection import variable_projection


def p_values(rng, kind="", n=1500, m=3, missed=0):
    X = rng.standard_normal((n, 5))
    W = np.linalg.qr(rng.standard_normal((5, 3)))[0]
    A = np.linalg.qr(rng.standard_normal((max(m, 3), 3)))[0].T[:, :m]
    T = X @ W + (0.5 if kind == "biases" else 0.0)
    y = (np.tanh(2 * T) + np.abs(T) if kind == "tanh" else np.maximum(T, 0)) @ A
    if kind == "linear part":
        y += 0.3 * X @ rng.standard_normal((5, m))
    noise = rng.standard_t(3, size=y.shape) if kind == "tails" else rng.standard_normal(y.shape)
    noise *= np.abs(X[:, :1]) if kind == "unequal" else 1.0
    samples, _ = orthonormal_design(X, y + 0.1 * noise, np.ones(n), intercept=False)
    V = np.linalg.lstsq(samples.Z, X @ W, rcond=None)[0][:, missed:]
    fit = run_to_end(variable_projection(samples, V, tol=1e-8, max_iter=60))
    return {test.name: test.p_value for test in score_tests(fit.network, samples, rng)}


@pytest.mark.parametrize("kind", ["", "tails", "unequal"])
def test_the_right_model_passes(rng, kind):
    # Bounds on the probability: a false alarm at 1e-5 is as rare as that.
    assert min(p_values(rng, kind).values()) > 1e-5


@pytest.mark.parametrize("kind", ["biases", "linear part", "tanh"])
def test_wrong_models_fail(rng, kind):
    p = p_values(rng, kind)
    assert set(p) == set(GROUPS)
    assert min(p.values()) < 1e-6
    if kind != "tanh":
        assert p[kind] < 1e-4


def test_a_missed_unit_is_seen(rng):
    assert min(p_values(rng, missed=1).values()) < 1e-6


def test_no_equations_left_is_no_test(rng):
    samples, _ = orthonormal_design(
        rng.standard_normal((12, 5)), rng.standard_normal((12, 1)), np.ones(12), intercept=False
    )
    fit = run_to_end(variable_projection(samples, rng.standard_normal((5, 3)), max_iter=5))
    assert [test.n_scores for test in score_tests(fit.network, samples, rng)] == [0, 0, 0]
