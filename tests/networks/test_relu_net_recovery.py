"""ReLUNetRecovery: what must come out exact, what must not, and everything users bring."""

import json
import pickle
import warnings

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.base import RecoveryReport
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.metrics import recovery_error, recovery_scorer


def outputs(X, W, b, A, c):
    return np.maximum(X @ W + b, 0) @ A + c


def arrays(truth):
    return (
        *(part.copy() for part in (truth.coefs_[0], truth.intercepts_[0])),
        *(part.copy() for part in (truth.coefs_[1], truth.intercepts_[1])),
    )


@pytest.fixture
def well_posed(well_seen_network):
    """Draw a well seen network, 400 samples of (6, 4, 4) unless told otherwise."""

    def draw(n=400, d=6, k=4, m=4, **kwargs):
        return well_seen_network(n, d, n_hidden=k, n_outputs=m, **kwargs)

    return draw


def quiet_fit(estimator, X, y, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return estimator.fit(X, y, **kwargs)


def identified_units_are_true(net, truth, tolerance=1e-7):
    """Whether each unit that the report marks as identified is one of the true units."""
    true = np.vstack([truth.coefs_[0], truth.intercepts_[0]])
    found = np.vstack([net.coefs_[0], net.intercepts_[0]])
    return all(
        np.abs(true - found[:, [unit["unit"]]]).max(axis=0).min() < tolerance
        for unit in net.report_.units
        if unit["identified"]
    )


@pytest.mark.parametrize("m", [4, 7])
def test_many_outputs_are_proven(well_posed, seed, m):
    X, y, truth = well_posed(m=m)
    net = ReLUNetRecovery(random_state=seed).fit(X, y)
    assert net.solver_ == "lifted"
    assert (net.report_.status, net.report_.proof) == ("exact", "global")
    assert recovery_error(net, truth) < 1e-10
    assert net.n_hidden_ == 4
    assert not np.any(net.coefs_std_[0]) and not np.any(net.intercepts_std_[1])


@pytest.mark.parametrize("m", [1, 2])
def test_few_outputs_are_proven_locally(well_posed, seed, m):
    X, y, truth = well_posed(n=600, m=m)
    net = ReLUNetRecovery(random_state=seed).fit(X, y)
    assert (net.report_.status, net.report_.proof) == ("exact", "local")
    assert recovery_error(net, truth) < 1e-9
    assert "not excluded" in net.report_.reason


def test_units_that_would_be_superfluous_are_left_out_and_counted(well_posed, seed):
    X, y, truth = well_posed()
    net = ReLUNetRecovery(n_hidden=6, random_state=seed).fit(X, y)
    assert net.n_hidden_ == 4 and recovery_error(net, truth) < 1e-10
    assert "2 of the n_hidden=6 units asked for would be superfluous" in net.report_.reason


def test_few_samples_by_pencils(well_posed, seed):
    X, y, truth = well_posed(n=120)
    net = ReLUNetRecovery(solver="pencil", random_state=seed).fit(X, y)
    assert net.solver_ == "pencil" and net.report_.status == "exact"
    assert recovery_error(net, truth) < 1e-10


@pytest.mark.parametrize("solver", ["lifted", "pencil", "reduce", "varpro"])
def test_every_solver_recovers_what_it_is_for(well_posed, seed, solver):
    X, y, truth = well_posed(d=4, k=3, m=3)
    net = quiet_fit(ReLUNetRecovery(solver=solver, random_state=seed), X, y)
    assert net.solver_ == solver
    assert recovery_error(net, truth) < 1e-9


def test_without_intercepts(seed):
    X, y, truth = make_relu_network(200, 5, n_hidden=3, n_outputs=3, bias=False, random_state=seed)
    net = ReLUNetRecovery(fit_intercept=False, random_state=seed).fit(X, y)
    assert net.report_.status == "exact"
    assert recovery_error(net, truth) < 1e-10
    assert not np.any(net.intercepts_[0]) and not np.any(net.intercepts_[1])


@pytest.mark.parametrize("distribution", ["uniform", "exponential"])
def test_any_input_distribution(well_posed, seed, distribution):
    X, y, truth = well_posed(distribution=distribution)
    net = ReLUNetRecovery(random_state=seed).fit(X, y)
    assert net.report_.status == "exact" and recovery_error(net, truth) < 1e-9


def test_scales_means_constant_and_collinear_columns(well_posed, rng, seed):
    X, y, truth = well_posed()
    scale, mean = np.geomspace(1e-6, 1e6, 6), rng.uniform(-100, 100, 6)
    W, b, A, c = arrays(truth)
    net = ReLUNetRecovery(random_state=seed).fit(X * scale, y)
    assert net.report_.status == "exact"
    assert recovery_error(net, ([W / scale[:, None], A], [b, c])) < 1e-9
    net = ReLUNetRecovery(random_state=seed).fit(X + mean, y)
    assert net.report_.status == "exact"
    assert recovery_error(net, ([W, A], [b - mean @ W, c])) < 1e-8
    extra = np.column_stack([X, np.full(len(X), 4.2), X[:, 0] + X[:, 1]])
    net = ReLUNetRecovery(random_state=seed).fit(extra, y)
    assert net.report_.status == "exact"
    np.testing.assert_allclose(net.predict(extra), y, atol=1e-9)
    np.testing.assert_allclose(net.coefs_[0][6], 0, atol=1e-12)
    # The sum of two columns and either of them say the same thing: one of the three is named.
    assert "column 6 is constant; column" in net.report_.reason
    named = net.report_.reason.partition("constant; ")[2]
    assert all(f"column {j}" in named for j in (0, 1, 7)) and "column 2" not in named


def test_integer_inputs_and_repeated_rows(rng, seed):
    X = rng.randint(-3, 4, (500, 5))
    truth = make_relu_network(10, 5, n_hidden=3, n_outputs=3, random_state=seed)[2]
    y = outputs(X, *arrays(truth))
    net = quiet_fit(ReLUNetRecovery(random_state=seed), X, y)
    assert net.report_.status in ("exact", "partial")
    assert identified_units_are_true(net, truth)
    rows = np.concatenate([np.arange(500), rng.randint(0, 500, 300)])
    again = quiet_fit(ReLUNetRecovery(random_state=seed), X[rows], y[rows])
    assert again.report_.status == net.report_.status


def test_float32_in_float32_out(well_posed, seed):
    X, y, truth = well_posed()
    net = ReLUNetRecovery(random_state=seed).fit(X.astype("f4"), y.astype("f4"))
    assert {part.dtype for part in (*net.coefs_, *net.intercepts_)} == {np.dtype("f4")}
    assert net.predict(X.astype("f4")).dtype == net.transform(X.astype("f4")).dtype == np.float32
    assert recovery_error(net, truth) < 1e-3


# --- what must not succeed -------------------------------------------------------------------


@pytest.mark.parametrize("n", [8, 11, 14, 17])
def test_too_few_samples_never_claim_a_wrong_unit(seed, n):
    X, y, truth = make_relu_network(n, 5, n_hidden=3, n_outputs=3, random_state=seed)
    net = quiet_fit(ReLUNetRecovery(3, solver="pencil", n_init=2, max_iter=100), X, y)
    if net.report_.status in ("exact", "partial"):
        assert identified_units_are_true(net, truth)


def test_fewer_equations_than_parameters_say_how_many_are_needed(seed):
    X, y, _ = make_relu_network(15, 5, n_hidden=4, n_outputs=1, random_state=seed)
    with pytest.warns(RecoveryWarning, match="need at least|leave nothing to check"):
        net = ReLUNetRecovery(4, solver="varpro", n_init=2, max_iter=200, random_state=0).fit(X, y)
    assert net.report_.status == "not_recovered"


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["constant", "linear"])
def test_outputs_without_a_kink(rng, kind, fit_intercept):
    X = rng.randn(80, 4)
    y = np.full((80, 2), 3.0) if kind == "constant" and fit_intercept else X @ rng.randn(4, 2)
    with pytest.warns(RecoveryWarning, match="constant|linear function"):
        net = ReLUNetRecovery(fit_intercept=fit_intercept).fit(X, y)
    assert net.report_.status == "not_recovered"
    np.testing.assert_allclose(net.predict(X), y, atol=1e-9)
    assert np.isinf(net.coefs_std_[0]).all()


def test_always_on_unit_is_named_and_the_others_are_recovered(well_posed, seed):
    X, _, truth = well_posed()
    W, b, A, c = arrays(truth)
    b[0] = 30.0
    with pytest.warns(RecoveryWarning, match="never inactive"):
        net = ReLUNetRecovery(random_state=seed).fit(X, outputs(X, W, b, A, c))
    assert net.report_.status == "partial"
    assert sorted(net.report_.identified) == [False, True, True, True]
    truth.intercepts_[0] = b
    assert identified_units_are_true(net, truth)
    lone = next(u["unit"] for u in net.report_.units if not u["identified"])
    assert np.isinf(net.coefs_std_[0][:, lone]).all()


def test_dead_and_duplicate_units_leave_the_narrowest_network(well_posed, seed):
    X, _, truth = well_posed()
    W, b, A, c = arrays(truth)
    W[:, 1], b[1] = W[:, 0], b[0]
    b[2] = -60.0
    net = ReLUNetRecovery(random_state=seed).fit(X, outputs(X, W, b, A, c))
    assert net.n_hidden_ == 2 and net.report_.status == "exact"
    merged = ([W[:, [0, 3]], np.vstack([A[0] + A[1], A[3]])], [b[[0, 3]], c])
    assert recovery_error(net, merged) < 1e-9


def test_unit_seen_on_a_subspace_only_is_partial(well_posed, rng, seed):
    X, _, truth = well_posed(n=700)
    W, b, A, c = arrays(truth)
    W[5] = 0.0
    X[X @ W[:, 0] + b[0] > 0, 5] = 0.0
    W[5, 1:] = rng.randn(3)
    net = quiet_fit(ReLUNetRecovery(random_state=seed), X, outputs(X, W, b, A, c))
    assert net.report_.status == "partial"
    hidden = [unit for unit in net.report_.units if not unit["identified"]]
    assert "span" in hidden[0]["problem"]
    # Up to the unit's own scale, the direction is that of the feature that never varies there.
    span = np.column_stack(
        [
            np.array(hidden[0]["undetermined_directions"])[0, :6],
            net.coefs_[0][:, hidden[0]["unit"]],
        ]
    )
    assert np.linalg.norm(np.linalg.qr(span)[0][5]) > 0.999999


def test_zero_one_inputs_are_never_exact_and_wrong(rng, seed):
    X = (rng.rand(300, 5) > 0.5).astype(float)
    truth = make_relu_network(10, 5, n_hidden=2, n_outputs=2, random_state=seed)[2]
    net = quiet_fit(ReLUNetRecovery(random_state=seed), X, outputs(X, *arrays(truth)))
    assert identified_units_are_true(net, truth)


def test_wrong_activation_under_noise_is_not_recovered(well_posed, rng, seed):
    X, _, truth = well_posed(n=800, d=4, k=2, m=3)
    W, b, A, _ = arrays(truth)
    y = np.tanh(2 * (X @ W + b)) @ A
    y += 0.02 * y.std() * rng.randn(*y.shape)
    with pytest.warns(RecoveryWarning, match="residuals are not noise"):
        net = ReLUNetRecovery(2, noise="gaussian", random_state=seed).fit(X, y)
    assert net.report_.status == "not_recovered"
    assert net.report_["lack of fit (p-value)"].value < 1e-4


# --- noise -----------------------------------------------------------------------------------


def test_noisy_data_are_approximate_with_error_bars(well_posed, seed):
    X, y, truth = well_posed(n=1500, d=5, k=3, m=3, noise=0.05)
    net = quiet_fit(ReLUNetRecovery(random_state=seed), X, y)
    assert net.report_.status == "approximate" and net.n_hidden_ == 3
    assert recovery_error(net, truth) < 0.2
    W, std = net.coefs_[0], net.coefs_std_[0]
    order = [int(np.argmax(truth.coefs_[0].T @ w)) for w in W.T]
    z = (W - truth.coefs_[0][:, order]) / std
    # 15 standard normal values, correlated: 6 is beyond chance.
    assert np.abs(z).max() < 6 and np.abs(z).mean() < 2
    assert net.loss_ == pytest.approx(truth.noise_std**2, rel=0.2)


def test_random_outputs_are_not_recovered(rng):
    X, y = rng.randn(200, 4), rng.randn(200)
    net = quiet_fit(ReLUNetRecovery(random_state=0), X, y)
    assert net.report_.status != "exact"
    assert np.isfinite(net.predict(X)).all()


# --- contract --------------------------------------------------------------------------------


def test_gauge_and_shapes(well_posed, seed):
    X, y, _ = well_posed()
    net = ReLUNetRecovery(random_state=seed).fit(X, y)
    (W, A), (b, c) = net.coefs_, net.intercepts_
    assert (W.shape, A.shape, b.shape, c.shape) == ((6, 4), (4, 4), (4,), (4,))
    np.testing.assert_allclose(np.linalg.norm(W, axis=0), 1)
    np.testing.assert_allclose(net.components_, W.T)
    assert np.all(np.diff(np.linalg.norm(A, axis=1)) <= 0)
    assert net.transform(X).shape == (400, 4)
    np.testing.assert_allclose(net.transform(X) @ A + c, net.predict(X))
    assert list(net.get_feature_names_out()) == [f"relunetrecovery{j}" for j in range(4)]


def test_one_output_given_as_vector_or_column(well_posed, seed):
    X, y, _ = well_posed(n=300, d=4, k=2, m=1)
    flat = ReLUNetRecovery(random_state=seed).fit(X, y)
    column = ReLUNetRecovery(random_state=seed).fit(X, y[:, None])
    assert flat.predict(X).shape == (300,) and column.predict(X).shape == (300, 1)
    np.testing.assert_array_equal(flat.coefs_[1], column.coefs_[1])


def test_to_mlp_predicts_the_same(well_posed, seed):
    X, y, _ = well_posed()
    net = ReLUNetRecovery(random_state=seed).fit(X, y)
    np.testing.assert_allclose(net.to_mlp().predict(X), net.predict(X), atol=1e-12)
    one = ReLUNetRecovery(random_state=seed).fit(X, y[:, :2].sum(axis=1))
    assert one.to_mlp().predict(X).shape == (400,)


def test_unscale_gives_weights_in_original_units(well_posed, rng, seed):
    X, y, _ = well_posed()
    X = X * rng.uniform(0.1, 10, 6) + rng.randn(6)
    scaler, y_scaler = StandardScaler().fit(X), StandardScaler().fit(y)
    net = ReLUNetRecovery(random_state=seed).fit(scaler.transform(X), y_scaler.transform(y))
    (W, A), (b, c) = net.unscale(scaler, y_scaler)
    np.testing.assert_allclose(outputs(X, W, b, A, c), y, atol=1e-9)
    with pytest.raises(ValueError, match="4 columns but the network has 6"):
        net.unscale(y_scaler)


def test_weights_are_frequencies(well_posed, rng, seed):
    X, y, _ = well_posed(n=300, d=3, k=2, m=2, noise=0.1)
    weight = rng.randint(1, 4, 300)
    rows = np.repeat(np.arange(300), weight)
    nets = [
        quiet_fit(ReLUNetRecovery(2, random_state=seed), X, y, sample_weight=weight),
        quiet_fit(ReLUNetRecovery(2, random_state=seed), X[rows], y[rows]),
    ]
    for one, other in zip(
        nets[0].coefs_ + nets[0].coefs_std_, nets[1].coefs_ + nets[1].coefs_std_, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_same_seed_same_bits_and_pickles(well_posed, seed):
    X, y, _ = well_posed(n=300, d=4, k=3, m=1)
    one, other = (ReLUNetRecovery(random_state=seed).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    copy = pickle.loads(pickle.dumps(one))
    assert copy.report_ == one.report_
    assert RecoveryReport.from_dict(json.loads(json.dumps(one.report_.to_dict()))) == one.report_


def test_grid_search_over_the_width_needs_the_recovery_scorer(well_posed, seed):
    X, y, _ = well_posed(n=600, d=3, k=2, m=2, noise=0.05)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), ReLUNetRecovery(noise="gaussian", random_state=0)),
        {"relunetrecovery__n_hidden": [1, 2, 3]},
        scoring=recovery_scorer,
        cv=2,
    )
    assert quiet_fit(search, X, y).best_params_["relunetrecovery__n_hidden"] == 2


def test_solver_that_declines_says_so(well_posed, seed):
    X, y, _ = well_posed(n=300, d=4, k=3, m=1)
    net = ReLUNetRecovery(2, solver="lifted", noise="gaussian", n_init=2, random_state=0)
    quiet_fit(net, X, np.tanh(y))
    assert 'solver="lifted" declined' in net.report_.reason
    assert net.solver_ == "varpro"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "magic"}, "solver"),
        ({"n_hidden": 0}, "n_hidden"),
        ({"noise": "pink"}, "noise"),
        ({"n_init": 0}, "n_init"),
        ({"activation": "tanh"}, "activation"),
    ],
)
def test_illegal_parameters_are_named(rng, parameters, message):
    with pytest.raises(ValueError, match=message):
        ReLUNetRecovery(**parameters).fit(rng.randn(20, 2), rng.randn(20))
