"""Smoothing and replacement of units, where samples are few."""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.search.graduated_smoothing import graduated_fit, smoothed_relu
from sklearn_nnrecover.networks.search.iterated_local_search import (
    iterated_search,
    replace_least_useful,
)
from sklearn_nnrecover.networks.search.overparametrized import reduce_recovery
from sklearn_nnrecover.networks.search.random_hyperplanes import random_hyperplanes


def random_samples(rng, n=150, d=4, k=3):
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, k)), 0) @ rng.standard_normal((k, 1))
    return orthonormal_design(X, y, np.ones(n), intercept=True)[0]


def test_smoothed_relu_keeps_the_mirror_identity_and_its_derivative(rng):
    t = rng.standard_normal(50)
    smoothed = smoothed_relu(0.3)
    assert np.allclose(smoothed.value(t), t + smoothed.value(-t))
    slope = (smoothed.value(t + 1e-6) - smoothed.value(t - 1e-6)) / 2e-6
    assert np.allclose(smoothed.derivative(t), slope, atol=1e-8)
    assert np.allclose(smoothed_relu(1e-9).value(t), np.maximum(t, 0), atol=1e-8)


def test_hyperplanes_pass_through_samples(rng):
    samples = random_samples(rng)
    values = samples.Z @ random_hyperplanes(samples, 6, rng)
    assert np.abs(values).min(axis=0).max() < 1e-12


def test_graduated_fit_ends_with_unsmoothed_units(rng):
    samples = random_samples(rng)
    fit = run_to_end(graduated_fit(samples, random_hyperplanes(samples, 4, rng), linear_part=True))
    assert fit.network.activation.name == "relu"
    prediction = fit.network.predict(samples.Z) + samples.Z @ fit.linear
    assert np.isclose(np.sum((samples.Y - prediction) ** 2), fit.loss, atol=1e-12)


def test_one_or_two_units_are_replaced(rng):
    samples = random_samples(rng)
    V = random_hyperplanes(samples, 5, rng)
    kept = np.all(replace_least_useful(samples, V, rng) == V, axis=0).sum()
    assert kept in (3, 4)


def test_search_gives_up_within_its_patience(rng):
    samples = random_samples(rng)
    noisy = samples._replace(Y=rng.standard_normal(samples.Y.shape))
    fit = run_to_end(iterated_search(noisy, 2, rng=rng, tol=1e-9, patience=2))
    assert fit.loss > 1


def test_trained_network_is_recovered_from_its_real_inputs(seed, rng):
    X, y = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
    teacher = MLPRegressor(hidden_layer_sizes=(5,), max_iter=3000, random_state=seed % 10).fit(X, y)
    (W, A), (b, c) = teacher.coefs_, teacher.intercepts_
    logits = np.maximum(X @ W + b, 0) @ A + c
    samples, design = orthonormal_design(X, logits, np.ones(len(X)), intercept=True)
    found = run_to_end(reduce_recovery(samples, rng=rng, n_hidden=5))
    W, b, A, c = design.weights(found.network)
    assert found.n_agreeing == 3
    assert recovery_error(([W, A], [b, c]), teacher) < 1e-10
