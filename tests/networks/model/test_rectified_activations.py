"""Activations other than the ReLU: functions, gauge, and networks recovered with them."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.evidence.identification import identify, jacobian
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import (
    ACTIVATIONS,
    RELU,
    activation_of,
    leaky_relu,
)
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork

OTHERS = [name for name in ACTIVATIONS if name != "relu"]


def power(T):
    return np.maximum(T, 0.0) ** 1.5


def power_derivative(T):
    return 1.5 * np.sqrt(np.maximum(T, 0.0))


def tanh_derivative(T):
    return 1 - np.tanh(T) ** 2


def quiet_fit(estimator, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return estimator.fit(X, y)


# --- the functions -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_and_homogeneity(rng, name):
    activation = activation_of(name, 0.3)
    T = rng.standard_normal((30, 4))
    T = T[np.abs(T).min(axis=1) > 1e-2]
    quotient = (activation.value(T + 1e-7) - activation.value(T - 1e-7)) / 2e-7
    np.testing.assert_allclose(activation.derivative(T), quotient, atol=1e-4)
    assert np.all(np.isfinite(activation.derivative(np.zeros((1, 1)))))
    assert activation.rectified == (not np.any(activation.value(-np.abs(T))))
    if activation.degree is not None:
        np.testing.assert_allclose(
            activation.value(1.7 * T), 1.7**activation.degree * activation.value(T), atol=1e-12
        )


def test_a_leaky_relu_of_slope_zero_is_the_relu(rng):
    T = rng.standard_normal((5, 5))
    assert leaky_relu(0.0).is_relu and RELU.is_relu and not leaky_relu(0.1).is_relu
    np.testing.assert_array_equal(leaky_relu(0.0).value(T), RELU.value(T))


def test_large_arguments_stay_finite():
    activation = activation_of("expm1")
    T = np.array([[1e4, -1e4]])
    assert np.all(np.isfinite(activation.value(T) ** 2))


def test_a_pair_tells_its_gauge():
    own = activation_of((power, power_derivative))
    assert own.degree == pytest.approx(1.5) and own.rectified and own.name == "power"
    smooth = activation_of([np.tanh, tanh_derivative])
    assert smooth.degree is None and not smooth.rectified
    assert activation_of((lambda T: np.maximum(T, 0), lambda T: T > 0)).degree == 1


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("tanh", "one of"),
        ((np.tanh,), "pair of functions"),
        ((np.tanh, 3), "pair of functions"),
        ((np.sum, np.cos), "elementwise"),
        ((np.sin, np.tanh), "not the derivative"),
        ((np.abs, lambda T: 0 / T), "finite and real"),
        ((lambda T: T + 1j, np.ones_like), "finite and real"),
        ((np.zeros_like, np.zeros_like), "constant"),
        ((lambda T: T.astype(str), np.ones_like), "must return numbers"),
    ],
)
def test_kind_errors(pair, message):
    with pytest.raises(ValueError, match=message):
        activation_of(pair)


@pytest.mark.parametrize("parameters", [{"activation": "swish"}, {"negative_slope": 1.0}])
def test_the_estimator_refuses(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        ReLUNetRecovery(**parameters).fit(np.eye(4), np.eye(4))


def test_the_estimator_refuses_a_wrong_derivative(rng):
    with pytest.raises(ValueError, match="not the derivative"):
        ReLUNetRecovery(activation=(np.sin, np.sin)).fit(
            rng.standard_normal((20, 2)), rng.standard_normal(20)
        )


# --- counting, and what the data determine ------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_parameters_are_counted_as_the_jacobian_has_columns(rng, name):
    activation = activation_of(name, 0.2)
    X = rng.standard_normal((50, 3))
    samples, _ = orthonormal_design(X, rng.standard_normal((50, 2)), np.ones(50), intercept=True)
    V, A = rng.standard_normal((4, 3)), rng.standard_normal((3, 2))
    network = TwoLayerNetwork(V, A, np.zeros(2), activation)
    assert jacobian(network, samples, slice(0, 1)).shape[1] == samples.n_parameters(3, activation)


def test_a_leaky_unit_is_seen_on_both_sides(rng):
    X = rng.standard_normal((60, 3))
    samples, _ = orthonormal_design(X, rng.standard_normal((60, 1)), np.ones(60), intercept=True)
    V = rng.standard_normal((4, 2))
    V[3] = [0.1, -0.2]
    A = rng.standard_normal((2, 1))
    leaky = identify(TwoLayerNetwork(V, A, np.zeros(1), leaky_relu(0.3)), samples)
    active = (samples.Z @ V > 0).sum(axis=0)
    for unit, count in zip(leaky.units, active, strict=True):
        assert unit.redundancy <= min(count, 60 - count)
    telling = leaky_relu(0.3).telling_rows(samples.Z @ V).sum(axis=0)
    np.testing.assert_array_equal(telling, np.minimum(active, 60 - active))


# --- recovery ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_hidden", [3, "auto"])
@pytest.mark.parametrize("name", OTHERS)
def test_recovery_without_noise(well_seen_network, seed, name, n_hidden):
    X, y, truth = well_seen_network(
        240, 5, n_hidden=3, n_outputs=3, activation=name, negative_slope=0.2
    )
    net = ReLUNetRecovery(n_hidden, activation=name, negative_slope=0.2, random_state=seed)
    net = quiet_fit(net, X, y)
    # A search may end before three starts agree; what it claims must be true, in any case.
    assert net.report_.status in ("exact", "not_recovered")
    degree = activation_of(name, 0.2).degree
    if net.report_.status == "exact":
        assert net.report_.proof == "local"
        assert recovery_error(net, truth, degree=degree) < 1e-9
    np.testing.assert_allclose(net.predict(X), y, atol=1e-6 * np.abs(y).max())
    if degree is not None:
        np.testing.assert_allclose(np.linalg.norm(net.coefs_[0], axis=0), 1)
    np.testing.assert_allclose(np.linalg.norm(net.components_, axis=1), 1)


@pytest.mark.parametrize("name", ["relu2", "expm1", "leaky_relu"])
def test_recovery_under_noise(well_seen_network, seed, name):
    X, y, truth = well_seen_network(
        800, 4, n_hidden=2, n_outputs=3, activation=name, negative_slope=0.2, noise=0.05
    )
    net = ReLUNetRecovery(2, activation=name, negative_slope=0.2, random_state=seed)
    net = quiet_fit(net, X, y)
    assert net.report_.status in ("approximate", "partial")
    assert recovery_error(net, truth, degree=activation_of(name).degree) < 0.5


def test_without_intercepts(well_seen_network, seed):
    X, y, truth = well_seen_network(200, 4, n_hidden=2, n_outputs=2, bias=False, activation="relu2")
    net = ReLUNetRecovery(2, activation="relu2", fit_intercept=False, random_state=seed).fit(X, y)
    assert net.report_.status == "exact"
    assert recovery_error(net, truth, degree=2) < 1e-9


def test_a_pair_of_ones_own_survives_cloning_and_pickling(well_seen_network, seed):
    own = (power, power_derivative)
    X, y, truth = well_seen_network(200, 4, n_hidden=2, n_outputs=2, activation=own)
    net = clone(ReLUNetRecovery(2, activation=own, random_state=seed)).fit(X, y)
    assert net.report_.status == "exact"
    assert recovery_error(net, truth, degree=1.5) < 1e-9
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    with pytest.raises(ValueError, match="no activation 'power'"):
        net.to_mlp()


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_units_of_an_odd_function_equal_their_mirror_images(seed, noise):
    own = (np.tanh, tanh_derivative)
    assert activation_of(own).mirrored and not activation_of((power, power_derivative)).mirrored
    X, y, truth = make_relu_network(
        600, 3, n_hidden=2, n_outputs=3, activation=own, noise=noise, random_state=seed
    )
    net = quiet_fit(ReLUNetRecovery(2, activation=own, random_state=seed), X, y)
    (W, A), (b, c) = net.coefs_, net.intercepts_
    signs = np.sign(np.sum(W * truth.coefs_[0][:, np.argmax(np.abs(truth.coefs_[0].T @ W), 0)], 0))
    turned = ([W * signs, signs[:, None] * A], [b * signs, c])
    if noise:
        assert net.report_.status in ("approximate", "partial", "not_recovered")
        assert recovery_error(turned, truth, degree=None) < 1
    else:
        assert net.report_.status == "exact"
        assert recovery_error(turned, truth, degree=None) < 1e-8


def test_a_leaky_network_as_an_mlp(well_seen_network, seed):
    X, y, _ = well_seen_network(
        240, 4, n_hidden=2, n_outputs=2, activation="leaky_relu", negative_slope=0.3
    )
    net = ReLUNetRecovery(2, activation="leaky_relu", negative_slope=0.3, random_state=seed)
    net = quiet_fit(net, X, y)
    np.testing.assert_allclose(net.to_mlp().predict(X), net.predict(X), atol=1e-8)


# --- what must not succeed ---------------------------------------------------------------------


@pytest.mark.parametrize(("true", "assumed"), [("relu", "relu2"), ("expm1", "sqrt")])
def test_a_wrong_activation_is_not_recovered(well_seen_network, seed, true, assumed):
    X, y, _ = well_seen_network(300, 4, n_hidden=2, n_outputs=3, activation=true)
    net = ReLUNetRecovery(2, activation=assumed, random_state=seed)
    with pytest.warns(RecoveryWarning):
        net.fit(X, y)
    assert net.report_.status == "not_recovered"


@pytest.mark.parametrize("solver", ["lifted", "pencil", "reduce"])
def test_solvers_for_relus_say_so(well_seen_network, seed, solver):
    X, y, _ = well_seen_network(200, 3, n_hidden=2, n_outputs=2, activation="relu3")
    net = quiet_fit(ReLUNetRecovery(2, solver=solver, activation="relu3", random_state=seed), X, y)
    assert net.solver_ == "varpro"
    assert "declined these data (it is for ReLU units)" in net.report_.reason


def test_leaky_units_without_a_kink_in_the_data_are_not_claimed(rng, seed):
    X = rng.standard_normal((200, 3))
    W = np.array([[1.0, 0.2], [0.3, -1.0], [0.0, 0.5]])
    A = rng.standard_normal((2, 2))
    # The second unit is never inactive.
    T = X @ W + [0.1, 9.0]
    y = np.maximum(T, 0.2 * T) @ A
    net = ReLUNetRecovery(2, activation="leaky_relu", negative_slope=0.2, random_state=seed)
    net = quiet_fit(net, X, y)
    assert net.report_.status != "exact"


@pytest.mark.parametrize("name", ["relu2", "leaky_relu"])
def test_constant_outputs(rng, name):
    X = rng.standard_normal((50, 3))
    with pytest.warns(RecoveryWarning, match="constant"):
        net = ReLUNetRecovery(activation=name).fit(X, np.full(50, 2.0))
    assert net.report_.status == "not_recovered"
    np.testing.assert_allclose(net.predict(X), 2.0)


def test_linear_outputs_are_not_those_of_a_power(rng, seed):
    X = rng.standard_normal((100, 3))
    net = quiet_fit(ReLUNetRecovery(2, activation="relu2", random_state=seed), X, X @ [1, 2, 3])
    assert net.report_.status == "not_recovered" and net.solver_ != "linear"
