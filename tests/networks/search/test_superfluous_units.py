"""Units to spare are removed again, and what is left has to be met more than once."""

import numpy as np
import pytest

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import fit_output_layer, relative_residual
from sklearn_nnrecover.networks.search.least_squares_search import same_units
from sklearn_nnrecover.networks.search.superfluous_units import (
    search_with_spare_units,
    without_superfluous_units,
)

K = 3


@pytest.fixture
def planted(well_seen_network):
    """Samples and the true units in design coordinates."""
    X, y, truth = well_seen_network(300, 4, n_hidden=K, n_outputs=2)
    samples, _ = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    target = X @ truth.coefs_[0] + truth.intercepts_[0]
    V = np.linalg.lstsq(samples.Z, target, rcond=None)[0]
    return samples, V / np.linalg.norm(V, axis=0)


@pytest.mark.parametrize("spare", ["copy", "random"])
def test_a_spare_unit_is_removed(rng, planted, spare):
    samples, V = planted
    extra = V[:, :1] if spare == "copy" else rng.standard_normal((len(V), 1))
    wide = fit_output_layer(np.hstack([V, extra]), samples)
    fit = run_to_end(without_superfluous_units(samples, wide))
    assert fit.network.n_hidden == K
    assert same_units(fit.network.V, V)


def test_mirror_images_and_the_linear_part_they_stand_for_are_removed(planted):
    samples, V = planted
    # relu(t) = t + relu(-t), and t = relu(t) - relu(-t) of another unit's.
    wide = fit_output_layer(np.column_stack([V, -V[:, 0], -V[:, 1]]), samples)
    fit = run_to_end(without_superfluous_units(samples, wide))
    assert same_units(fit.network.V, V)


def test_needed_units_and_noisy_fits_are_left_alone(rng, planted):
    samples, V = planted
    network = fit_output_layer(V, samples)
    fit = run_to_end(without_superfluous_units(samples, network))
    assert same_units(fit.network.V, V)
    noisy = samples._replace(Y=samples.Y + 0.1 * rng.standard_normal(samples.Y.shape))
    wide = fit_output_layer(np.column_stack([V, V[:, 0]]), noisy)
    fit = run_to_end(without_superfluous_units(noisy, wide))
    assert fit.network.n_hidden == K + 1


def test_independent_searches_confirm(rng, planted):
    samples, V = planted
    known = run_to_end(without_superfluous_units(samples, fit_output_layer(V, samples)))
    search = run_to_end(search_with_spare_units(samples, K + 1, known, rng=rng, n_init=16))
    assert search.n_agreeing == 3 and search.rivals == []
    assert same_units(search.network.V, V)
    assert relative_residual(search.loss, samples) < 1e-12


def test_what_was_never_met_again_stands_alone(rng, planted):
    samples, V = planted
    known = run_to_end(without_superfluous_units(samples, fit_output_layer(V, samples)))
    search = run_to_end(search_with_spare_units(samples, K + 1, known, rng=rng, n_init=1))
    assert search.n_agreeing == 1 and search.n_starts == 1
