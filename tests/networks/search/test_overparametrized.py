"""Over-parametrise, then reduce: networks of unknown width, one output included."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork
from sklearn_nnrecover.networks.search.hyperplane_grouping import (
    eliminate_backward,
    removal_costs,
    triangular_features,
)
from sklearn_nnrecover.networks.search.overparametrized import (
    max_hidden,
    reduce_recovery,
    shared_units,
    width_ladder,
)


def design_of(X, y, intercept=True):
    return orthonormal_design(X, y.reshape(len(y), -1), np.ones(len(X)), intercept=intercept)


def recover(X, y, rng, intercept=True, **options):
    """Result of the reduction, and its network in the data's coordinates."""
    samples, design = design_of(X, y, intercept)
    found = run_to_end(reduce_recovery(samples, rng=rng, **options))
    if found is None:
        return None, None
    W, b, A, c = design.weights(found.network)
    return found, ([W, A], [b, c])


@pytest.mark.parametrize(("n", "k", "m"), [(560, 5, 1), (310, 5, 2), (1500, 12, 1)])
def test_width_weights_and_signs_come_out(well_seen_network, rng, n, k, m):
    X, y, truth = well_seen_network(n, 10, n_hidden=k, n_outputs=m)
    found, network = recover(X, y, rng)
    assert found.network.n_hidden == k
    assert found.signs_identified
    assert found.n_agreeing == 3
    assert found.n_rivals == 0
    assert recovery_error(network, (truth.coefs_, truth.intercepts_)) < 1e-10


def test_without_biases(seed, rng):
    X, y, truth = make_relu_network(600, 8, n_hidden=5, n_outputs=1, bias=False, random_state=seed)
    found, network = recover(X, y, rng, intercept=False)
    assert found.network.n_hidden == 5
    assert recovery_error(network, (truth.coefs_, truth.intercepts_)) < 1e-10


def test_known_width_on_few_samples(well_seen_network, rng):
    # 3 equations a parameter: a single descent would mostly end in a local minimum.
    X, y, truth = well_seen_network(250, 8, n_hidden=8, n_outputs=1)
    _, network = recover(X, y, rng, n_hidden=8)
    assert recovery_error(network, (truth.coefs_, truth.intercepts_)) < 1e-8


def test_noisy_data_have_no_exact_network(seed, rng):
    X, y, _ = make_relu_network(300, 5, n_hidden=3, n_outputs=1, noise=0.01, random_state=seed)
    assert recover(X, y, rng, n_hidden=3, n_init=2)[0] is None


def test_an_always_on_unit_of_one_output_leaves_the_signs_open(well_seen_network, rng):
    X, y, truth = well_seen_network(900, 5, n_hidden=3, n_outputs=1)
    y = y + X @ rng.standard_normal(5)
    found, (coefs, intercepts) = recover(X, y, rng)
    assert not found.signs_identified
    assert found.n_always_on == 1
    assert found.network.n_hidden == 4
    hyperplanes = np.vstack([coefs[0][:, :3], intercepts[0][:3]])
    true = np.vstack([truth.coefs_[0], truth.intercepts_[0]])
    hyperplanes /= np.linalg.norm(hyperplanes, axis=0)
    true /= np.linalg.norm(true, axis=0)
    assert np.allclose(np.abs(true.T @ hyperplanes).max(axis=1), 1, atol=1e-10)
    assert np.all(X @ coefs[0][:, 3] + intercepts[0][3] > 0)


def test_a_unit_with_too_few_active_samples_is_not_agreed_on(well_seen_network, rng):
    X, _, truth = well_seen_network(800, 6, n_hidden=3, n_outputs=1)
    (W, A), (b, c) = truth.coefs_, truth.intercepts_
    A[:, 0] = 1.0
    found = []
    for small in range(3):
        values, bias = np.sort(X @ W[:, small]), b.copy()
        # Three active samples cannot determine six input weights and a bias.
        bias[small] = -0.5 * (values[-3] + values[-4])
        y = np.maximum(X @ W + bias, 0) @ A + c
        found += [recover(X, y, rng, n_hidden=3)[0] for _ in range(2)]
    # The search may miss so small a unit and find nothing; what it finds, starts disagree on.
    found = [result for result in found if result is not None]
    assert found
    for result in found:
        assert result.n_agreeing < 3
        assert np.count_nonzero(result.unit_agreement >= 3) <= 2


def test_duplicates_and_dead_units_are_eliminated(seed, rng):
    X, y, _ = make_relu_network(300, 4, n_hidden=3, n_outputs=2, random_state=seed)
    samples, _ = design_of(X, y)
    V = rng.standard_normal((5, 3))
    V[-1] *= 0.3  # A unit without a kink among the samples would be eliminated, rightly.
    samples = samples._replace(Y=np.maximum(samples.Z @ V, 0) @ rng.standard_normal((3, 2)))
    dead, always_on = np.r_[np.zeros(4), -1.0], np.r_[np.zeros(4), 1.0]
    many = np.column_stack([V, -V[:, 0], 2 * V[:, 1], dead, always_on])
    kept = eliminate_backward(samples, many, tol=1e-9)
    cosines = np.abs(V.T @ kept) / np.outer(np.linalg.norm(V, axis=0), np.linalg.norm(kept, axis=0))
    assert kept.shape[1] == 3
    assert np.allclose(cosines.max(axis=1), 1)


def test_removal_cost_is_the_rise_of_the_residual(seed, rng):
    X, y, _ = make_relu_network(120, 4, n_hidden=3, n_outputs=2, noise=0.0, random_state=seed)
    samples, _ = design_of(X, y)
    samples = samples._replace(weight=rng.randint(1, 4, size=len(X)).astype(float))
    V = rng.standard_normal((5, 4))
    features, outputs = triangular_features(samples, V)
    full = outputs - features @ np.linalg.lstsq(features, outputs, rcond=None)[0]
    without = np.delete(features, 2, axis=1)
    rest = outputs - without @ np.linalg.lstsq(without, outputs, rcond=None)[0]
    rise = np.sqrt(np.sum(rest**2) - np.sum(full**2))
    assert np.isclose(removal_costs(features, outputs)[2], rise)


def test_units_are_shared_up_to_order(rng):
    V = rng.standard_normal((4, 3))
    network = TwoLayerNetwork(
        V / np.linalg.norm(V, axis=0), rng.standard_normal((3, 2)), np.ones(2)
    )
    order = rng.permutation(3)
    other = TwoLayerNetwork(network.V[:, order], network.A[order], network.c)
    assert shared_units(network, other).all()
    other.A[0] *= 1.001
    assert shared_units(network, other).sum() == 2


def test_ladder_of_widths_stays_within_the_equations(seed):
    X, y, _ = make_relu_network(200, 6, n_hidden=3, n_outputs=1, random_state=seed)
    samples, _ = design_of(X, y)
    ladder = width_ladder(max_hidden(samples))
    assert ladder[0] == 1
    assert sorted(set(ladder)) == ladder
    assert samples.n_parameters(ladder[-1]) + 7 < 200


def test_same_seed_same_bits(seed):
    X, y, _ = make_relu_network(300, 5, n_hidden=3, n_outputs=1, random_state=seed)
    first, second = (recover(X, y, np.random.RandomState(seed))[0] for _ in range(2))
    assert np.array_equal(first.network.V, second.network.V)
    assert first.n_starts == second.n_starts
