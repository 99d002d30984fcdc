"""Metrics: invariant under what the data cannot fix, sensitive to everything else."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.base import RecoveryReport
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.metrics import (
    match_components,
    mean_correlation,
    recovery_error,
    recovery_scorer,
    support_f1,
)


def test_match_undoes_permutation_sign_and_scale(rng):
    true = rng.randn(6, 10)
    order, scale = rng.permutation(6), rng.choice([-1, 1], 6) * rng.uniform(0.1, 10, 6)
    estimated = (true * scale[:, None])[order]
    match = match_components(estimated, true)
    np.testing.assert_array_equal(order[match.permutation], match.matched)
    np.testing.assert_allclose(match.scale[:, None] * estimated[match.permutation], true)
    assert mean_correlation(estimated, true) == pytest.approx(1)


def test_unsigned_matching_does_not_flip(rng):
    true = np.linalg.qr(rng.randn(8, 4))[0].T
    assert mean_correlation(-true, true, signed=False) < 1e-9
    assert mean_correlation(-true, true) == pytest.approx(1)


def test_missing_and_zero_components_count_zero(rng):
    true = np.eye(4)
    assert mean_correlation(true[:3], true) == pytest.approx(0.75)
    assert mean_correlation(np.vstack([true[:2], np.zeros((2, 4))]), true) == pytest.approx(0.5)


def test_match_takes_sparse_and_refuses_other_widths(rng):
    true = sparse.random_array((5, 30), density=0.3, rng=np.random.default_rng(rng.randint(2**31)))
    true = sparse.csr_array(true + sparse.eye_array(5, 30))
    assert mean_correlation(true[[4, 2, 0, 1, 3]], true) == pytest.approx(1)
    with pytest.raises(ValueError, match="29 features"):
        match_components(true[:, :29], true)
    with pytest.raises(ValueError, match="2-d"):
        match_components(np.ones(3), np.eye(3))


def test_support_f1_matches_columns(rng):
    codes = rng.randn(50, 8) * (rng.rand(50, 8) < 0.3)
    assert support_f1(-3 * codes[:, rng.permutation(8)], codes) == 1
    assert support_f1(sparse.csr_array(codes[:, :4]), codes) == pytest.approx(
        2
        * np.count_nonzero(codes[:, :4])
        / (np.count_nonzero(codes[:, :4]) + np.count_nonzero(codes))
    )
    assert support_f1(np.zeros((3, 2)), np.zeros((3, 2))) == 1
    with pytest.raises(ValueError, match="samples"):
        support_f1(codes[:10], codes)


def test_recovery_error_ignores_order_and_scale_only(rng, seed):
    truth = make_relu_network(10, 5, n_hidden=4, n_outputs=2, random_state=seed)[2]
    (W, A), (b, c) = truth.coefs_, truth.intercepts_
    order, scale = rng.permutation(4), rng.uniform(0.1, 10, 4)
    same = ([(W * scale)[:, order], (A / scale[:, None])[order]], [(b * scale)[order], c])
    assert recovery_error(same, truth) < 1e-13
    W = W.copy()
    W[2, 1] += 1e-3
    assert 1e-4 < recovery_error(([W, A], [b, c]), truth) < 1e-2
    assert recovery_error(([W[:, :3], A[:3]], [b[:3], c]), truth) == np.inf


def test_recovery_error_refuses_what_is_no_network():
    with pytest.raises(ValueError, match="coefs_"):
        recovery_error(np.eye(3), np.eye(3))


def test_scorer_ranks_failures_last():
    def fit(status, length):
        return SimpleNamespace(
            report_=RecoveryReport(status, "x"), description_length=lambda X, y: length
        )

    good, poor, failed = fit("approximate", -3.0), fit("partial", 900.0), fit("not_recovered", -9.0)
    scores = [recovery_scorer(estimator, None) for estimator in (good, poor, failed)]
    assert scores[0] > scores[1] > scores[2]
    assert np.isfinite(np.mean(scores))
