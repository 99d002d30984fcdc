"""Exhaustive search over activation patterns."""

import warnings

import numpy as np
import pytest

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.exact.orthant_enumeration import (
    _extreme_rays,
    _faces,
    enumerate_patterns,
)
from sklearn_nnrecover.networks.model.design import orthonormal_design


def recovered(X, y, bias, **options):
    samples, design = orthonormal_design(X, y, np.ones(len(X)), intercept=bias)
    found = run_to_end(enumerate_patterns(samples, **options))
    if found.network is None:
        return found, None
    W, b, A, c = design.weights(found.network)
    return found, ([W, A], [b, c])


@pytest.mark.parametrize(("size", "bias"), [((3, 2, 2, 400), False), ((4, 3, 3, 40), True)])
def test_every_unit_of_a_seen_network(well_seen_network, size, bias):
    d, k, m, n = size
    X, y, truth = well_seen_network(n, d, n_hidden=k, n_outputs=m, bias=bias)
    found, weights = recovered(X, y, bias)
    assert found.reason == "" and found.exhaustive
    assert recovery_error(weights, truth) < 1e-9


def test_arbitrary_inputs(rng):
    # Integer inputs with repeated values; no distribution is assumed.
    X = rng.randint(-3, 4, (60, 3)).astype(float)
    W, A = np.linalg.qr(rng.standard_normal((3, 3)))[0], rng.standard_normal((3, 3))
    net = ReLUNetRecovery(solver="enumerate", fit_intercept=False, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        net.fit(X, np.maximum(X @ W, 0) @ A)
    assert net.solver_ == "enumerate"
    identified = [unit["unit"] for unit in net.report_.units if unit["identified"]]
    cosines = W.T @ net.coefs_[0][:, identified]
    np.testing.assert_allclose(cosines.max(axis=0), 1.0, atol=1e-9)


def test_patterns_are_those_of_a_brute_force(rng):
    """Rows of one entry only make the cone the first octant, whose faces are known."""
    Q = np.abs(rng.standard_normal((12, 3)))
    Q[:4, 0] = Q[3:8, 1] = Q[7:, 2] = Q[0, 2] = 0.0
    found = {support.tobytes() for support in _faces(_extreme_rays(Q, 1e-9))}
    axes = Q > 0
    expected = {
        np.any(axes[:, list(chosen)], axis=1).tobytes()
        for chosen in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2])
    }
    assert found == expected


def test_the_estimator_reports_a_global_proof(well_seen_network, seed):
    X, y, truth = well_seen_network(90, 4, n_hidden=3, n_outputs=3)
    net = ReLUNetRecovery(solver="enumerate", random_state=seed).fit(X, y)
    assert (net.report_.status, net.report_.proof) == ("exact", "global")
    assert any(condition[0] == "activation patterns" for condition in net.report_.conditions)
    assert recovery_error(net, truth) < 1e-9


def test_beyond_the_budget_the_figure_is_told(seed):
    X, y, _ = make_relu_network(400, 5, n_hidden=4, n_outputs=4, random_state=seed)
    found, _ = recovered(X, y, True)
    assert found.network is None and "1,050,739,900 choices" in found.reason
    found, _ = recovered(X[:30], y[:30], True, max_patterns=2)
    assert not found.exhaustive


def test_a_noisy_network_is_declined(seed):
    X, y, _ = make_relu_network(40, 4, n_hidden=2, n_outputs=2, noise=0.1, random_state=seed)
    with pytest.warns(RecoveryWarning):
        net = ReLUNetRecovery(solver="enumerate", noise="none", random_state=seed).fit(X, y)
    assert net.report_.status == "not_recovered" and "declined" in net.report_.reason


def test_too_few_samples_are_not_called_exact(seed):
    X, y, _ = make_relu_network(9, 5, n_hidden=4, n_outputs=4, random_state=seed)
    with pytest.warns(RecoveryWarning):
        net = ReLUNetRecovery(solver="enumerate", random_state=seed).fit(X, y)
    assert net.report_.status != "exact"
