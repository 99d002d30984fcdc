"""Real factors behind noise, and in single precision: what is found, claimed, and refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import config_context

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.noisy.entry_errors import entry_errors
from sklearn_nnrecover.products.noisy.noisy_evidence import agreement_within, noisy_atom_evidence
from sklearn_nnrecover.products.noisy.noisy_two_factors import noisy_two_factors, significance_level
from sklearn_nnrecover.products.noisy.support_least_squares import fit_supports
from sklearn_nnrecover.products.prepared_data import background_noise, noise_of_reals


def planted(seed, noise, n_samples=300, n_features=120, n_hidden=50, n_nonzero=4):
    return make_sparse_product(
        n_samples,
        n_features,
        n_hidden=[n_hidden],
        n_nonzero=n_nonzero,
        values="real",
        noise=noise,
        random_state=seed,
    )


def quiet_fit(X, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return SparseDeepFactorizer(random_state=0, **parameters).fit(X)


def supports(A):
    A = sp.csr_array(A, copy=True)
    A.sort_indices()
    return [tuple(A.indices[a:b]) for a, b in zip(A.indptr[:-1], A.indptr[1:], strict=True)]


def clear_supports(truth, least=0.3):
    """Supports of the atoms without entries so small that noise hides them."""
    D = truth.factors_[1]
    smallest = [np.abs(D.data[a:b]).min() for a, b in zip(D.indptr[:-1], D.indptr[1:], strict=True)]
    return {s for s, size in zip(supports(D), smallest, strict=True) if size > least}


class TestNoiseLevel:
    @pytest.mark.parametrize("noise", [1e-6, 0.01, 0.1])
    def test_found_behind_a_sparse_product(self, seed, noise):
        X, _ = planted(seed, noise)
        assert background_noise(X) == pytest.approx(noise, rel=0.1)

    def test_none_where_most_cells_are_zero(self, seed):
        X, _ = planted(seed, 0.0)
        assert noise_of_reals(X, 2.2e-16) is None
        assert background_noise(X) is None

    def test_rounding_counts_in_single_precision(self, seed):
        X, _ = planted(seed, 0.0)
        noise = noise_of_reals(X, 1.2e-7)
        assert noise.is_rounding
        assert np.abs(X - X.astype(np.float32)).max() <= noise.level

    def test_none_in_pure_noise_and_in_signs(self, rng):
        assert background_noise(rng.standard_normal((200, 100))) is None
        assert background_noise(rng.choice([-1.0, 1.0], (64, 64))) is None


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_the_search_finds_every_clear_support(seed, rng, noise):
    X, truth = planted(seed, noise)
    found = run_to_end(noisy_two_factors(X, background_noise(X), rng=rng))
    missing = clear_supports(truth) - set(supports(found.D))
    assert len(missing) <= 2
    assert found.D.shape[0] <= 53
    residual = X - (found.C @ found.D).toarray()
    # A handful of entries below the noise, or a wrong row, add little to it.
    assert np.median(np.abs(residual)) == pytest.approx(0.6745 * noise, rel=0.05)


def test_the_search_returns_nothing_from_noise(rng):
    X = rng.standard_normal((150, 100))
    found = run_to_end(noisy_two_factors(X, 0.7, rng=rng))
    assert found.D.shape[0] == 0


def test_significance_level_is_two_sided():
    from scipy.stats import norm

    assert 2 * norm.sf(significance_level(1000)) * 1000 == pytest.approx(0.005)


class TestFit:
    @pytest.fixture(params=[0.01, 0.08])
    def problem(self, request, seed):
        X, truth = planted(seed, request.param)
        return X, truth, quiet_fit(X)

    def test_report_and_errors(self, problem):
        _, truth, fitted = problem
        report = fitted.report_
        assert report.status in ("approximate", "partial")
        identified = np.array(report.identified)
        assert identified.mean() > 0.8
        # What is claimed is true, but for entries that the noise hides.
        true = set(supports(truth.factors_[1]))
        clear = clear_supports(truth)
        found = supports(fitted.components_)
        wrong = [s for s, claim in zip(found, identified, strict=True) if claim and s not in true]
        hidden = [s for s in true - clear if s not in found]
        assert len(wrong) <= len(hidden)
        for factor, errors in zip(fitted.factors_, fitted.factors_std_, strict=True):
            np.testing.assert_array_equal(factor.indices, errors.indices)
            np.testing.assert_array_equal(factor.indptr, errors.indptr)
            assert not np.isnan(errors.data).any()
        rows = np.diff(fitted.factors_std_[1].indptr)
        open_rows = np.repeat(~identified, rows)
        assert np.isinf(fitted.factors_std_[1].data[open_rows]).all()
        assert np.isfinite(fitted.factors_std_[1].data[~open_rows]).all()

    def test_as_near_the_truth_as_with_known_supports(self, problem):
        X, truth, fitted = problem
        clean = (truth.factors_[0] @ truth.factors_[1]).toarray()
        told = fit_supports(X, truth.factors_).factors
        ours = np.linalg.norm((fitted.factors_[0] @ fitted.factors_[1]).toarray() - clean)
        best = np.linalg.norm((told[0] @ told[1]).toarray() - clean)
        assert ours < 1.3 * best

    def test_transform_reproduces_the_training_codes(self, problem):
        X, _, fitted = problem
        assert fitted.score(X) > 0.9


def test_same_seed_same_bits(seed):
    X, _ = planted(seed, 0.05, 150, 80, 30)
    one, other = quiet_fit(X), quiet_fit(X)
    for a, b in zip(one.factors_, other.factors_, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_single_precision_is_judged_by_its_rounding(seed):
    X, truth = planted(seed, 0.0)
    single = quiet_fit(X.astype(np.float32))
    assert single.factors_[0].dtype == np.float32
    assert single.n_factors_ == 2
    assert {c[0]: c[3] for c in single.report_.conditions}["error of the product"]
    assert np.mean(single.report_.identified) > 0.9
    claimed = [
        s
        for s, claim in zip(supports(single.components_), single.report_.identified, strict=True)
        if claim
    ]
    assert set(claimed) <= set(supports(truth.factors_[1]))
    if np.all(single.report_.identified):
        assert single.report_.status == "exact"
        assert single.report_.proof == "local"
    finite = single.factors_std_[1].data
    assert set(np.unique(finite)) <= {0.0, np.inf}


def test_noise_on_single_precision_is_noise(seed):
    X, _ = planted(seed, 0.05)
    fitted = quiet_fit(X.astype(np.float32))
    assert fitted.report_.status in ("approximate", "partial")
    finite = fitted.factors_std_[1].data[np.isfinite(fitted.factors_std_[1].data)]
    assert finite.max() > 0


@pytest.mark.parametrize("law", ["gaussian", "laplace", "low rank"])
def test_dense_data_without_sparse_factors_are_refused(rng, law):
    X = {
        "gaussian": lambda: rng.standard_normal((150, 80)),
        "laplace": lambda: rng.laplace(size=(150, 80)),
        "low rank": lambda: rng.standard_normal((150, 5)) @ rng.standard_normal((5, 80)),
    }[law]()
    fitted = quiet_fit(X, method="intersection")
    assert fitted.report_.status == "not_recovered"
    assert fitted.n_factors_ == 1
    assert np.isnan(fitted.factors_std_[0].data).all()


def test_noise_of_another_law_is_no_fit(seed, rng):
    """A few rows of tenfold noise: error bars of one variance would be wrong."""
    X, _ = planted(seed, 0.01, 200, 60, 30)
    X[:20] += 0.1 * rng.standard_normal((20, X.shape[1]))
    assert quiet_fit(X, method="intersection").report_.status == "not_recovered"


def test_too_few_rows_leave_nodes_open(seed):
    X, _ = planted(seed, 0.02, 40, 60, 40, 3)
    fitted = quiet_fit(X, method="intersection")
    assert fitted.report_.status in ("partial", "not_recovered")


def test_fewer_than_three_starts_claim_nothing(seed):
    X, _ = planted(seed, 0.02, 150, 80, 30)
    fitted = quiet_fit(X, method="intersection", n_init=2)
    assert fitted.report_.status == "not_recovered"


def test_evidence_under_noise_is_no_stronger_than_without(seed):
    _, truth = planted(seed, 0.0, 200, 100, 40)
    C, D = (sp.csr_array(F) for F in truth.factors_)
    quiet, noisy = noisy_atom_evidence(C, D, 1e-9), noisy_atom_evidence(C, D, 0.3)
    assert np.all(noisy.log10_accidents >= quiet.log10_accidents - 1e-9)
    assert np.all(noisy.exchange_margin <= quiet.exchange_margin)
    assert agreement_within((C @ D).data, 1e3) == 0.5


def test_a_part_of_another_atom_is_not_claimed(rng):
    """D_2 = D_0 - D_1 within noise: any two of the three explain the third."""
    C = sp.random_array((300, 3), density=0.5, rng=rng, data_sampler=rng.standard_normal).tocsr()
    D = np.zeros((3, 20))
    D[0, :8] = rng.uniform(1, 2, 8)
    D[1, :4] = D[0, :4]
    D[2, 4:8] = D[0, 4:8]
    evidence = noisy_atom_evidence(sp.csr_array(C), sp.csr_array(D), 0.01)
    assert not evidence.identified.any()


def test_errors_of_open_nodes_are_infinite():
    F = [
        sp.csr_array(np.array([[1.0, 2.0], [0.0, 3.0]])),
        sp.csr_array(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])),
    ]
    first, second = entry_errors(F, [np.array([True, False])], [np.full(3, 0.1), np.zeros(3)])
    np.testing.assert_array_equal(first, [0.1, np.inf, np.inf])
    np.testing.assert_array_equal(second, [0.0, 0.0, np.inf])


def test_integer_factors_behind_noise_are_exact_where_identified(seed):
    X, _ = make_sparse_product(200, 100, n_hidden=[40], n_nonzero=4, noise=0.05, random_state=seed)
    fitted = quiet_fit(X)
    assert fitted.scale_std_ > 0
    identified = np.repeat(fitted.report_.identified, np.diff(fitted.components_.indptr))
    assert np.all(fitted.factors_std_[1].data[identified] == 0)
    assert np.all(np.isinf(fitted.factors_std_[1].data[~identified]))


def test_memory_is_refused_or_other_methods_take_over(seed):
    X, _ = planted(seed, 0.05, 150, 80, 30)
    with config_context(working_memory=0.5):
        with pytest.raises(MemoryError, match="working_memory"):
            quiet_fit(X, method="intersection")
        assert quiet_fit(X).report_.status == "not_recovered"
