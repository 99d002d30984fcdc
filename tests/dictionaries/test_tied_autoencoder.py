"""Recovery from any start without hints, honest reports, streams, bad input."""

import copy
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_nnrecover.datasets import make_sparse_codes, make_spherical_mixture
from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.metrics import match_components, mean_correlation, recovery_scorer


def distances(D, truth, signed=True):
    match = match_components(D, truth.components_, signed=signed)
    sign = np.sign(match.cosine)[:, None]
    return np.linalg.norm(sign * D[match.permutation] - truth.components_, axis=1)


def quiet_fit(estimator, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return estimator.fit(X)


class TestRecovery:
    @pytest.mark.parametrize("model", ["sparse", "nonnegative"])
    def test_every_atom_to_rounding(self, rng, model):
        X, truth = make_sparse_codes(
            3000,
            40,
            n_components=60,
            n_nonzero=3,
            nonnegative=model == "nonnegative",
            random_state=rng,
        )
        fitted = TiedAutoencoder(60, model=model, random_state=rng).fit(X)
        assert distances(fitted.components_, truth, signed=model == "sparse").max() < 1e-12
        assert fitted.n_nonzero_coefs_ == 3
        assert (fitted.report_.status, fitted.report_.proof) == ("exact", "local")
        assert all(fitted.report_.identified)
        codes = fitted.transform(X)
        np.testing.assert_allclose(fitted.inverse_transform(codes), X, atol=1e-11)
        match = match_components(fitted.components_, truth.components_)
        signs = np.sign(codes[:, match.permutation]) * np.sign(match.cosine)
        assert np.mean(np.all(signs == np.sign(truth.codes.toarray()), axis=1)) > 0.999

    @pytest.mark.parametrize("model", ["sparse", "nonnegative"])
    def test_noise_floor_and_error_bars(self, rng, model):
        n_samples, n, m, k, noise = 4000, 48, 64, 3, 0.05
        X, truth = make_sparse_codes(
            n_samples,
            n,
            n_components=m,
            n_nonzero=k,
            nonnegative=model == "nonnegative",
            noise=noise,
            random_state=rng,
        )
        fitted = TiedAutoencoder(m, model=model, random_state=rng).fit(X)
        assert fitted.report_.status == "approximate"
        floor = noise * np.sqrt(n * m / (n_samples * k * 13 / 12))
        error = distances(fitted.components_, truth)
        assert error.mean() < 1.15 * floor
        match = match_components(fitted.components_, truth.components_)
        deviation = (
            np.sign(match.cosine)[:, None] * fitted.components_[match.permutation]
            - truth.components_
        ) / fitted.components_std_[match.permutation]
        assert np.mean(np.abs(deviation) < 1.96) == pytest.approx(0.95, abs=0.02)
        assert fitted.noise_std_ == pytest.approx(noise, rel=0.05)

    @pytest.mark.parametrize("k", [1, 2, 5])
    def test_sparsity_is_found(self, rng, k):
        X, truth = make_sparse_codes(
            4000, 50, n_components=50, n_nonzero=k, noise=0.04, random_state=rng
        )
        fitted = TiedAutoencoder(random_state=rng).fit(X)
        assert fitted.n_nonzero_coefs_ == k
        assert mean_correlation(fitted.components_, truth.components_) > 0.99

    @pytest.mark.parametrize("encoder", ["threshold", "relu", "jumprelu", "top-k"])
    def test_other_encoders(self, rng, encoder):
        X, truth = make_sparse_codes(
            2000, 80, n_components=50, n_nonzero=2, nonnegative=True, noise=0.02, random_state=rng
        )
        fitted = TiedAutoencoder(
            50, model="nonnegative", encoder=encoder, stability=False, random_state=rng
        )
        quiet_fit(fitted, X)
        assert np.mean(distances(fitted.components_, truth, signed=False) < 0.14) >= 0.97
        codes = fitted.transform(X)
        match = match_components(fitted.components_, truth.components_)
        true = truth.codes.toarray() != 0
        wrong = np.mean((codes[:, match.permutation] != 0) != true)
        # Crosstalk misleads an encoder whatever its atoms: compare with the true ones.
        oracle = copy.deepcopy(fitted)
        oracle.components_ = truth.components_
        assert wrong < 0.01
        assert wrong < 1.25 * np.mean((oracle.transform(X) != 0) != true) + 1e-3
        assert codes.min() >= 0

    def test_gradient_update(self, rng):
        X, truth = make_sparse_codes(
            2000, 60, n_components=40, n_nonzero=2, noise=0.02, random_state=rng
        )
        fitted = TiedAutoencoder(
            40, n_nonzero_coefs=2, encoder="top-k", update="gradient", random_state=rng
        ).fit(X)
        assert mean_correlation(fitted.components_, truth.components_) > 0.97

    @pytest.mark.parametrize("init", ["random", "spectral", "array"])
    def test_any_start(self, rng, init):
        X, truth = make_sparse_codes(3000, 40, n_components=50, n_nonzero=2, random_state=rng)
        start = rng.standard_normal((50, 40)) if init == "array" else init
        fitted = TiedAutoencoder(50, init=start, random_state=rng).fit(X)
        assert distances(fitted.components_, truth).max() < 1e-10

    @pytest.mark.parametrize("law", ["uniform", "normal"])
    @pytest.mark.parametrize("noise", [0.0, 0.03])
    def test_variable_sparsity(self, rng, law, noise):
        """Every atom is active by itself: samples have from none to a dozen of them."""
        _, truth = make_sparse_codes(6000, 64, n_components=80, n_nonzero=3, random_state=rng)
        values = rng.uniform(0.5, 1.5, (6000, 80)) * rng.choice([-1, 1], (6000, 80))
        if law == "normal":
            values = rng.standard_normal((6000, 80))
        codes = np.where(rng.rand(6000, 80) < 3 / 80, values, 0)
        X = codes @ truth.components_ + noise * rng.standard_normal((6000, 64))
        fitted = quiet_fit(TiedAutoencoder(80, random_state=rng), X)
        assert mean_correlation(fitted.components_, truth.components_) > 0.97
        match = match_components(fitted.components_, truth.components_)
        claimed = np.array(fitted.report_.identified)
        allowed = 8 * np.linalg.norm(fitted.components_std_, axis=1) + 1e-12
        away = distances(fitted.components_, truth)
        assert np.all(away[claimed[match.permutation]] <= allowed.max())
        if law == "uniform":
            found = fitted.transform(X)[:, match.permutation] != 0
            assert np.mean(np.all(found == (codes != 0), axis=1)) > 0.8

    def test_single_precision(self, rng):
        X, truth = make_sparse_codes(2000, 32, n_components=40, n_nonzero=2, random_state=rng)
        fitted = TiedAutoencoder(40, random_state=rng).fit(X.astype(np.float32))
        assert fitted.components_.dtype == np.float32
        assert distances(fitted.components_, truth).max() < 1e-5
        assert fitted.report_.status == "exact"

    def test_centring(self, rng):
        X, truth = make_sparse_codes(
            4000, 30, n_components=30, n_nonzero=2, noise=0.03, random_state=rng
        )
        shift = 50 * rng.standard_normal(30)
        fitted = TiedAutoencoder(center=True, random_state=rng).fit(X + shift)
        assert mean_correlation(fitted.components_, truth.components_) > 0.99
        restored = fitted.inverse_transform(fitted.transform(X + shift))
        assert np.abs(restored - X - shift).mean() < 0.1


class TestMixture:
    def test_every_mean(self, rng):
        X, y, truth = make_spherical_mixture(
            3000, 30, n_components=25, norm=2.0, noise=0.15, random_state=rng
        )
        fitted = TiedAutoencoder(25, model="mixture", random_state=rng).fit(X)
        assert distances(fitted.components_, truth, signed=False).max() < 0.3
        assert fitted.report_.status == "approximate"
        match = match_components(fitted.components_, truth.components_, signed=False)
        assert np.mean(match.permutation[y] == fitted.predict(X)) > 0.999
        codes = fitted.transform(X)
        np.testing.assert_array_equal(codes.argmax(axis=1), fitted.predict(X))
        np.testing.assert_array_equal(codes.sum(axis=1), 1)

    def test_error_bars(self, rng):
        X, _, truth = make_spherical_mixture(3000, 30, n_components=6, noise=0.1, random_state=rng)
        fitted = TiedAutoencoder(6, model="mixture", random_state=rng).fit(X)
        match = match_components(fitted.components_, truth.components_, signed=False)
        deviation = (fitted.components_[match.permutation] - truth.components_) / (
            fitted.components_std_[match.permutation]
        )
        assert np.mean(np.abs(deviation) < 1.96) == pytest.approx(0.95, abs=0.07)

    def test_points_are_exact(self, rng):
        centres = rng.standard_normal((5, 4))
        X = centres[rng.randint(5, size=300)]
        fitted = TiedAutoencoder(5, model="mixture", random_state=rng).fit(X)
        assert (fitted.report_.status, fitted.report_.proof) == ("exact", "global")
        assert fitted.score(X) == pytest.approx(1)

    def test_too_few_components_are_seen(self, rng):
        X, _, _ = make_spherical_mixture(2000, 10, n_components=6, noise=0.1, random_state=rng)
        with pytest.warns(RecoveryWarning, match="not spherical"):
            fitted = TiedAutoencoder(4, model="mixture", random_state=rng).fit(X)
        assert fitted.report_.status == "not_recovered"

    def test_predict_is_for_mixtures_only(self, rng):
        assert not hasattr(TiedAutoencoder(), "predict")
        assert hasattr(TiedAutoencoder(model="mixture"), "predict")


class TestHonesty:
    def test_white_noise_is_not_recovered(self, rng):
        with pytest.warns(RecoveryWarning, match="halves"):
            fitted = TiedAutoencoder(random_state=rng).fit(rng.standard_normal((300, 12)))
        assert fitted.report_.status == "not_recovered"

    def test_too_few_samples_are_not_exact(self, rng):
        X, _ = make_sparse_codes(60, 32, n_components=48, n_nonzero=3, random_state=rng)
        fitted = quiet_fit(TiedAutoencoder(48, random_state=rng), X)
        assert fitted.report_.status in ("partial", "not_recovered")

    def test_one_atom_per_sample_proves_nothing(self, rng):
        """As many atoms as samples reproduce anything."""
        X = rng.standard_normal((40, 12))
        fitted = quiet_fit(TiedAutoencoder(40, n_nonzero_coefs=1, random_state=rng), X)
        assert fitted.report_.status != "exact"
        assert not any(fitted.report_.identified)

    def test_too_many_atoms_are_partial(self, rng):
        X, truth = make_sparse_codes(1500, 24, n_components=20, n_nonzero=2, random_state=rng)
        with pytest.warns(RecoveryWarning, match="not determined"):
            fitted = TiedAutoencoder(26, random_state=rng).fit(X)
        assert fitted.report_.status == "partial"
        known = np.array(fitted.report_.identified)
        cosine = np.abs(fitted.components_[known] @ truth.components_.T).max(axis=1)
        assert known.sum() >= 10
        assert cosine.min() > 0.99

    def test_too_few_atoms_are_not_recovered(self, rng):
        X, _ = make_sparse_codes(
            3000, 24, n_components=30, n_nonzero=2, noise=0.02, random_state=rng
        )
        with pytest.warns(RecoveryWarning, match="n_components"):
            fitted = TiedAutoencoder(20, n_nonzero_coefs=2, random_state=rng).fit(X)
        assert fitted.report_.status == "not_recovered"

    def test_two_atoms_that_always_meet_are_not_claimed(self, rng):
        _, truth = make_sparse_codes(3000, 24, n_components=20, n_nonzero=2, random_state=rng)
        codes = truth.codes.toarray()
        rows = (codes[:, 0] != 0) | (codes[:, 1] != 0)
        codes[rows] = 0
        codes[np.ix_(rows, [0, 1])] = rng.standard_normal((rows.sum(), 2))
        fitted = quiet_fit(TiedAutoencoder(20, random_state=rng), codes @ truth.components_)
        assert fitted.report_.status != "exact"

    def test_nothing_is_claimed_without_comparison(self, rng):
        X, truth = make_sparse_codes(3000, 40, n_components=50, n_nonzero=2, random_state=rng)
        with pytest.warns(RecoveryWarning, match="stability"):
            fitted = TiedAutoencoder(50, stability=False, random_state=rng).fit(X)
        assert mean_correlation(fitted.components_, truth.components_) > 0.9999
        assert fitted.report_.status == "not_recovered"

    def test_more_atoms_than_samples_warn(self, rng):
        with pytest.warns(RecoveryWarning, match="fewer samples"):
            TiedAutoencoder(30, random_state=rng).fit(rng.standard_normal((20, 8)))


class TestStream:
    def test_batches_reach_the_fit(self, rng):
        X, truth = make_sparse_codes(
            24_000, 32, n_components=40, n_nonzero=2, noise=0.05, random_state=rng
        )
        fitted = TiedAutoencoder(40, random_state=rng)
        for batch in np.split(X, 24):
            fitted.partial_fit(batch)
        error = distances(fitted.components_, truth)
        floor = 0.05 * np.sqrt(32 * 40 / (24_000 * 2 * 13 / 12))
        assert error.mean() < 1.3 * floor
        assert fitted.report_.status == "approximate"
        assert fitted.n_iter_ == 24
        whole = TiedAutoencoder(40, stability=False, random_state=rng)
        quiet_fit(whole, X)
        match = match_components(fitted.components_, whole.components_)
        assert np.abs(match.cosine).min() > 0.999

    def test_fit_begins_anew_and_partial_fit_after_it(self, rng):
        X, _ = make_sparse_codes(1200, 16, n_components=16, n_nonzero=2, random_state=rng)
        fitted = TiedAutoencoder(random_state=0).fit(X)
        again = clone(fitted).partial_fit(X[:400]).fit(X)
        np.testing.assert_array_equal(again.components_, fitted.components_)
        again.partial_fit(X[:400])
        assert again.n_iter_ == 1

    def test_mixture_has_no_stream(self, rng):
        with pytest.raises(ValueError, match="one piece"):
            TiedAutoencoder(2, model="mixture").partial_fit(rng.standard_normal((30, 4)))


class TestShell:
    @pytest.fixture
    def problem(self, rng):
        X, truth = make_sparse_codes(
            800, 20, n_components=24, n_nonzero=2, noise=0.02, random_state=rng
        )
        return X, truth

    def test_sparse_input_and_output(self, problem):
        X, _ = problem
        X = np.where(np.abs(X) > 0.1, X, 0)
        dense = quiet_fit(TiedAutoencoder(24, random_state=0), X)
        fitted = quiet_fit(TiedAutoencoder(24, sparse_output=True, random_state=0), sp.csr_array(X))
        np.testing.assert_allclose(fitted.components_, dense.components_, atol=1e-12)
        codes = fitted.transform(sp.csr_array(X))
        assert sp.issparse(codes)
        assert codes.format == "csr"
        np.testing.assert_allclose(codes.toarray(), dense.transform(X), atol=1e-10)
        np.testing.assert_allclose(
            fitted.inverse_transform(codes), dense.inverse_transform(dense.transform(X)), atol=1e-9
        )
        assert fitted.score(sp.csr_array(X)) == pytest.approx(dense.score(X))

    def test_threads_change_nothing(self, problem):
        X, _ = problem
        fitted = TiedAutoencoder(24, random_state=0).fit(X)
        single = fitted.transform(X)
        np.testing.assert_allclose(fitted.set_params(n_jobs=2).transform(X), single, atol=1e-12)

    def test_gauge(self, problem):
        X, _ = problem
        fitted = TiedAutoencoder(24, random_state=0).fit(X)
        D = fitted.components_
        np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1)
        assert np.all(D[np.arange(24), np.abs(D).argmax(axis=1)] > 0)
        energy = [unit["energy"] for unit in fitted.report_.units]
        assert energy == sorted(energy, reverse=True)

    @pytest.mark.parametrize("model", ["sparse", "nonnegative"])
    def test_warm_start_begins_where_it_was(self, rng, model):
        """Atoms that explain the data are not explored again: warm <= cold steps."""
        X, _ = make_sparse_codes(
            800,
            20,
            n_components=24,
            n_nonzero=2,
            noise=0.02,
            nonnegative=model == "nonnegative",
            random_state=rng,
        )
        fitted = TiedAutoencoder(24, model=model, warm_start=True, stability=False, random_state=0)
        cold = quiet_fit(fitted, X).n_iter_
        before = fitted.components_
        warm = quiet_fit(fitted, X).n_iter_
        assert np.abs(fitted.components_ - before).max() < 1e-3
        assert warm <= cold

    def test_warm_start_explores_where_its_atoms_do_not_explain(self, rng):
        X, _ = make_sparse_codes(1500, 20, n_components=20, random_state=rng)
        Y, truth = make_sparse_codes(1500, 20, n_components=20, random_state=rng)
        fitted = TiedAutoencoder(20, warm_start=True, stability=False, random_state=0)
        quiet_fit(quiet_fit(fitted, X), Y)
        assert mean_correlation(fitted.components_, truth.components_) > 0.99

    def test_given_sparsity_is_kept(self, problem):
        X, _ = problem
        fitted = quiet_fit(TiedAutoencoder(24, n_nonzero_coefs=4, random_state=0), X)
        assert fitted.n_nonzero_coefs_ == 4
        assert np.mean(np.count_nonzero(fitted.transform(X), axis=1) == 4) > 0.99

    @pytest.mark.parametrize("encoder", ["threshold", "omp"])
    def test_given_threshold_is_kept(self, problem, encoder):
        X, _ = problem
        fitted = quiet_fit(
            TiedAutoencoder(24, encoder=encoder, threshold=0.7, stability=False, random_state=0), X
        )
        assert fitted.threshold_ == 0.7
        codes = fitted.transform(X)
        if encoder == "threshold":
            z = X @ fitted.components_.T
            np.testing.assert_allclose(codes, np.where(np.abs(z) > 0.7, z, 0), atol=1e-12)
        else:
            left = np.abs((X - codes @ fitted.components_) @ fitted.components_.T).max(axis=1)
            short = np.count_nonzero(codes, axis=1) < fitted.n_nonzero_coefs_
            assert short.any()
            assert left[short].max() <= 0.7 + 1e-9

    def test_number_of_atoms_is_found_by_description_length(self, rng):
        X, _ = make_sparse_codes(
            800, 20, n_components=12, n_nonzero=2, noise=0.03, random_state=rng
        )
        search = GridSearchCV(
            TiedAutoencoder(random_state=0),
            {"n_components": [10, 12, 14]},
            scoring=recovery_scorer,
            cv=2,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecoveryWarning)
            search.fit(X)
        assert search.best_params_ == {"n_components": 12}

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"n_components": 3, "n_nonzero_coefs": 4}, "n_nonzero_coefs=4 is more than"),
            ({"n_components": 3, "init": np.ones((2, 20))}, r"init has shape \(2, 20\)"),
            ({"model": "mixture", "encoder": "relu"}, "nearest mean"),
            ({"model": "mixture", "n_nonzero_coefs": 2}, "nearest mean"),
        ],
    )
    def test_illegal_parameters(self, problem, parameters, message):
        with pytest.raises(ValueError, match=message):
            TiedAutoencoder(**parameters).fit(problem[0])

    def test_codes_of_another_width(self, problem):
        fitted = quiet_fit(TiedAutoencoder(24, random_state=0), problem[0])
        with pytest.raises(ValueError, match="24 atoms"):
            fitted.inverse_transform(np.ones((2, 5)))

    @pytest.mark.parametrize("scale", [1e-100, 1e-25, 1e25, 1e60])
    @pytest.mark.parametrize("model", ["sparse", "mixture"])
    def test_units_of_the_data_do_not_matter(self, rng, scale, model):
        """Squares of such values do not fit single precision, in which exploring works."""
        if model == "mixture":
            X, _, truth = make_spherical_mixture(
                600, 8, n_components=4, noise=0.1, random_state=rng
            )
        else:
            X, truth = make_sparse_codes(
                1500, 24, n_components=20, n_nonzero=2, noise=0.02, random_state=rng
            )
        m = len(truth.components_)
        plain = TiedAutoencoder(m, model=model, random_state=0).fit(X)
        fitted = TiedAutoencoder(m, model=model, random_state=0).fit(scale * X)
        assert fitted.report_.status == plain.report_.status == "approximate"
        unit = scale if model == "mixture" else 1
        match = match_components(fitted.components_ / unit, plain.components_)
        assert match.cosine.min() > 1 - 1e-4
        assert fitted.noise_std_ == pytest.approx(scale * plain.noise_std_, rel=0.02)
        assert fitted.score(scale * X) == pytest.approx(plain.score(X), abs=0.01)

    @pytest.mark.parametrize("size", [1e200, np.float32(1e30)])
    def test_products_that_overflow_are_refused(self, problem, size):
        X, _ = problem
        fitted = TiedAutoencoder(24, random_state=0).fit(X)
        huge = (X / np.abs(X).max()).astype(np.asarray(size).dtype) * size
        for method in (clone(fitted).fit, clone(fitted).partial_fit, fitted.transform):
            with pytest.raises(ValueError, match="overflow"):
                method(huge)

    def test_memory_is_refused_with_a_figure(self, problem):
        with pytest.raises(MemoryError, match=r"n_components=100000 .* MiB"):
            TiedAutoencoder(100_000).fit(problem[0])

    @pytest.mark.parametrize("model", ["sparse", "nonnegative", "mixture"])
    @pytest.mark.parametrize("kind", ["zeros", "zero rows", "constant column", "one column", "two"])
    def test_degenerate_data_run(self, rng, model, kind):
        X = rng.standard_normal((60, 5))
        if kind == "zeros":
            X[:] = 0
        elif kind == "zero rows":
            X[::2] = 0
        elif kind == "constant column":
            X[:, 2] = 1e3
        elif kind == "one column":
            X = X[:, :1]
        elif kind == "two":
            X = X[:2]
        fitted = quiet_fit(TiedAutoencoder(model=model, random_state=0), X)
        for array in (fitted.components_, fitted.transform(X)):
            assert np.isfinite(array).all()
        assert np.isfinite(fitted.score(X))
        assert np.isfinite(fitted.description_length(X))
        assert fitted.n_iter_ >= 1
