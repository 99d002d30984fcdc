"""Units that are active only where, or never where, another is: proven all the same."""

import numpy as np
import pytest

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.exact.lifted_system import lifted_recovery, with_nested_units
from sklearn_nnrecover.networks.exact.nested_units import nested_pairs
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork
from sklearn_nnrecover.networks.solvers import Options, Recovery, solve_lifted

N, D = 400, 3


@pytest.fixture
def inputs(rng):
    """Draw inputs in the unit cube, where kinks are easily placed."""
    return rng.uniform(0, 1, (N, D))


def weights(kind):
    """Two units in the corners or beside each other, and one across."""
    W = np.array([[1.0, 1.0, 0.0], [0.3, -0.5, 1.0], [0.2, 0.4, -1.0]])
    b = {
        "nested": np.array([-0.9, -0.1, 0.2]),
        "disjoint": np.array([-0.9, -0.1, 0.2]),
        "apart": np.array([-0.7, -0.2, 0.2]),
    }[kind]
    if kind == "nested":  # x0 + .3 x1 + .2 x2 > .9 implies x0 > .4
        W[:, 1] = [1.0, 0.0, 0.0]
        b[1] = -0.35
    elif kind == "disjoint":  # x0 < .35, where the first is inactive
        W[:, 1] = [-1.0, 0.0, 0.0]
        b[1] = 0.35
    return W / np.linalg.norm(W, axis=0), b / np.linalg.norm(W, axis=0)


def samples_of(rng, X, W, b):
    A = rng.uniform(0.5, 2, (3, 4)) * rng.choice([-1.0, 1.0], (3, 4))
    y = np.maximum(X @ W + b, 0) @ A
    samples, design = orthonormal_design(X, y, np.ones(len(X)), intercept=True)
    return samples, design, ([W, A], [b, np.zeros(4)])


@pytest.mark.parametrize(("kind", "pairs"), [("nested", 1), ("disjoint", 1), ("apart", 0)])
def test_pairs_account_for_the_null_space(rng, inputs, kind, pairs):
    samples, design, truth = samples_of(rng, inputs, *weights(kind))
    recovery = run_to_end(solve_lifted(samples, None, Options(), rng))
    assert isinstance(recovery, Recovery)
    assert nested_pairs(recovery.network, samples) == pairs
    assert recovery.lifted.nullity == recovery.lifted.expected_nullity == 3 + pairs
    assert recovery.lifted.proven
    W, b, A, c = design.weights(recovery.network)
    assert recovery_error(([W, A], [b, c]), truth) < 1e-9


def test_parallel_units_of_a_pair_are_not_proven(rng, inputs):
    W, b = weights("nested")
    W[:, 1], b[1] = W[:, 0], b[0] - 0.1
    samples, design, (coefs, _) = samples_of(rng, inputs, W, b)
    V = np.linalg.lstsq(samples.Z, inputs @ W + b, rcond=None)[0]
    network = TwoLayerNetwork(V, coefs[1] / design.output_scale, np.zeros(4))
    assert nested_pairs(network, samples) is None
    attempt = lifted_recovery(samples, rng=rng)
    assert not with_nested_units(attempt, network, samples).proven


def test_samples_that_never_tell_two_units_apart_prove_nothing(rng, inputs):
    W, b = weights("apart")
    W[:, 1], b[1] = W[:, 0] + [0.01, -0.01, 0.01], b[0]
    active = inputs @ W + b > 0
    samples, _, _ = samples_of(rng, inputs[active[:, 0] == active[:, 1]], W, b)
    recovery = run_to_end(solve_lifted(samples, None, Options(), rng))
    assert not isinstance(recovery, Recovery) or not recovery.lifted.proven
