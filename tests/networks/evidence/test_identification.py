"""What samples determine: both routes agree, and deficits are found where they are planted."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.networks.evidence import identification
from sklearn_nnrecover.networks.evidence.identification import identify
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork


def at_truth(X, W, b, A, c):
    """Samples of a network, and the network in their design coordinates."""
    y = np.maximum(X @ W + b, 0) @ A + c
    samples, design = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    V = np.linalg.lstsq(samples.Z, X @ W + b, rcond=None)[0]
    scale = design.output_scale
    return samples, design, TwoLayerNetwork(V, A / scale, c / scale).normalized()


def random_net(seed, n=300, d=6, k=4, m=4):
    X, _, truth = make_relu_network(n, d, n_hidden=k, n_outputs=m, random_state=seed)
    return X, *(part.copy() for part in (*truth.coefs_, *truth.intercepts_))


def moves_no_output(unit, j, network, samples):
    """Change of the outputs when each undetermined direction is followed, over the step's size."""
    for direction in unit.undetermined.T:
        # No sample may change sides on the way.
        distance = np.abs(samples.Z @ network.V[:, j]).min()
        step = min(1e-4, 0.5 * distance / np.abs(samples.Z @ direction).max())
        V = network.V.copy()
        V[:, j] += step * direction
        features = np.column_stack([np.maximum(samples.Z @ V, 0), np.ones(len(samples.Z))])
        fitted = features @ np.linalg.lstsq(features, samples.Y, rcond=None)[0]
        yield np.abs(fitted - samples.Y).max() / step


@pytest.mark.parametrize("m", [1, 2, 4, 6])
def test_generic_network_is_pinned_down(seed, m):
    X, W, A, b, c = random_net(seed, m=m, n=400)
    b *= 0.3
    found = identify(at_truth(X, W, b, A, c)[2], at_truth(X, W, b, A, c)[0])
    assert found.rank == found.n_parameters == 4 * (6 + m) + m
    assert all(unit.pinned and unit.active_rank == 7 for unit in found.units)
    assert found.intercepts_pinned


@pytest.mark.parametrize("m", [4, 7])
def test_decoupled_route_gives_the_rank_and_the_verdicts_of_the_full_jacobian(seed, m, monkeypatch):
    X, W, A, b, c = random_net(seed, m=m)
    X[:, 0] = X[:, 0] > 0.5
    b[0] = 9.0  # never inactive
    W[0, 1], W[1:, 1] = 0.0, W[1:, 1]
    b[1] = -2.2  # hardly ever active
    samples, _, network = at_truth(X, W, b, A, c)
    fast = identify(network, samples)
    monkeypatch.setattr(identification, "DECOUPLING_CONDITION", 0.0)
    full = identify(network, samples)
    assert (fast.rank, fast.n_parameters) == (full.rank, full.n_parameters)
    assert fast.intercepts_pinned == full.intercepts_pinned
    for one, other in zip(fast.units, full.units, strict=True):
        assert one.pinned == other.pinned
        assert one.undetermined.shape == other.undetermined.shape


def test_never_inactive_unit_trades_its_bias_for_the_intercepts(seed):
    X, W, A, b, c = random_net(seed)
    b[2] = 20.0
    samples, _, network = at_truth(X, W, b, A, c)
    found = identify(network, samples)
    assert [unit.pinned for unit in found.units] == [True, True, False, True]
    assert found.units[2].n_inactive == 0 and not found.intercepts_pinned
    assert max(moves_no_output(found.units[2], 2, network, samples)) < 1e-8


def test_unit_is_identified_on_the_span_of_its_active_rows(rng, seed):
    X, W, A, b, c = random_net(seed, n=500)
    # A feature that varies only where unit 0 is inactive.
    W[5] = 0.0
    X[X @ W[:, 0] + b[0] > 0, 5] = 0.0
    W[5, 1:] = rng.randn(3)
    b[1:] = -np.median(X @ W, axis=0)[1:]
    samples, design, network = at_truth(X, W, b, A, c)
    found = identify(network, samples)
    assert [unit.active_rank for unit in found.units] == [6, 7, 7, 7]
    assert [unit.pinned for unit in found.units] == [False, True, True, True]
    direction = design.input_vectors(found.units[0].undetermined)[0][:, 0]
    # Directions are orthogonal to v in design coordinates: the rest is the gauge.
    direction = direction - W[:, 0] * (W[:, 0] @ direction) / (W[:, 0] @ W[:, 0])
    assert np.abs(direction[5]) > 0.999999 * np.linalg.norm(direction)
    assert max(moves_no_output(found.units[0], 0, network, samples)) < 1e-8


def test_dead_unit_is_not_pinned(seed):
    X, W, A, b, c = random_net(seed, m=2)
    b[3] = -50.0
    samples, _, network = at_truth(X, W, b, A, c)
    unit = identify(network, samples).units[3]
    assert not unit.pinned and unit.n_active == unit.active_rank == 0 and unit.redundancy == 0


def test_duplicate_units_are_not_pinned(seed):
    X, W, A, b, c = random_net(seed)
    W[:, 1], b[1] = W[:, 0], b[0]
    samples, _, network = at_truth(X, W, b, A, c)
    assert [unit.pinned for unit in identify(network, samples).units] == [False, False, True, True]


def test_redundancy_counts_the_equations_left_over(seed):
    X, W, A, b, c = random_net(seed, n=200, m=1)
    samples, _, network = at_truth(X, W, b, A, c)
    moves = identification.jacobian(network, samples, slice(None))
    leverage = np.sum(np.linalg.qr(moves)[0] ** 2, axis=1)
    active = samples.Z @ network.V > 0
    for j, unit in enumerate(identify(network, samples).units):
        assert unit.redundancy == pytest.approx((1 - leverage)[active[:, j]].sum(), rel=1e-6)


def test_jacobian_is_the_derivative(seed):
    X, W, A, b, c = random_net(seed, n=40, m=3)
    samples, _, network = at_truth(X, W, b, A, c)
    moves = identification.jacobian(network, samples, slice(None))
    bases, step = identification.tangent_bases(network.V), 1e-7
    V = network.V.copy()
    V[:, 1] += step * bases[1][:, 2]
    moved = TwoLayerNetwork(V, network.A, network.c).predict(samples.Z)
    difference = (moved - network.predict(samples.Z)).ravel() / step
    np.testing.assert_allclose(moves[:, 1 * 6 + 2], difference, atol=1e-5)
