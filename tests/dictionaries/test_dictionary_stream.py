"""`partial_fit`: batches of any size, what is kept between them, and when it warns."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.dictionaries.online_learning import samples_wanted
from sklearn_nnrecover.dictionaries.stability import matched_distances
from sklearn_nnrecover.exceptions import RecoveryWarning


@pytest.fixture
def problem(rng):
    return make_sparse_codes(8000, 32, n_components=40, n_nonzero=2, noise=0.05, random_state=rng)


def test_small_batches_find_every_atom(problem, rng):
    """Too few samples an atom would leave some that are never found."""
    X, truth = problem
    fitted = TiedAutoencoder(40, random_state=rng)
    for batch in np.split(X[:4000], 200):
        fitted.partial_fit(batch)
    assert matched_distances(fitted.components_, truth.components_).max() < 0.14
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 200
    assert fitted.loss_curve_[-20:].mean() == pytest.approx(0.05**2 * 30, rel=0.3)


def test_attributes_stand_still_while_samples_are_gathered(problem):
    X, _ = problem
    fitted = TiedAutoencoder(40, random_state=0).partial_fit(X[:30])
    before, report = fitted.components_.copy(), fitted.report_
    assert samples_wanted([], 40) == 640
    for start in range(30, 630, 60):
        fitted.partial_fit(X[start : start + 60])
    assert fitted.report_ is report
    np.testing.assert_array_equal(fitted.components_, before)
    fitted.partial_fit(X[630:640])
    assert np.abs(fitted.components_ - before).max() > 0.1
    begun = fitted.components_.copy()
    fitted.partial_fit(X[640:700])
    np.testing.assert_array_equal(fitted.components_, begun)


def test_what_is_gathered_is_copied(problem):
    X, _ = problem
    fitted = [TiedAutoencoder(40, random_state=0) for _ in range(2)]
    buffer = np.empty((100, 32))
    for start in range(0, 700, 100):
        fitted[0].partial_fit(X[start : start + 100])
        buffer[:] = X[start : start + 100]
        fitted[1].partial_fit(buffer)
        buffer[:] = np.pi
    np.testing.assert_array_equal(fitted[0].components_, fitted[1].components_)


def test_the_mean_is_that_of_the_samples_it_begins_with(problem):
    X, _ = problem
    fitted = TiedAutoencoder(40, center=True, random_state=0)
    for batch in np.split(X[:700] + 3.0, 7):
        fitted.partial_fit(batch)
    np.testing.assert_allclose(fitted.mean_, X[:700].mean(axis=0) + 3, atol=1e-12)


def test_sparse_batches(problem):
    X, _ = problem
    X = np.where(np.abs(X) > 0.1, X, 0)
    fitted = [TiedAutoencoder(40, random_state=0) for _ in range(2)]
    for batch in np.split(X[:1500], 3):
        fitted[0].partial_fit(batch)
        fitted[1].partial_fit(sp.csr_array(batch))
    np.testing.assert_array_equal(fitted[0].components_, fitted[1].components_)


def test_a_wrong_model_warns_once(rng):
    X = rng.standard_normal((9000, 12))
    fitted = TiedAutoencoder(12, random_state=rng)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = []
        for batch in np.split(X, 18):
            fitted.partial_fit(batch)
            seen.append(len(caught))
    assert seen == [0] * 8 + [1] * 10
    assert caught[0].category is RecoveryWarning
    assert caught[0].filename == __file__
    assert "After 4500 samples" in str(caught[0].message)


def test_atoms_that_change_warn(problem, rng):
    """No warning while all is well: in the tests it would be an error."""
    X, _ = problem
    other, _ = make_sparse_codes(
        2000, 32, n_components=40, n_nonzero=2, noise=0.05, random_state=rng
    )
    fitted = TiedAutoencoder(40, random_state=rng)
    for batch in np.split(X, 8):
        fitted.partial_fit(batch)
    assert fitted.report_.status == "approximate"
    with pytest.warns(RecoveryWarning, match="of the stream"):
        fitted.partial_fit(other[:1000])
    fitted.partial_fit(other[1000:])
    assert fitted.report_.status != "approximate"
