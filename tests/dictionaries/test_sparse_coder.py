"""Codes, reconstructions and scores of atoms that are given, not learned."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries._sparse_coder import SparseCoderMixin
from sklearn_nnrecover.dictionaries.encoders import CodeRule


class GivenAtoms(SparseCoderMixin, BaseEstimator):
    """Fitted without learning."""

    def __init__(self, model="sparse", center=False, sparse_output=False, n_jobs=None):
        self.model = model
        self.center = center
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs

    def fit(self, D, rule, mean=0.0, dtype=np.float64):
        X = self._validate_samples(np.zeros((2, D.shape[1]), dtype), reset=True)
        self.components_ = D.astype(X.dtype)
        self.n_components_ = self._n_features_out = len(D)
        self.mean_ = np.zeros(D.shape[1]) + mean
        self._rule = rule
        return self


@pytest.fixture
def problem(rng):
    X, truth = make_sparse_codes(700, 20, n_components=24, n_nonzero=2, random_state=rng)
    return X, truth.components_, truth.codes.toarray()


def test_codes_of_the_true_atoms(problem):
    X, D, codes = problem
    coder = GivenAtoms().fit(D, CodeRule("omp", 2, search_above=1e-20))
    found = coder.transform(X)
    assert np.mean(np.abs(found - codes).max(axis=1) < 1e-10) > 0.99
    np.testing.assert_allclose(coder.inverse_transform(codes), X, atol=1e-12)
    assert coder.score(X) > 0.99
    assert coder.get_feature_names_out().tolist() == [f"givenatoms{j}" for j in range(24)]


def test_wrong_atoms_score_worse(rng, problem):
    X, D, _ = problem
    other = rng.standard_normal(D.shape)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    rule = CodeRule("omp", 2, search_above=1e-20)
    right, wrong = GivenAtoms().fit(D, rule), GivenAtoms().fit(other, rule)
    assert wrong.score(X) < 0.9 < right.score(X)
    assert wrong.description_length(X) > right.description_length(X)


def test_score_is_the_share_of_variance(rng, problem):
    X, D, _ = problem
    X = X + 0.1 * rng.standard_normal(X.shape) + 1.0
    for center in (False, True):
        coder = GivenAtoms(center=center).fit(D, CodeRule("omp", 3), X.mean(axis=0))
        left = np.sum((X - coder.inverse_transform(coder.transform(X))) ** 2)
        expected = 1 - left / np.sum((X - X.mean(axis=0)) ** 2)
        assert coder.score(X) == pytest.approx(expected, rel=1e-10)


def test_constant_samples_have_a_score(problem):
    _, D, _ = problem
    coder = GivenAtoms().fit(D, CodeRule("omp", 1))
    assert coder.score(np.zeros((3, 20))) == 1
    assert coder.score(np.repeat(3 * D[:1], 5, axis=0)) == 1
    assert coder.score(np.repeat(D[:1] + D[1:2], 3, axis=0)) == 0


@pytest.mark.parametrize("kind", ["dense", "csr", "memory map"])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_rows_are_coded_alone(tmp_path, problem, kind, n_jobs):
    """However X is stored, ordered or shared among threads."""
    X, D, _ = problem
    X = np.where(np.abs(X) > 0.2, X, 0)
    rule = CodeRule("omp", 4, threshold=0.1)
    coder = GivenAtoms(sparse_output=True, n_jobs=n_jobs).fit(D, rule)
    alone = np.vstack([coder.transform(x[None]).toarray() for x in X[:50]])
    if kind == "csr":
        given = sp.csr_array(X)
    elif kind == "memory map":
        np.save(tmp_path / "X.npy", X)
        given = np.load(tmp_path / "X.npy", mmap_mode="r")
    else:
        given = X
    codes = coder.transform(given)
    assert sp.issparse(codes)
    assert codes.format == "csr"
    assert codes.shape == (700, 24)
    np.testing.assert_allclose(codes[:50].toarray(), alone, atol=1e-12)
    backwards = coder.transform(X[::-1].copy())
    np.testing.assert_allclose(backwards.toarray()[::-1], codes.toarray(), atol=1e-12)
    assert coder.score(given) == pytest.approx(coder.score(X), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_number_of_threads_changes_no_bit(problem, monkeypatch, dtype):
    monkeypatch.setattr("sklearn_nnrecover.dictionaries._sparse_coder.MAX_ROWS", 90)
    X, D, _ = problem
    coder = GivenAtoms().fit(D, CodeRule("omp", 4, search_above=1e-20), dtype=dtype)
    codes = [coder.set_params(n_jobs=n).transform(X.astype(dtype)) for n in (None, 1, 2, 3, 7)]
    for other in codes[1:]:
        np.testing.assert_array_equal(codes[0], other)


def test_more_threads_than_rows(problem):
    X, D, _ = problem
    coder = GivenAtoms(n_jobs=4).fit(D, CodeRule("omp", 2))
    np.testing.assert_allclose(
        coder.transform(X[:2]), coder.set_params(n_jobs=1).transform(X[:2]), atol=1e-12
    )


def test_single_precision_in_and_out(problem):
    X, D, _ = problem
    X = X.astype(np.float32)
    coder = GivenAtoms().fit(D, CodeRule("omp", 2), dtype=np.float32)
    codes = coder.transform(X)
    assert codes.dtype == coder.inverse_transform(codes).dtype == np.float32


def test_the_mixture_has_labels(rng):
    means = 5 * rng.standard_normal((4, 3))
    labels = rng.randint(4, size=50)
    coder = GivenAtoms(model="mixture").fit(means, CodeRule("omp", 1))
    X = means[labels] + 1e-3 * rng.standard_normal((50, 3))
    np.testing.assert_array_equal(coder.predict(X), labels)
    np.testing.assert_array_equal(coder.transform(X), np.eye(4)[labels])
    assert not hasattr(coder.set_params(model="sparse"), "predict")


def test_what_is_refused(problem):
    X, D, _ = problem
    with pytest.raises(NotFittedError):
        GivenAtoms().transform(X)
    coder = GivenAtoms().fit(D, CodeRule("omp", 2))
    with pytest.raises(ValueError, match="24 atoms"):
        coder.inverse_transform(np.ones((2, 23)))
    with pytest.raises(ValueError, match="features"):
        coder.transform(X[:, 1:])
    with pytest.raises(ValueError, match="NaN"):
        coder.transform(np.full((2, 20), np.nan))
    with pytest.raises(ValueError, match="0 sample"):
        coder.transform(X[:0])


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e60])
def test_scores_of_samples_in_any_units(rng, problem, scale):
    """Squares of tiny samples would vanish, and nothing reproduced would pass for all."""
    X, D, _ = problem
    X = X + 0.1 * rng.standard_normal(X.shape)
    coder = GivenAtoms().fit(D, CodeRule("omp", 2))
    assert coder.score(scale * X) == pytest.approx(coder.score(X), rel=1e-6)
    length = coder.description_length(X) + 20 * np.log(scale)
    assert coder.description_length(scale * X) == pytest.approx(length, rel=1e-6)
    blind = GivenAtoms().fit(D, CodeRule("threshold", 2, 1e200))
    assert blind.score(scale * X) < 0.01


@pytest.mark.parametrize("encoder", ["threshold", "relu", "jumprelu", "top-k", "omp"])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_hostile_samples(problem, encoder, nonnegative):
    """Rows of zeros, one row, nothing above the threshold, any memory layout, long supports."""
    X, D, _ = problem
    threshold = np.full(24, 0.5) if encoder == "jumprelu" else 0.5
    rule = CodeRule(encoder, 20, threshold, nonnegative)
    coder = GivenAtoms().fit(D, rule)
    X = X[:60].copy()
    X[::7] = 0
    X[1::7] *= 1e-3
    X.flags.writeable = False
    codes = coder.transform(X)
    assert np.isfinite(codes).all()
    assert not codes[::7].any()
    if encoder != "top-k":
        assert not codes[1::7].any()
    for view in (
        np.asfortranarray(X),
        np.repeat(X, 2, axis=1)[:, ::2],
        X.astype(">f8"),
        X.tolist(),
    ):
        np.testing.assert_allclose(coder.transform(view), codes, atol=1e-12)
    np.testing.assert_allclose(coder.transform(X[4:5]), codes[4:5], atol=1e-12)
    assert coder.score(X[:1]) == 1
    frame = coder.set_output(transform="pandas").transform(X)
    np.testing.assert_array_equal(frame.to_numpy(), codes)
    np.testing.assert_allclose(coder.inverse_transform(frame), codes @ D, atol=1e-12)
    for layout in (sp.csr_array, sp.csc_array, sp.csr_matrix):
        X_back = coder.inverse_transform(layout(codes))
        assert type(X_back) is np.ndarray
        np.testing.assert_allclose(X_back, codes @ D, atol=1e-12)
