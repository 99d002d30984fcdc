"""Samples that greedy picks left open: what is tried, what is kept."""

import itertools

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries import wider_search
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    orthogonal_matching_pursuit,
)
from sklearn_nnrecover.dictionaries.supports import least_squares_values, padded_to_csr
from sklearn_nnrecover.dictionaries.wider_search import search_wider


@pytest.fixture
def greedy(rng):
    """Samples of coherent atoms, and what the pursuit makes of them."""
    X, truth = make_sparse_codes(3000, 12, n_components=32, n_nonzero=3, random_state=rng)
    D = truth.components_
    return X, D, truth.codes.toarray() != 0, orthogonal_matching_pursuit(X, D, 3)[:2]


def losses(X, D, codes):
    return np.sum((X - padded_to_csr(*codes, len(D)) @ D) ** 2, axis=1)


def test_wider_search_mends_greedy_picks(rng):
    X, truth = make_sparse_codes(3000, 12, n_components=32, n_nonzero=3, random_state=rng)
    D = truth.components_
    true = truth.codes.toarray() != 0

    def right(rule):
        return np.mean(np.all((encode(X, D, rule).toarray() != 0) == true, axis=1))

    greedy = right(CodeRule("omp", 3))
    searched = right(CodeRule("omp", 3, search_above=1e-20))
    assert greedy < 0.9
    assert searched > greedy + 0.5 * (1 - greedy)


@pytest.mark.parametrize("k", [2, 3])
def test_of_few_supports_the_best_is_found(rng, k):
    """Coherent atoms in few dimensions, where greedy picks are poor."""
    D = rng.standard_normal((7, 5)) + 1.5 * rng.standard_normal(5)
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    X = rng.standard_normal((300, 5))

    def left(search_above):
        codes = encode(X, D, CodeRule("omp", k, search_above=search_above))
        return np.linalg.norm(X - codes @ D, axis=1)

    best = np.full(300, np.inf)
    for support in itertools.combinations(range(7), k):
        basis = np.linalg.qr(D[list(support)].T)[0]
        best = np.minimum(best, np.linalg.norm(X - X @ basis @ basis.T, axis=1))
    assert np.mean(left(np.inf) > best + 1e-9) > 0.1
    searched = left(0.0)
    assert np.all(searched <= np.sqrt(1 / 0.9) * best + 1e-9)  # a tenth of the square is kept


def test_either_search_helps_and_what_is_found_is_no_worse(greedy, monkeypatch):
    X, D, true, found = greedy

    def right(codes):
        return np.mean(np.all((padded_to_csr(*codes, len(D)).toarray() != 0) == true, axis=1))

    both = search_wider(X, D, D @ D.T, *found, enough=1e-20)
    assert np.all(losses(X, D, both) <= losses(X, D, found))
    monkeypatch.setattr(wider_search, "SEARCHED_FIRST", 1)
    longer = search_wider(X, D, D @ D.T, *found, enough=1e-20)
    assert right(found) < right(longer) < right(both)


def test_enough_is_enough(greedy):
    X, D, _, found = greedy
    before = losses(X, D, found)
    open_ = before > 1e-20
    searched = losses(X, D, search_wider(X, D, D @ D.T, *found, enough=1e9))
    thoroughly = losses(X, D, search_wider(X, D, D @ D.T, *found, enough=1e-20))
    assert np.mean(searched[open_]) > 1.5 * np.mean(thoroughly[open_])


def test_of_supports_that_leave_enough_the_smallest_is_kept(greedy):
    """A noiseless sample of three atoms has many supports of five."""
    X, D, true, _ = greedy
    found = orthogonal_matching_pursuit(X, D, 5, min_correlation=1e-10)[:2]
    rows = losses(X, D, found) > 1e-20
    X, true, found = X[rows], true[rows], tuple(array[rows] for array in found)
    codes = search_wider(X, D, D @ D.T, *found, enough=1e-20, min_correlation=1e-10)
    support = padded_to_csr(*codes, len(D)).toarray() != 0
    assert np.mean(np.all(support == true, axis=1)) > 0.8


def test_blocks_do_not_matter(greedy, monkeypatch):
    X, D, _, found = greedy
    whole = search_wider(X, D, D @ D.T, *found, enough=1e-20)
    monkeypatch.setattr(wider_search, "BLOCK_MEBIBYTES", 0.3)
    parts = search_wider(X, D, D @ D.T, *found, enough=1e-20)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_allclose(whole[1], parts[1], atol=1e-12)


def test_nonnegative_codes_stay_nonnegative(greedy):
    X, D, _, _ = greedy
    found = orthogonal_matching_pursuit(X, D, 3, nonnegative=True)[:2]
    found = found[0], np.maximum(found[1], 0)
    atoms, values = search_wider(X, D, D @ D.T, *found, enough=1e-20, nonnegative=True)
    assert values.min() >= 0
    assert np.sum(losses(X, D, (atoms, values))) < np.sum(losses(X, D, found))


def test_noise_is_not_searched(rng, monkeypatch):
    """Right supports whose noise happens to be large, and one code that misses all."""
    n = 3000
    X, truth = make_sparse_codes(n, 60, n_components=80, n_nonzero=3, noise=0.1, random_state=rng)
    D, atoms = truth.components_, truth.codes.indices.reshape(n, 3)
    values = least_squares_values(X, D, D @ D.T, atoms, np.ones(atoms.shape, dtype=bool))
    loss = losses(X, D, (atoms, values))
    large = loss > np.quantile(loss, 0.9)
    enough = float(loss[~large].max())
    values[np.flatnonzero(large)[0]] = 0
    pursued = []

    def spy(Y, *args, **options):
        pursued.append(len(Y))
        return orthogonal_matching_pursuit(Y, *args, **options)

    monkeypatch.setattr(wider_search, "orthogonal_matching_pursuit", spy)
    search_wider(X[large], D, D @ D.T, atoms[large], values[large], enough=enough)
    assert 1 <= pursued[0] < 0.6 * np.count_nonzero(large)
    pursued.clear()
    search_wider(X[large], D, D @ D.T, atoms[large], values[large], enough=enough / 10)
    assert pursued[0] == np.count_nonzero(large)
