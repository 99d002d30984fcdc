from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import hadamard
from sklearn.model_selection import GridSearchCV

from sklearn_nnrecover.datasets import make_sparse_product, make_structured_product
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import factor_distance, match_components, recovery_scorer, support_f1
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.factor_gauge import normalize_chain
from sklearn_nnrecover.products.peeling import Peel, peel_chain
from sklearn_nnrecover.products.sign_networks import sign_product
from sklearn_nnrecover.products.structures import Basis, Diagonal


def quiet_fit(X, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return SparseDeepFactorizer(random_state=0, **parameters).fit(X)


def product(fitted):
    values = fitted.factors_[0]
    for factor in fitted.factors_[1:]:
        values = values @ factor
    return (fitted.scale_ * values).toarray()


class TestTwoFactors:
    @pytest.fixture
    def problem(self, seed):
        return make_sparse_product(
            300, 150, n_hidden=[60], n_nonzero=5, scale=0.37, random_state=seed
        )

    def test_factors_scale_and_report(self, problem):
        X, truth = problem
        fitted = quiet_fit(X)
        np.testing.assert_allclose(product(fitted), X, atol=1e-12)
        assert fitted.scale_ == pytest.approx(0.37, rel=1e-12)
        assert fitted.n_factors_ == 2
        assert support_f1(fitted.components_.T, truth.factors_[1].T) > 0.97
        identified = np.array(fitted.report_.identified)
        assert identified.mean() > 0.95
        assert fitted.report_.status == ("exact" if identified.all() else "partial")
        claimed = fitted.components_.toarray()[identified]
        match = match_components(claimed, truth.factors_[1].toarray())
        assert np.all(np.abs(match.cosine) > 1 - 1e-12)

    def test_sparse_input_gives_the_same_factors(self, problem):
        X, _ = problem
        dense, sparse = quiet_fit(X), quiet_fit(sp.csr_matrix(X))
        for a, b in zip(dense.factors_, sparse.factors_, strict=True):
            assert abs(a - b).sum() == 0

    def test_new_samples_are_coded_exactly(self, problem, rng):
        X, _truth = problem
        fitted = quiet_fit(X)
        codes = rng.randint(-2, 3, size=(20, fitted.factors_[1].shape[0])).astype(float)
        np.testing.assert_allclose(
            fitted.transform(fitted.inverse_transform(codes)), codes, atol=1e-9
        )
        np.testing.assert_allclose(fitted.transform(X), fitted.factors_[0].toarray(), atol=1e-9)
        assert fitted.score(X) == pytest.approx(1)

    def test_gauge(self, problem):
        fitted = quiet_fit(problem[0])
        normal, _ = normalize_chain(fitted.factors_)
        for a, b in zip(fitted.factors_, normal, strict=True):
            assert abs(a - b).max() < 1e-12

    def test_sparse_output_and_operator(self, problem, rng):
        X, _ = problem
        fitted = quiet_fit(X, sparse_output=True)
        assert sp.issparse(fitted.transform(X))
        x = rng.standard_normal(X.shape[1])
        np.testing.assert_allclose(fitted.as_linear_operator() @ x, X @ x, atol=1e-9)
        layers = fitted.as_linear_operator(first=1)
        assert layers.shape == (fitted.factors_[1].shape[0], X.shape[1])


def test_noise_is_rounded_away(seed):
    X, truth = make_sparse_product(
        800, 400, n_hidden=[200], n_nonzero=5, noise=0.08, scale=2.5, random_state=seed
    )
    fitted = quiet_fit(X)
    assert fitted.report_.status in ("approximate", "partial")
    assert fitted.report_["lack of fit"].value >= 0
    assert abs(fitted.scale_ - 2.5) < 6 * fitted.scale_std_
    assert support_f1(fitted.components_.T, truth.factors_[1].T) > 0.97


def test_low_rank_with_dense_codes(seed, rng):
    truth = make_sparse_product(40, 90, n_hidden=[40], n_nonzero=3, random_state=seed)[1]
    layer = truth.factors_[1].toarray()
    layer = layer[np.count_nonzero(layer, axis=1) > 0]
    fitted = quiet_fit(rng.standard_normal((200, len(layer))) @ layer)
    assert fitted.n_factors_ == 2
    assert fitted.report_.units[0]["method"] == "information-set"
    assert support_f1(fitted.components_.T, layer.T) > 0.95


def test_a_scrambled_hadamard_matrix_becomes_a_fast_transform(rng):
    X = hadamard(32)[rng.permutation(32)][:, rng.permutation(32)] * rng.choice([-1.0, 1], 32)
    fitted = quiet_fit(X, method="butterfly")
    np.testing.assert_allclose(product(fitted), X, atol=1e-12)
    assert sum(F.nnz for F in fitted.factors_) == 2 * 32 * 5
    assert fitted.report_.status == "partial"


@pytest.mark.parametrize("shape", [(200, 10), (60, 60), (30, 90)], ids=["tall", "square", "wide"])
def test_dense_random_matrices_are_not_recovered(rng, shape):
    X = rng.standard_normal(shape)
    with pytest.warns(RecoveryWarning, match="No sparse factor"):
        fitted = SparseDeepFactorizer(random_state=0).fit(X)
    assert fitted.report_.status == "not_recovered"
    assert fitted.n_factors_ == 1
    np.testing.assert_array_equal(fitted.factors_[0].toarray(), X)
    np.testing.assert_array_equal(fitted.factors_[1].toarray(), np.eye(shape[1]))
    np.testing.assert_array_equal(fitted.transform(X), X)
    np.testing.assert_array_equal(fitted.inverse_transform(X), X)


def test_sparse_matrices_without_structure_are_not_recovered(rng):
    X = rng.choice([-1.0, 0, 1], p=[0.04, 0.92, 0.04], size=(150, 100))
    assert quiet_fit(X, method="intersection").report_.status == "not_recovered"


def test_given_structures(seed, rng):
    # Unknown gains of twelve sensors that see a combination of six known recordings.
    structures = [Diagonal(12), Basis(rng.standard_normal((6, 12, 8)))]
    X, truth = make_structured_product(structures, random_state=seed)
    fitted = quiet_fit(X, structure=structures, certify=True)
    assert fitted.report_.status == "exact"
    assert fitted.n_factors_ == 2
    assert factor_distance(fitted.parameters_, truth.parameters_) < 1e-9
    np.testing.assert_allclose(product(fitted), X, atol=1e-12)


def test_zero_data():
    fitted = quiet_fit(np.zeros((10, 4)))
    assert fitted.report_.status == "not_recovered"
    np.testing.assert_array_equal(fitted.transform(np.zeros((10, 4))), np.zeros((10, 4)))


@pytest.mark.parametrize("n_factors", [1, 0, 2.5, "two"])
def test_at_least_two_factors(n_factors):
    with pytest.raises(ValueError, match="n_factors"):
        SparseDeepFactorizer(n_factors).fit(np.eye(5))


def test_wrong_width_of_codes_is_named(seed):
    X, _ = make_sparse_product(100, 60, n_hidden=[20], n_nonzero=4, random_state=seed)
    fitted = quiet_fit(X)
    with pytest.raises(ValueError, match="codes have 3 columns"):
        fitted.inverse_transform(np.zeros((2, 3)))


def test_zero_rows_and_columns_are_kept(seed):
    X, _ = make_sparse_product(300, 120, n_hidden=[50], n_nonzero=5, random_state=seed)
    X[[3, 50]] = 0
    X[:, [0, 119]] = 0
    fitted = quiet_fit(X)
    np.testing.assert_allclose(product(fitted), X, atol=1e-12)
    assert fitted.n_factors_ == 2


class TestSignNetworks:
    def test_layers_of_a_sparse_sign_network(self, seed):
        _, truth = make_sparse_product(600, 500, n_hidden=[200], n_nonzero=3, random_state=seed)
        factors = [F.sign() for F in truth.factors_]
        X = sign_product(factors).toarray()
        fitted = quiet_fit(X, sign_activation=True)
        assert fitted.report_.status == "partial"
        assert support_f1(fitted.components_.T, factors[1].T) > 0.9
        missed = np.count_nonzero(fitted.inverse_transform(fitted.factors_[0].toarray()) - X)
        assert missed < 0.03 * np.count_nonzero(X)

    def test_other_entries_are_refused_kindly(self):
        with pytest.warns(RecoveryWarning, match="entries -1, 0 and 1"):
            fitted = SparseDeepFactorizer(sign_activation=True).fit(np.arange(20.0).reshape(5, 4))
        assert fitted.n_factors_ == 1


class TestCorrelation:
    def test_white_codes_are_what_the_printed_algorithm_needs(self, seed, rng):
        layer = np.zeros((20, 800))
        for row in layer:
            row[rng.choice(800, 8, replace=False)] = rng.choice([-1.0, 1], 8)
        codes = np.linalg.qr(rng.standard_normal((300, 20)))[0]
        fitted = quiet_fit(codes @ layer, method="correlation")
        assert fitted.n_factors_ == 2
        assert support_f1(fitted.components_.T, layer.T) == 1
        assert not any(fitted.report_.identified)
        assert fitted.report_["spread of the energies of hidden nodes (correlation)"].passed

    def test_sparse_codes_break_its_assumptions(self, seed):
        X, _ = make_sparse_product(500, 400, n_hidden=[350], n_nonzero=4, random_state=seed)
        assert quiet_fit(X, method="correlation").report_.status == "not_recovered"


def test_structure_is_chosen_by_description_length(seed):
    X, _ = make_sparse_product(240, 80, n_hidden=[30], n_nonzero=4, random_state=seed)
    search = GridSearchCV(
        SparseDeepFactorizer(random_state=0),
        {"n_nonzero": [1, 8]},
        scoring=recovery_scorer,
        cv=2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        search.fit(X)
    assert search.best_params_ == {"n_nonzero": 8}


class TestPeeling:
    def test_both_ends_are_tried(self, rng):
        Z = rng.standard_normal((9, 3))
        F = sp.csr_array(np.hstack([np.eye(3), np.ones((3, 4))]))

        def last_columns_are_zero(Y, *, n_nonzero, rng):
            dense = Y.toarray() if sp.issparse(Y) else Y
            if dense.shape[1] != 7:
                return None
            return Peel(F, dense[:, :3], np.ones(3, dtype=bool), [])

        for X, end in ((Z @ F, "features"), ((Z @ F).T, "samples")):
            chain = run_to_end(peel_chain(X, {"stub": last_columns_are_zero}, rng=rng))
            assert [link.end for link in chain.links] == [end]
            np.testing.assert_array_equal((chain.factors[0] @ chain.factors[1]).toarray(), X)

    def test_peels_that_do_not_reproduce_are_refused(self, rng):
        X = rng.standard_normal((8, 6))

        def wrong(Y, *, n_nonzero, rng):
            k = min(Y.shape) - 1
            return Peel(sp.csr_array(np.eye(k, Y.shape[1])), Y[:, :k], np.ones(k, dtype=bool), [])

        chain = run_to_end(peel_chain(X, {"wrong": wrong}, rng=rng))
        assert len(chain.factors) == 1
        assert not chain.links
