"""SymmetricMomentNet: exact and noisy networks, streams, fallbacks, and what must not succeed."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone

from sklearn_nnrecover import ReLUNetRecovery, SymmetricMomentNet, SymmetricMoments
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.metrics import recovery_error


def orthonormal(rng, rows, columns):
    Q = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))[0]
    return Q if rows >= columns else Q.T


@pytest.fixture
def draw(rng):
    """Samples of a well conditioned network without biases."""

    def samples(n=3000, d=6, k=4, m=4, *, slope=0.0, noise=0.0, bias=0.0, X=None):
        X = rng.standard_normal((n, d)) if X is None else X
        W, A = orthonormal(rng, d, k), orthonormal(rng, k, m)
        T = X @ W + bias
        y = np.where(T > 0, T, slope * T) @ A
        y = y + noise * rng.standard_normal(y.shape)
        return X, y, ([W, A], [np.full(k, float(bias)), np.zeros(m)])

    return samples


def quiet(method, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return method(*args, **kwargs)


def largest_difference(first, second):
    arrays = [*first.coefs_, *first.intercepts_], [*second.coefs_, *second.intercepts_]
    return max(float(np.abs(a - b).max()) for a, b in zip(*arrays, strict=True))


# --- refined ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "m"), [(4, 4), (3, 7), (6, 6), (1, 1), (1, 3)])
def test_noiseless_networks_are_proven(draw, k, m):
    X, y, truth = draw(k=k, m=m)
    net = SymmetricMomentNet(random_state=0).fit(X, y)
    assert (net.report_.status, net.report_.proof, net.solver_) == ("exact", "global", "moments")
    assert net.n_hidden_ == k
    assert recovery_error(net, truth) < 1e-11
    assert not net.coefs_std_[0].any()
    assert not net.intercepts_[0].any() and not net.intercepts_[1].any()
    np.testing.assert_allclose(net.predict(X), y, atol=1e-9)


@pytest.mark.parametrize("slope", [0.1, 0.3, -0.5])
def test_leaky_units_are_proven_locally(draw, slope):
    X, y, truth = draw(slope=slope)
    net = SymmetricMomentNet(negative_slope=slope, random_state=0).fit(X, y)
    assert (net.report_.status, net.report_.proof) == ("exact", "local")
    assert recovery_error(net, truth) < 1e-11
    np.testing.assert_allclose(net.to_mlp().predict(X), y, atol=1e-9)


@pytest.mark.parametrize(("noise", "m"), [(0.1, 4), (0.3, 7)])
def test_noisy_networks_have_error_bars(draw, noise, m):
    X, y, truth = draw(n=4000, m=m, noise=noise)
    net = SymmetricMomentNet(random_state=0).fit(X, y)
    assert (net.report_.status, net.solver_, net.n_hidden_) == ("approximate", "moments", 4)
    order = np.argmax(truth[0][0].T @ net.coefs_[0], axis=1)
    scores = (net.coefs_[0][:, order] - truth[0][0]) / net.coefs_std_[0][:, order]
    # 24 standard normal errors: none beyond 6, and of about the right size.
    assert np.abs(scores).max() < 6
    assert 0.4 < np.sqrt(np.mean(scores**2)) < 2.0


def test_ill_conditioned_input_weights(rng, draw):
    X, _, ((W, A), zeros) = draw(n=10000, d=6, k=6, m=6)
    W = W * np.geomspace(1, 1e-2, 6) @ orthonormal(rng, 6, 6)
    A = A * np.linalg.norm(W, axis=0)[:, None]
    W = W / np.linalg.norm(W, axis=0)
    # The moments may leave no gap; the refinement decides then.
    net = quiet(SymmetricMomentNet(random_state=0).fit, X, np.maximum(X @ W, 0) @ A)
    assert net.report_.status == "exact"
    assert recovery_error(net, ([W, A], zeros)) < 1e-9


def test_float32(draw):
    X, y, _ = draw()
    net = SymmetricMomentNet(random_state=0).fit(X, y)
    single = SymmetricMomentNet(random_state=0).fit(X.astype("f4"), y.astype("f4"))
    assert single.coefs_[0].dtype == single.predict(X.astype("f4")).dtype == np.float32
    assert recovery_error(single, net) < 1e-4


def test_the_order_of_rows_does_not_matter(draw, rng):
    X, y, _ = draw(noise=0.1)
    order = rng.permutation(len(X))
    net = SymmetricMomentNet(random_state=0).fit(X, y)
    assert largest_difference(SymmetricMomentNet(random_state=0).fit(X[order], y[order]), net) == 0


def test_query_labels_mirror_images(rng, draw):
    X = rng.exponential(size=(400, 5))
    X, y, truth = draw(d=5, X=X)
    net = SymmetricMomentNet(
        method="moments",
        n_refits=0,
        random_state=0,
        query=lambda Z: np.maximum(Z @ truth[0][0], 0) @ truth[0][1],
    )
    quiet(net.fit, X, y)
    assert recovery_error(net, truth) < 1e-6
    with pytest.raises(ValueError, match="query must return finite outputs of shape"):
        net.set_params(query=lambda Z: np.zeros(3)).fit(X, y)


# --- the other methods --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["paper", "moments"])
def test_unrefined_methods_claim_nothing(draw, method):
    X, y, truth = draw(n=40000, d=4, k=3, m=4)
    with pytest.warns(RecoveryWarning, match="not refined"):
        net = SymmetricMomentNet(method=method, n_refits=0, random_state=0).fit(X, y)
    assert net.report_.status == "not_recovered"
    assert net.solver_ == method
    assert np.isinf(net.coefs_std_[0]).all()
    assert net.n_hidden_ == 3
    # The printed algorithm rests on one random pair, and is allowed a bad one.
    assert recovery_error(net, truth) < (0.1 if method == "moments" else 3)
    assert net.score(X, y) > (0.95 if method == "moments" else -1)


def test_refits_can_reach_a_proof(draw):
    X, y, truth = draw(n=10000)
    net = SymmetricMomentNet(method="moments", n_refits=12, random_state=0).fit(X, y)
    assert net.report_.status == "exact"
    assert recovery_error(net, truth) < 1e-9


# --- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "slope"), [(0.0, 0.0), (0.3, 0.0), (0.1, -0.4)])
def test_chunks_in_any_order_are_one_fit(draw, rng, noise, slope):
    X, y, _ = draw(m=5, noise=noise, slope=slope)
    settings = {"method": "moments", "negative_slope": slope, "random_state": 0}
    whole = quiet(SymmetricMomentNet(n_refits=0, **settings).fit, X, y)
    chunks = np.array_split(rng.permutation(len(X)), 9)
    net = SymmetricMomentNet(**settings)
    for rows in chunks:
        quiet(net.partial_fit, X[rows], y[rows])
    assert largest_difference(net, whole) < 1e-10
    assert net.moments_.n_rows == len(X)
    sums = [SymmetricMoments().update(X[rows], y[rows]) for rows in chunks[::-1]]
    assert largest_difference(SymmetricMomentNet(**settings).fit_moments(sum(sums)), whole) < 1e-10


def stream(net, X, y, n_passes=12, **kwargs):
    """Passes of refinement until the network is judged."""
    for _ in range(n_passes):
        for rows in np.array_split(np.arange(len(X)), 6):
            net.refine_partial(X[rows], y[rows])
        quiet(net.refine_step)
        if net.report_.status != "not_recovered":
            break
    return net


def test_streamed_refinement_is_exact(draw):
    X, y, truth = draw()
    net = stream(SymmetricMomentNet(random_state=0).partial_fit(X, y), X, y)
    assert (net.report_.status, net.report_.proof) == ("exact", "global")
    assert recovery_error(net, truth) < 1e-11
    assert len(net.loss_curve_) == net.n_iter_ >= 2


def test_streamed_refinement_is_that_of_fit(draw):
    X, y, _ = draw(n=6000, m=6, noise=0.2)
    whole = SymmetricMomentNet(random_state=0).fit(X, y)
    net = stream(SymmetricMomentNet(random_state=0).partial_fit(X, y), X, y)
    assert net.report_.status == "approximate"
    for streamed, fitted, spread in zip(net.coefs_, whole.coefs_, whole.coefs_std_, strict=True):
        assert np.all(np.abs(streamed - fitted) < 0.3 * spread)
    for streamed, fitted in zip(net.coefs_std_, whole.coefs_std_, strict=True):
        np.testing.assert_allclose(streamed, fitted, rtol=0.02)
    assert net.loss_ == pytest.approx(whole.loss_, rel=1e-4)


def test_a_stream_survives_pickling_between_chunks(draw):
    X, y, _ = draw()
    net = SymmetricMomentNet(random_state=0).partial_fit(X[:1500], y[:1500])
    net = pickle.loads(pickle.dumps(net)).partial_fit(X[1500:], y[1500:])
    assert largest_difference(net, SymmetricMomentNet(random_state=0).partial_fit(X, y)) < 1e-10
    net.refine_partial(X, y)
    other = pickle.loads(pickle.dumps(net)).refine_step()
    assert largest_difference(net.refine_step(), other) == 0


def test_bad_chunks_leave_what_was_accumulated(draw):
    X, y, _ = draw()
    net = SymmetricMomentNet(random_state=0).partial_fit(X, y)
    before, weights = net.moments_.to_dict(), [part.copy() for part in net.coefs_]
    spoiled = X.copy()
    spoiled[-1, -1] = np.nan
    for arguments, message in [
        ((spoiled, y), "contains NaN"),
        ((X[:0], y[:0]), "0 sample"),
        ((X[:, 1:], y), "5 features"),
        ((X, y[:, 1:]), "3 outputs"),
    ]:
        with pytest.raises(ValueError, match=message):
            net.partial_fit(*arguments)
        with pytest.raises(ValueError, match=message):
            net.refine_partial(*arguments)
    for name, value in net.moments_.to_dict().items():
        np.testing.assert_array_equal(value, before[name])
    for part, old in zip(net.coefs_, weights, strict=True):
        np.testing.assert_array_equal(part, old)
    with pytest.raises(ValueError, match="call refine_partial first"):
        net.refine_step()
    assert net.partial_fit(X, y).moments_.n_rows == 2 * len(X)


def test_what_streams_cannot_do(draw, rng):
    X, y, _ = draw()
    for call in ("partial_fit", "fit_moments"):
        arguments = (X, y) if call == "partial_fit" else (SymmetricMoments().update(X, y),)
        with pytest.raises(ValueError, match="no biases"):
            getattr(SymmetricMomentNet(fit_intercept=True), call)(*arguments)
    with pytest.raises(ValueError, match="updated with samples"):
        SymmetricMomentNet().fit_moments(SymmetricMoments())
    with config_context(working_memory=1), pytest.raises(MemoryError, match="use fit"):
        SymmetricMomentNet().partial_fit(rng.standard_normal((50, 60)), rng.randn(50, 5))
    with pytest.raises(ValueError, match="must contain a positive number"):
        SymmetricMomentNet().partial_fit(X, y, np.zeros(len(X)))
    with pytest.warns(RecoveryWarning, match="at most 4"):
        net = SymmetricMomentNet(n_hidden=9, random_state=0).partial_fit(X, y)
    assert net.n_hidden_ == 4
    zeros = quiet(SymmetricMomentNet().partial_fit, np.zeros((5, 3)), np.zeros(5))
    np.testing.assert_array_equal(zeros.predict(np.ones((2, 3))), 0)


def test_fit_after_a_stream_begins_anew(draw):
    X, y, truth = draw()
    net = SymmetricMomentNet(random_state=0).partial_fit(X, 2 * y).fit(X, y)
    assert not hasattr(net, "moments_")
    assert recovery_error(net, truth) < 1e-11


# --- conditions that fail -----------------------------------------------------------------------


def test_asymmetric_inputs_are_told_and_the_network_is_found(rng, draw):
    X, y, truth = draw(X=rng.exponential(size=(1500, 6)) - 0.6)
    with pytest.warns(RecoveryWarning, match="inputs are not symmetric"):
        net = SymmetricMomentNet(random_state=0).fit(X, y)
    assert not net.report_["symmetry of the inputs"].passed
    assert net.report_.status == "exact"
    assert recovery_error(net, truth) < 1e-9


def test_hidden_biases_are_told(draw):
    X, y, truth = draw(bias=0.5, noise=0.01)
    with pytest.warns(RecoveryWarning, match="fit_intercept"):
        net = SymmetricMomentNet(random_state=0).fit(X, y)
    assert net.report_.status == "not_recovered"
    assert not net.intercepts_[0].any()
    net = SymmetricMomentNet(fit_intercept=True, n_hidden=4, random_state=0).fit(X[:800], y[:800])
    assert net.report_.status == "approximate"
    assert recovery_error(net, truth) < 0.1


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_fewer_outputs_than_units_are_searched(draw, noise):
    X, y, truth = draw(n=800, d=4, k=3, m=1, noise=noise)
    net = quiet(SymmetricMomentNet(random_state=0).fit, X, y[:, 0])
    assert net.solver_ != "moments"
    assert "Moments alone could not give the network" in net.report_.reason
    if noise == 0:
        assert net.report_.status == "exact"
        assert recovery_error(net, truth) < 1e-9
    assert net.predict(X).ndim == 1


def test_a_width_beyond_the_outputs_is_searched(draw):
    X, y, truth = draw(n=800, d=4, k=3, m=2)
    net = quiet(SymmetricMomentNet(n_hidden=3, random_state=0).fit, X, y)
    assert "at most 2" in net.report_.reason
    assert net.report_.status == "exact" and recovery_error(net, truth) < 1e-9


def test_other_activations_are_not_recovered(draw, rng):
    X, _, ((W, A), _) = draw()
    y = np.tanh(2 * X @ W) @ A + 0.05 * rng.standard_normal((len(X), 4))
    net = quiet(SymmetricMomentNet(n_hidden=4, random_state=0, n_init=2).fit, X, y)
    assert net.report_.status == "not_recovered"
    assert np.isinf(net.coefs_std_[0]).all()


def test_one_input_has_two_sides_at_most(rng):
    X, A = rng.standard_normal((40, 1)), rng.standard_normal((2, 3))
    y = np.maximum(X * [1, -1], 0) @ A
    net = SymmetricMomentNet(n_hidden=5, random_state=0).fit(X, y)
    assert net.report_.status == "exact" and net.n_hidden_ == 2
    assert "3 of the n_hidden=5 units asked for would be superfluous" in net.report_.reason


def test_outputs_with_an_odd_part_are_those_of_no_wider_network(draw):
    X, _, ((W, A), _) = draw(n=6000)
    with pytest.warns(RecoveryWarning, match="not those of units without biases"):
        net = SymmetricMomentNet(random_state=0).fit(X, np.tanh(2 * X @ W) @ A)
    assert net.report_.status == "not_recovered"
    assert not net.report_["evenness of the outputs"].passed
    assert net.solver_ == "moments"  # no search over widths


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_nothing_is_claimed_of_pure_noise(rng, fit_intercept):
    X, y = rng.standard_normal((300, 5)), rng.standard_normal((300, 2))
    for net in (SymmetricMomentNet(random_state=0), ReLUNetRecovery(random_state=0)):
        quiet(net.set_params(fit_intercept=fit_intercept, n_init=2).fit, X, y)
        assert net.report_.status == "not_recovered"


@pytest.mark.parametrize("n", [5, 9, 14])
def test_few_samples_are_never_exact_and_wrong(draw, n):
    X, y, truth = draw(n=n)
    net = quiet(SymmetricMomentNet(n_hidden=4, random_state=0, n_init=2, max_iter=50).fit, X, y)
    if net.report_.status == "exact":
        assert recovery_error(net, truth) < 1e-6
    assert np.isfinite(net.predict(X)).all()


def test_dependent_outputs_bound_the_width(draw):
    X, y, _ = draw(n=60, d=5, k=1, m=1)
    net = quiet(SymmetricMomentNet(random_state=0).fit, X, np.hstack([y + 0.3, y + 0.3]))
    assert net.report_.status != "exact"
    X, y, _ = draw(n=500, k=2, m=2)
    y = np.hstack([y, y])
    net = quiet(SymmetricMomentNet(n_hidden=3, method="moments", random_state=0).fit, X, y)
    assert "at most 2" in net.report_.reason
    streamed = quiet(SymmetricMomentNet(n_hidden=3, random_state=0).partial_fit, X, y)
    assert streamed.n_hidden_ == 2


def test_inputs_that_are_zero(rng):
    for method in ("paper", "moments", "refined"):
        net = quiet(SymmetricMomentNet(method=method).fit, np.zeros((20, 3)), rng.randn(20, 2))
        assert net.report_.status == "not_recovered" and net.n_hidden_ >= 1
        np.testing.assert_array_equal(net.predict(np.ones((4, 3))), 0)


@pytest.mark.parametrize("kind", ["linear", "zero", "constant column"])
def test_outputs_without_units(rng, draw, kind):
    X, y, _ = draw(n=300)
    net = SymmetricMomentNet(random_state=0)
    if kind == "constant column":
        quiet(net.fit, np.column_stack([X, np.zeros(300)]), y)
        assert net.report_.status == "exact"
        assert not net.coefs_[0][-1].any()
        assert "column 6" in net.report_.reason
        return
    y = X @ rng.standard_normal((6, 2)) if kind == "linear" else np.zeros((300, 2))
    with pytest.warns(RecoveryWarning):
        net.fit(X, y)
    assert net.report_.status == "not_recovered"
    np.testing.assert_allclose(net.predict(X), y, atol=1e-9)


def test_zero_rows_say_nothing(rng, draw):
    X, y, truth = draw(n=500)
    rows = np.r_[np.zeros((3, 6)), X], np.r_[np.zeros((3, 4)), y]
    net = SymmetricMomentNet(random_state=0).fit(*rows)
    assert net.report_.status == "exact"
    assert recovery_error(net, truth) < 1e-10


def test_few_noiseless_samples_are_not_taken_for_noise(draw):
    X, y, truth = draw(n=250, d=5, k=3, m=2)
    net = quiet(SymmetricMomentNet(random_state=0).fit, X, y)
    # Two units with error bars would pass a test of so few samples, and be wrong.
    assert net.report_.status != "approximate"
    assert net.report_.status != "exact" or recovery_error(net, truth) < 1e-9


def test_bad_parameters(draw):
    X, y, _ = draw(n=50)
    for parameters in ({"negative_slope": 1.0}, {"method": "best"}, {"n_refits": -1}, {"query": 3}):
        with pytest.raises(ValueError, match=next(iter(parameters))):
            clone(SymmetricMomentNet()).set_params(**parameters).fit(X, y)


def test_unseen_widths_are_chosen_by_the_moments(seed):
    X, y, truth = make_relu_network(
        6000, 8, n_hidden=3, n_outputs=6, bias=False, noise=0.1, random_state=seed
    )
    net = quiet(SymmetricMomentNet(random_state=0).fit, X, y)
    if net.report_.status == "approximate":
        assert net.n_hidden_ == 3
        assert recovery_error(net, truth) < 0.5
