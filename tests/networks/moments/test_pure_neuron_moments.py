"""Moment estimates: errors, one pass against two, and what moments must not claim."""

import numpy as np
import pytest

from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks import SymmetricMoments
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.moments.fourth_order_moments import (
    SampleMoments,
    SummedMoments,
    whiten_moments,
)
from sklearn_nnrecover.networks.moments.pure_neuron_moments import (
    choose_width,
    estimate_network,
    estimate_with_width,
)


def orthonormal(rng, rows, columns):
    Q = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))[0]
    return Q if rows >= columns else Q.T


def draw(rng, n=4000, d=8, k=5, m=6, slope=0.0, noise=0.0, X=None):
    X = rng.standard_normal((n, d)) if X is None else X
    W, A = orthonormal(rng, d, k), orthonormal(rng, k, m)
    T = X @ W
    y = np.where(T > 0, T, slope * T) @ A + noise * rng.standard_normal((len(X), m))
    return X, y, ([W, A], [np.zeros(k), np.zeros(m)])


def estimates(X, y, k, slope=0.0, n_refits=0):
    """Errors against a truth of the estimate from samples and of the one from sums."""
    samples, design = orthonormal_design(X, y, np.ones(len(X)), intercept=False)
    source = SampleMoments(samples)
    kwargs = {"slope": slope, "rng": np.random.RandomState(0)}
    found = estimate_network(source, k, n_refits=n_refits, **kwargs)
    parts = [SymmetricMoments().update(X[i::5], y[i::5]) for i in range(5)]
    whitening = whiten_moments(sum(parts))
    summed = SummedMoments(sum(parts), whitening, design.output_scale)
    kwargs["rng"] = np.random.RandomState(0)
    other = estimate_network(summed, k, **kwargs)
    networks = []
    for estimate, transform in ((found, design.whitening.transform), (other, whitening.transform)):
        W, A = transform @ estimate.V, estimate.A * design.output_scale
        networks.append(([W, A], [np.zeros(k), np.zeros(A.shape[1])]))
    return networks, found


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.5])
def test_one_pass_is_two_passes(rng, slope):
    X, y, truth = draw(rng, slope=slope, noise=0.1)
    (two_pass, one_pass), found = estimates(X, y, 5, slope)
    assert recovery_error(one_pass, two_pass) < 1e-11
    assert recovery_error(two_pass, truth) < 0.3
    assert found.gap > 1.5


def test_one_pass_of_many_features_drops_the_same_controls(rng):
    X, y, truth = draw(rng, n=6000, d=66, k=2, m=2, slope=0.3)
    (two_pass, one_pass), _ = estimates(X, y, 2)
    assert SymmetricMoments().update(X, y).mixed("xx").size == 0
    assert recovery_error(one_pass, two_pass) < 1e-11
    assert recovery_error(estimates(X, y, 2, 0.3)[0][0], truth) < 0.2


def test_each_refit_takes_off_digits(rng):
    X, y, truth = draw(rng)
    errors = [recovery_error(estimates(X, y, 5, n_refits=n)[0][0], truth) for n in range(4)]
    assert errors[0] < 0.3
    assert errors[1] < 0.1 * errors[0]
    assert errors[3] < 1e-3 * errors[0]


def test_mirror_images_make_the_estimate_exact(rng):
    # Asymmetric; no sign of an input is missing, or two units might never be told apart.
    X = rng.exponential(size=(300, 6)) - 0.5
    X = np.vstack([X, -X])
    X, y, truth = draw(rng, d=6, k=4, m=4, X=X)
    assert recovery_error(estimates(X, y, 4)[0][0], truth) < 1e-6


def test_heavy_tails_and_mixtures(rng):
    n = 20000
    mixture = rng.standard_normal((n, 6)) + rng.choice([-1, 1], size=(n, 1))
    heavy = rng.standard_t(5, size=(n, 6))
    for X in (mixture, heavy):
        X, y, truth = draw(rng, d=6, k=4, m=4, X=X)
        assert recovery_error(estimates(X, y, 4, n_refits=3)[0][0], truth) < 0.05


def test_width(rng):
    for noise in (0.0, 0.3):
        X, y, _ = draw(rng, n=6000, noise=noise)
        samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=False)
        estimate, first = estimate_with_width(SampleMoments(samples), len(X), rng=rng)
        # Bartlett's level is 1e-3.
        assert estimate.V.shape[1] == first == 5


def test_pure_noise_has_the_least_width(rng):
    X, y = rng.standard_normal((2000, 5)), rng.standard_normal((2000, 4))
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=False)
    width, p_value = choose_width(SampleMoments(samples).low, len(X))
    assert width == 1
    assert p_value == 0 or p_value <= 1e-3


def test_more_units_than_outputs_leave_no_gap(rng):
    """Five units seen through three outputs: T has no null space of dimension 3."""
    X, y, _ = draw(rng, n=20000, k=5, m=3)
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=False)
    assert estimate_network(SampleMoments(samples), 3, rng=rng).gap < 4


def test_scales_do_not_matter(rng):
    X, y, _ = draw(rng, d=6, k=3, m=4, noise=0.1)
    scale = np.geomspace(1e-5, 1e5, 6)
    (network, one_pass), _ = estimates(X * scale, 1e4 * y, 3)
    (W_scaled, A_scaled), zeros = network
    back = ([W_scaled * scale[:, None], A_scaled / 1e4], zeros)
    assert recovery_error(back, estimates(X, y, 3)[0][0]) < 1e-7
    assert recovery_error(one_pass, network) < 1e-7
