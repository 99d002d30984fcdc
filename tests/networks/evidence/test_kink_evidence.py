"""Kinks under noise: seen where they are, and not where a linear function does."""

import numpy as np
import pytest

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.networks.evidence.error_bars import units_too_uncertain, user_weights
from sklearn_nnrecover.networks.evidence.kink_evidence import KINK_LEVEL, kink_p_values
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import leaky_relu
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork


def noisy_samples(rng, V, A, *, n=400, sigma=0.1, slope=0.0):
    X = rng.standard_normal((n, len(V) - 1))
    T = np.column_stack([X, np.ones(n)]) @ V
    y = np.where(T > 0, T, slope * T) @ A + sigma * rng.standard_normal((n, A.shape[1]))
    samples, design = orthonormal_design(X, y, np.ones(n), intercept=True)
    in_design = np.linalg.lstsq(samples.Z, np.column_stack([X, np.ones(n)]) @ V, rcond=None)[0]
    return samples, TwoLayerNetwork(in_design, A / design.output_scale, np.zeros(A.shape[1]))


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_kinks_among_the_samples_are_seen(rng, slope):
    V = rng.standard_normal((4, 3))
    V[:-1] /= np.linalg.norm(V[:-1], axis=0)
    V[-1] *= 0.1
    samples, network = noisy_samples(rng, V, np.ones((3, 2)), slope=slope)
    if slope:
        network = TwoLayerNetwork(network.V, network.A, network.c, leaky_relu(slope))
    assert np.all(kink_p_values(network, samples) < KINK_LEVEL)


def test_a_kink_beyond_the_samples_is_not(rng):
    V = rng.standard_normal((4, 3))
    V[:-1] /= np.linalg.norm(V[:-1], axis=0)
    V[-1] = 0.0, 2.9, -0.1
    samples, network = noisy_samples(rng, V, np.ones((3, 1)))
    p_values = kink_p_values(network, samples)
    assert np.all(p_values[[0, 2]] < KINK_LEVEL)
    assert p_values[1] > KINK_LEVEL


def test_p_values_of_a_spurious_unit_are_uniform(rng):
    p_values = []
    for _ in range(200):
        V = rng.standard_normal((4, 2))
        V[-1] = 0.0
        samples, network = noisy_samples(rng, V, np.array([[1.0, 1.0], [0.0, 0.0]]), n=150)
        p_values.append(kink_p_values(network, samples)[1])
    # Standard deviation of the mean: 0.02.
    assert abs(np.mean(p_values) - 0.5) < 0.1


def test_a_step_between_two_values_of_an_input_has_no_kink(rng):
    X = rng.randint(0, 2, (300, 2)).astype(float)
    y = 2 * X[:, 1] + 0.05 * rng.standard_normal(300)
    net = ReLUNetRecovery(random_state=0)
    with pytest.warns(RecoveryWarning, match="do not pin down"):
        net.fit(X, y)
    assert not any(net.report_.identified)


@pytest.mark.parametrize("n_hidden", [1, 3])
def test_an_input_of_two_values_pins_nothing_down(rng, n_hidden):
    # Kinks end on the samples themselves, all of them.
    X = rng.choice([-1.0, 1.0], (80, 1))
    net = ReLUNetRecovery(n_hidden, random_state=0)
    with pytest.warns(RecoveryWarning, match="do not pin down"):
        net.fit(X, X * [1.0, 2.0] + 0.1 * rng.standard_normal((80, 2)))
    assert net.report_.status == "not_recovered"


def test_units_known_to_half_their_weights_are_not_claimed(rng):
    V = rng.standard_normal((4, 2))
    V[:-1] /= np.linalg.norm(V[:-1], axis=0)
    V[-1] = 0.0
    A = np.array([[1.0, -1.0], [0.3, 0.4]])
    X = rng.standard_normal((400, 3))
    samples, design = orthonormal_design(
        X, np.maximum(X @ V[:-1], 0) @ A, np.ones(400), intercept=True
    )
    in_design = np.linalg.lstsq(samples.Z, np.column_stack([X, np.ones(400)]) @ V, rcond=None)[0]
    network = TwoLayerNetwork(in_design, A / design.output_scale, np.zeros(2))
    weights = user_weights(network, design)
    np.testing.assert_allclose(np.linalg.norm(weights.A, axis=1), [np.sqrt(2), 0.5])
    errors = weights._replace(W=np.full((3, 2), 0.1), A=np.full((2, 2), 0.2))
    assert units_too_uncertain(network, errors, design).tolist() == [False, True]
    errors = errors._replace(W=np.array([[0.3] * 2] * 3), A=np.zeros((2, 2)))
    assert units_too_uncertain(network, errors, design).tolist() == [True, True]
