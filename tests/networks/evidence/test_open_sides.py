"""Units that a linear unit allows on either side: found, and claimed by no verdict."""

import warnings

import numpy as np
import pytest

from sklearn_nnrecover import ReLUNetRecovery, SymmetricMomentNet
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.networks.evidence.open_sides import open_sides
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import RELU, leaky_relu
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork

# Inputs are positive: a unit of positive weights is never inactive.
ALWAYS, KINK = [1.0, 1.0, 1.0], [1.0, -1.0, 0.2]


def samples_of(rng, W, A, slope=0.0, n=200, bias=None, intercept=False):
    X = rng.uniform(0, 1, (n, len(W)))
    T = X @ W + (0 if bias is None else bias)
    y = np.where(T > 0, T, slope * T) @ A
    samples, design = orthonormal_design(X, y, np.ones(n), intercept=intercept)
    ones = np.ones((n, 1))
    rows = np.hstack([X, ones]) if intercept else X
    weights = np.vstack([W, bias]) if intercept else W
    V = np.linalg.lstsq(samples.Z, rows @ weights, rcond=None)[0]
    activation = leaky_relu(slope) if slope else RELU
    network = TwoLayerNetwork(V, A / design.output_scale, np.zeros(A.shape[1]), activation)
    return X, y, samples, network


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.5])
def test_a_linear_unit_makes_up_for_a_mirrored_one(rng, slope):
    W = np.array([ALWAYS, KINK]).T
    # 3 relu(x w_1) + relu(x w_2) = x (3 w_1 + (1 + a) w_2) + f(-x w_2), and 3 w_1 + .. is positive.
    X, y, samples, network = samples_of(rng, W, np.array([[3.0], [1.0]]), slope)
    other = np.array([3 * W[:, 0] + (1 + slope) * W[:, 1], -W[:, 1]]).T
    T = X @ other
    np.testing.assert_allclose(np.where(T > 0, T, slope * T).sum(axis=1), y[:, 0], atol=1e-12)
    assert open_sides(network, samples).tolist() == [True, True]


def test_a_linear_part_of_both_signs_leaves_no_choice(rng):
    W = np.array([ALWAYS, KINK]).T
    _, _, samples, network = samples_of(rng, W, np.array([[0.3], [1.0]]))
    assert not open_sides(network, samples).any()


@pytest.mark.parametrize("n_outputs", [2, 3])
def test_more_outputs_tell_the_side(rng, n_outputs):
    W = np.array([ALWAYS, KINK]).T
    A = np.array([[3.0, 1.0, 2.0], [1.0, -1.0, 0.5]])[:, :n_outputs]
    _, _, samples, network = samples_of(rng, W, A)
    assert not open_sides(network, samples).any()
    # Parallel output weights are one output.
    _, _, samples, network = samples_of(rng, W, np.outer([3.0, 1.0], A[0]))
    assert open_sides(network, samples).all()


def test_units_that_are_mirrored_together(rng):
    # Neither alone leaves a linear part of one sign, both do.
    W = np.array([ALWAYS, [1.0, -1.0, 0.2], [-1.0, 1.0, 0.2]]).T
    _, _, samples, network = samples_of(rng, W, np.array([[0.1], [1.0], [1.0]]))
    assert open_sides(network, samples).all()


def test_biases_make_any_linear_part_possible(rng):
    W = np.array([ALWAYS, KINK]).T
    A = np.array([[0.3], [1.0]])
    _, _, samples, network = samples_of(rng, W, A, bias=np.array([0.5, 0.1]), intercept=True)
    assert open_sides(network, samples).all()


def test_opposite_units_are_a_linear_function(rng):
    W = np.array([[1.0, -0.5, 0.1], [-1.0, 0.5, -0.1], [0.3, -1.0, 0.5]]).T
    _, _, samples, network = samples_of(rng, W, np.array([[1.0], [-1.0], [0.7]]))
    assert open_sides(network, samples).all()
    _, _, samples, network = samples_of(rng, W, np.array([[1.0], [-0.5], [0.7]]))
    assert not open_sides(network, samples).any()


def test_many_units(rng):
    crossing = np.array([[1.0], [-1.0], [0.0]]) + rng.uniform(-0.4, 0.4, (3, 12))
    W = np.column_stack([ALWAYS, crossing])
    _, _, samples, network = samples_of(rng, W, rng.standard_normal((13, 1)))
    assert open_sides(network, samples).all()
    _, _, samples, network = samples_of(rng, W, rng.standard_normal((13, 4)))
    assert not open_sides(network, samples).any()


def test_units_with_open_sides_are_not_claimed(rng):
    W = np.array([ALWAYS, KINK]).T
    X, y, _, _ = samples_of(rng, W, np.array([[3.0], [1.0]]))
    for net in (SymmetricMomentNet(random_state=0), ReLUNetRecovery(fit_intercept=False)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecoveryWarning)
            net.fit(X, y)
        assert net.report_.status in ("partial", "not_recovered")
        assert not any(unit["identified"] for unit in net.report_.units)
        assert np.isinf(net.coefs_std_[0]).all()
        np.testing.assert_allclose(net.predict(X), y[:, 0] if y.ndim == 1 else y, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n_features", "n_outputs"), [(1, 1), (3, 1), (3, 2)])
def test_a_hard_sigmoid_has_two_networks(rng, dtype, n_features, n_outputs):
    # relu(t + 1) - relu(t - 1) = 2 - relu(1 - t) + relu(-t - 1).
    X = rng.standard_normal((400, n_features)).astype(dtype)
    t = X @ rng.standard_normal((n_features, 1))
    t /= 1.5 * t.std()
    y = np.maximum(t + 1, 0) - np.maximum(t - 1, 0)
    np.testing.assert_allclose(2 - np.maximum(1 - t, 0) + np.maximum(-t - 1, 0), y, atol=1e-5)
    Y = (y * rng.uniform(0.5, 2, n_outputs)).astype(dtype)
    for n_hidden in (2, "auto"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecoveryWarning)
            net = ReLUNetRecovery(n_hidden, random_state=0).fit(X, Y)
        assert net.report_.status != "exact"
        assert not any(net.report_.identified)
        if dtype == np.float64:
            assert net.n_hidden_ == 2


def test_a_hard_sigmoid_behind_noise_is_not_claimed(rng):
    X = rng.standard_normal((1500, 3))
    t = X @ rng.standard_normal(3)
    t /= t.std()
    u = np.maximum(X @ rng.standard_normal(3), 0)
    y = np.maximum(t + 0.5, 0) - np.maximum(t - 0.5, 0) + u / u.std()
    net = ReLUNetRecovery(3, random_state=0)
    with pytest.warns(RecoveryWarning, match="several solutions fit nearly as well"):
        net.fit(X, y + 0.03 * rng.standard_normal(1500))
    assert net.report_.status == "partial"
    assert np.count_nonzero(net.report_.identified) == 1
    assert np.isinf(net.coefs_std_[0]).sum() == 6


def test_units_whose_linear_functions_sum_to_zero(rng):
    W = rng.standard_normal((3, 4))
    W[:, 2] = -W[:, 0] - W[:, 1]
    _, _, samples, network = samples_of(
        rng, W, np.ones((4, 1)), bias=-W.sum(axis=0) / 2, intercept=True
    )
    assert open_sides(network, samples).tolist() == [True, True, True, False]
    _, _, samples, network = samples_of(
        rng, W, np.array([[1.0], [1.0], [0.9], [1.0]]), bias=-W.sum(axis=0) / 2, intercept=True
    )
    assert not open_sides(network, samples).any()


def test_a_hard_sigmoid_among_many_units(rng):
    W = rng.standard_normal((3, 14))
    W[:, 5] = W[:, 11]
    A = rng.standard_normal((14, 1))
    A[5] = -A[11]
    bias = -W.sum(axis=0) / 2 + 0.1 * rng.standard_normal(14)
    _, _, samples, network = samples_of(rng, W, A, bias=bias, intercept=True, n=2000)
    assert np.flatnonzero(open_sides(network, samples)).tolist() == [5, 11]


@pytest.mark.parametrize("k", [8, 14, 40])
def test_three_units_that_balance_each_other_among_many(rng, k):
    W, A = rng.standard_normal((6, k)), rng.standard_normal((k, 2))
    W[:, 2] = -W[:, 0] - W[:, 1]
    A[:3] = A[0]
    bias = -W.sum(axis=0) / 2 + 0.1 * rng.standard_normal(k)
    _, _, samples, network = samples_of(rng, W, A, bias=bias, intercept=True, n=2000)
    assert np.flatnonzero(open_sides(network, samples)).tolist() == [0, 1, 2]
