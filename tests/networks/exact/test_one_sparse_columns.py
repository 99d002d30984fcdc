"""Samples on which one unit alone is active."""

import numpy as np
import pytest

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.exact.one_sparse_columns import one_sparse_recovery
from sklearn_nnrecover.networks.model.design import orthonormal_design


def orthogonal_network(rng, n, d, k, m):
    """Orthogonal units, so that every pattern of activity has the same probability."""
    X = rng.standard_normal((n, d))
    W = np.linalg.qr(rng.standard_normal((d, k)))[0]
    A = rng.standard_normal((k, m))
    return X, W, A


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("k", "m", "n"), [(2, 2, 400), (4, 2, 2000)])
def test_fewer_outputs_than_units(rng, k, m, n, bias):
    X, W, A = orthogonal_network(rng, n, 5, k, m)
    c = rng.standard_normal(m) if bias else np.zeros(m)
    y = np.maximum(X @ W, 0) @ A + c
    net = ReLUNetRecovery(solver="one-sparse", fit_intercept=bias, random_state=0).fit(X, y)
    assert (net.report_.status, net.report_.proof) == ("exact", "local")
    assert net.n_hidden_ == k and net.solver_ == "one-sparse"
    assert recovery_error(net, ([W, A], [np.zeros(k), c])) < 1e-9


def test_peeling_needs_fewer_samples_than_all_units_at_once(rng):
    """Of the last units hardly any sample is theirs alone until the others are subtracted."""
    k = 6
    X, W, A = orthogonal_network(rng, 1500, 6, k, 3)
    H = np.maximum(X @ W, 0)
    alone = ((H > 0) & ((H > 0).sum(axis=1) == 1)[:, None]).sum(axis=0)
    samples, _ = orthonormal_design(X, H @ A, np.ones(len(X)), intercept=False)
    found = run_to_end(one_sparse_recovery(samples, n_hidden=k))
    assert found.network is not None and found.network.n_hidden == k
    assert found.n_determinations >= alone.min() // 6


def test_opposite_output_weights_are_refused(rng, seed):
    """Theorem 11 allows them; its groups then mix one active unit with two."""
    X, W, A = orthogonal_network(rng, 1500, 4, 2, 2)
    A[1] = -A[0]
    y = np.maximum(X @ W, 0) @ A
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=False)
    found = run_to_end(one_sparse_recovery(samples))
    assert found.network is None and "mix" in found.reason


@pytest.mark.parametrize(
    ("n", "m", "words"), [(500, 1, "one direction"), (12, 3, "alone on")], ids=["one output", "few"]
)
def test_what_is_missing_is_said(rng, n, m, words):
    X, W, A = orthogonal_network(rng, n, 5, 3, m)
    y = np.maximum(X @ W, 0) @ A
    samples, _ = orthonormal_design(X, y, np.ones(n), intercept=False)
    found = run_to_end(one_sparse_recovery(samples))
    assert found.network is None and words in found.reason


def test_noise_is_declined(seed):
    X, y, _ = make_relu_network(300, 4, n_hidden=2, n_outputs=2, noise=0.05, random_state=seed)
    with pytest.warns(RecoveryWarning):
        net = ReLUNetRecovery(solver="one-sparse", noise="none", random_state=seed).fit(X, y)
    assert net.report_.status == "not_recovered" and "declined" in net.report_.reason
