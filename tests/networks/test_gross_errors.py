"""Sparse gross errors, and noise of any distribution: masks, claims, and what is refused."""

import warnings

import numpy as np
import pytest

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import match_components, recovery_error
from sklearn_nnrecover.networks.evidence.identification import identify
from sklearn_nnrecover.networks.gross_errors.masked_verdict import (
    DEPENDENCE_LEVEL,
    error_dependence,
)
from sklearn_nnrecover.networks.gross_errors.robust_regression import (
    HUBER,
    huber_fit,
    weighted_median,
    winsorized,
)
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.search.least_squares_search import search_least_squares


def with_errors(rng, y, share, size):
    wrong = rng.random_sample(y.shape) < share
    return wrong, y + wrong * size * np.std(y) * rng.standard_normal(y.shape)


def quiet(estimator, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return estimator.fit(*args, **kwargs)


@pytest.mark.parametrize("size", [3.0, 300.0])
@pytest.mark.parametrize("bias", [False, True])
def test_many_outputs(well_seen_network, rng, seed, size, bias):
    """Errors are found, whatever their size; in rare instances they are not, which is said."""
    exact = 0
    for draw in range(4):
        X, y, truth = well_seen_network(500 + draw, 5, n_hidden=3, n_outputs=40, bias=bias)
        wrong, given = with_errors(rng, y, 0.15, size)
        net = ReLUNetRecovery(3, noise="sparse", fit_intercept=bias, n_init=1, random_state=seed)
        quiet(net, X, given)
        if net.report_.status == "exact":
            exact += 1
            assert net.n_hidden_ == 3 and recovery_error(net, truth) < 1e-8
            np.testing.assert_array_equal(net.outlier_mask_, wrong)
            assert not np.any(net.coefs_std_[0])
    assert exact >= 2


def test_mask_follows_the_rows_of_the_user(well_seen_network, rng, seed):
    """Copies of a row have one mask; rows of weight zero are not judged."""
    X, y, _ = well_seen_network(300, 4, n_hidden=2, n_outputs=20)
    _, given = with_errors(rng, y, 0.1, 30.0)
    pick = np.concatenate([rng.permutation(300), rng.randint(0, 300, 50)])
    weight = (np.arange(300) > 20).astype(float)[pick]
    net = ReLUNetRecovery(2, noise="sparse", n_init=1, random_state=seed)
    quiet(net, X[pick], given[pick], sample_weight=weight)
    assert net.outlier_mask_.shape == (350, 20) and not net.outlier_mask_[weight == 0].any()
    first = np.argsort(pick[:300])[pick]
    np.testing.assert_array_equal(net.outlier_mask_, net.outlier_mask_[first])
    quiet(net.set_params(noise="auto"), X, y)
    assert not hasattr(net, "outlier_mask_")


def test_one_output(well_seen_network, rng, seed):
    """No low rank to go by: claimed exact only where it is."""
    for _ in range(3):
        X, y, truth = well_seen_network(600, 4, n_hidden=2, n_outputs=1)
        wrong, given = with_errors(rng, y, 0.1, 30.0)
        net = quiet(ReLUNetRecovery(2, noise="sparse", random_state=seed), X, given)
        if net.report_.status == "exact":
            assert recovery_error(net, truth) < 1e-8
            np.testing.assert_array_equal(net.outlier_mask_[:, 0], wrong)
        assert net.outlier_mask_.shape == (600, 1) and net.predict(X).shape == (600,)


def test_too_many_errors_are_not_claimed(well_seen_network, rng, seed):
    X, y, _ = well_seen_network(300, 4, n_hidden=2, n_outputs=8)
    _, given = with_errors(rng, y, 0.8, 30.0)
    with pytest.warns(RecoveryWarning):
        net = ReLUNetRecovery(2, noise="sparse", n_init=1, random_state=seed).fit(X, given)
    assert net.report_.status == "not_recovered"
    assert np.isfinite(net.predict(X)).all()


def test_a_missing_unit_is_not_hidden_by_the_mask(well_seen_network, rng, seed):
    """A network that lacks a unit fits where that unit is inactive: errors depend on the inputs."""
    X, y, truth = well_seen_network(500, 4, n_hidden=3, n_outputs=3)
    net = quiet(ReLUNetRecovery(2, noise="sparse", n_init=1, random_state=seed), X, y)
    assert net.report_.status == "not_recovered"
    active = X @ truth.coefs_[0][:, :1] + truth.intercepts_[0][0] > 0
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    V = rng.standard_normal((5, 2))
    assert error_dependence(np.repeat(active, 3, axis=1), samples, V) < DEPENDENCE_LEVEL
    random = rng.random_sample(y.shape) < 0.3
    assert error_dependence(random, samples, V) >= DEPENDENCE_LEVEL


def test_noise_beside_errors_is_not_called_exact(well_seen_network, rng, seed):
    X, y, _ = well_seen_network(300, 4, n_hidden=2, n_outputs=12, noise=0.05)
    _, given = with_errors(rng, y, 0.1, 30.0)
    net = quiet(ReLUNetRecovery(2, noise="sparse", n_init=1, random_state=seed), X, given)
    assert net.report_.status == "not_recovered"


def test_masked_identification_agrees_with_the_whole_one(well_seen_network, rng, seed):
    X, y, _ = well_seen_network(200, 4, n_hidden=2, n_outputs=3)
    net = ReLUNetRecovery(2, random_state=seed).fit(X, y)
    samples, design = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    V = np.linalg.lstsq(samples.Z, X @ net.coefs_[0] + net.intercepts_[0], rcond=None)[0]
    A, c = net.coefs_[1] / design.output_scale, net.intercepts_[1] / design.output_scale
    network = type(run_to_end(search_least_squares(samples, 2, rng=rng)).network)(V, A, c)
    whole = identify(network, samples)
    masked = identify(network, samples, observed=np.ones(y.shape, dtype=bool))
    assert (masked.rank, masked.n_parameters) == (whole.rank, whole.n_parameters)
    assert all(unit.pinned for unit in masked.units)
    # Each equation counts once, minus one for each parameter.
    total = sum(unit.redundancy for unit in masked.units[:1])
    assert total <= y.size - masked.n_parameters + 1e-6
    observed = np.ones(y.shape, dtype=bool)
    observed[3:, 2] = False  # The last output keeps too few entries for its weights.
    observed[:2, 2] = False
    assert identify(network, samples, observed=observed).rank < whole.rank


@pytest.mark.parametrize("kind", ["cauchy", "skew"])
def test_noise_of_any_distribution(well_seen_network, rng, seed, kind):
    X, y, truth = well_seen_network(3000, 4, n_hidden=2, n_outputs=3)
    noise = rng.standard_cauchy(y.shape)
    if kind == "skew":
        noise = rng.standard_exponential(y.shape) ** 3 + 5.0
    given = y + 0.1 * np.std(y) * noise
    net = quiet(ReLUNetRecovery(2, noise="arbitrary", random_state=seed), X, given)
    assert net.report_.status in ("approximate", "partial") and net.report_.proof is None
    assert "location of the noise" in net.report_.reason
    match = match_components(net.components_, truth.coefs_[0].T)
    found = net.components_[match.permutation]
    plain = quiet(ReLUNetRecovery(2, noise="gaussian", random_state=seed), X, given)
    order = match_components(plain.components_, truth.coefs_[0].T).permutation
    error = np.abs(found - truth.coefs_[0].T).max()
    assert error < 0.1
    if kind == "cauchy":
        assert error < np.abs(plain.components_[order] - truth.coefs_[0].T).max()


def test_no_proof_under_arbitrary_noise_even_without_noise(well_seen_network, seed):
    X, y, _ = well_seen_network(400, 4, n_hidden=2, n_outputs=3)
    net = quiet(ReLUNetRecovery(2, noise="arbitrary", random_state=seed), X, y)
    assert net.report_.status != "exact" and net.report_.proof is None


@pytest.mark.parametrize("noise", ["sparse", "arbitrary"])
@pytest.mark.parametrize("targets", ["constant", "linear", "noise"])
def test_ordinary_data_are_survived(rng, noise, targets):
    X = rng.standard_normal((40, 3))
    y = {"constant": np.ones(40), "linear": X[:, :2], "noise": rng.standard_normal((40, 2))}
    net = ReLUNetRecovery(noise=noise, n_init=1, random_state=0)
    quiet(net, X, y[targets])
    assert net.report_.status != "exact"
    assert np.isfinite(net.predict(X)).all() and np.isfinite(net.loss_)
    quiet(net, np.ones((40, 3)), y[targets])
    assert np.isfinite(net.predict(X)).all()


def test_huber_fit_is_stationary(well_seen_network, rng):
    X, y, _ = well_seen_network(500, 4, n_hidden=2, n_outputs=2)
    y = y + rng.standard_t(2, y.shape)
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    search = run_to_end(search_least_squares(winsorized(samples), 2, rng=rng))
    fit = run_to_end(huber_fit(samples, search.network))
    u = (samples.Y - fit.network.predict(samples.Z)) / fit.scale
    psi = np.clip(u, -HUBER, HUBER) * fit.scale / np.mean(np.abs(u) < HUBER, axis=0)
    H = np.column_stack([fit.network.hidden(samples.Z), np.ones(len(X))])
    size = np.linalg.norm(H, axis=0)[:, None] * np.linalg.norm(psi, axis=0)
    assert np.abs(H.T @ psi / size).max() < 1e-3


def test_weighted_median_counts_frequencies(rng):
    values, weight = rng.standard_normal((31, 3)), rng.randint(1, 4, 31).astype(float)
    weight[0] += 1 - weight.sum() % 2  # An odd total has one median.
    repeated = np.repeat(values, weight.astype(int), axis=0)
    np.testing.assert_array_equal(weighted_median(values, weight), np.median(repeated, axis=0))


def test_winsorized_outputs_keep_constant_columns(rng):
    Y = np.column_stack([np.ones(9), np.eye(9)[0]])
    samples = Samples(rng.standard_normal((9, 2)), Y, np.ones(9), False)
    assert np.isfinite(winsorized(samples).Y).all() and winsorized(samples).Y[0, 1] > 0


def test_masks_of_opposite_cells_depend_on_the_inputs(rng):
    """Rows on which one of two units is active, not both: an even function of the inputs."""
    Z = np.column_stack([rng.standard_normal((600, 4)), np.ones(600)])
    samples = Samples(Z, np.zeros((600, 1)), np.ones(600), True)
    V = rng.standard_normal((5, 2))
    V[:, 1] -= V[:, 0] * (V[:, 0] @ V[:, 1]) / (V[:, 0] @ V[:, 0])
    V[-1] = 0.0
    active = Z @ V > 0
    covered = active[:, [0]] != active[:, [1]]
    assert error_dependence(covered, samples, V[:, :1]) < 1e-10
    assert error_dependence(rng.rand(600, 1) < 0.3, samples, V[:, :1]) > 1e-6
