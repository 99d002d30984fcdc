from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_agreement import agreeing_entries, distinct_rows
from sklearn_nnrecover.products.two_factors.column_intersections import (
    correlated_pairs,
    intersection_candidates,
)


def test_agreeing_entries_find_the_most_frequent_ratio():
    A = sp.csr_array(np.array([[2.0, 4, 6, 1, 0], [1, 0, 0, 0, 5]]))
    B = sp.csr_array(np.array([[1.0, 2, 3, 7, 9], [0, 1, 0, 0, 0]]))
    found = agreeing_entries(A, np.array([0, 1, 1]), B, np.array([0, 0, 1]))
    np.testing.assert_array_equal(found.agreeing, [3, 1, 0])
    np.testing.assert_array_equal(found.overlap, [4, 2, 0])
    assert found.ratio[0] == 2
    assert np.isnan(found.ratio[2])
    first = found.entry_pair == 0
    np.testing.assert_array_equal(found.entry_column[first], [0, 1, 2])
    np.testing.assert_array_equal(found.entry_value[first], [2, 4, 6])


def test_agreement_matches_a_direct_count(rng):
    A = sp.csr_array(rng.randint(-2, 3, size=(20, 30)).astype(float))
    rows, others = rng.randint(20, size=50), rng.randint(20, size=50)
    found = agreeing_entries(A, rows, A, others)
    dense = A.toarray()
    for p, (i, j) in enumerate(zip(rows, others, strict=True)):
        both = (dense[i] != 0) & (dense[j] != 0)
        ratios = dense[i][both] / dense[j][both]
        expected = max((np.sum(ratios == r) for r in ratios), default=0)
        assert found.agreeing[p] == expected
        assert found.overlap[p] == both.sum()


def test_correlated_pairs_are_those_of_the_sign_gram_matrix(rng):
    A = sp.csr_array(rng.randint(-1, 2, size=(40, 60)) * (rng.rand(40, 60) < 0.4).astype(float))
    i, j = correlated_pairs(A, 3, 10_000)
    gram = np.abs(np.sign(A.toarray()) @ np.sign(A.toarray()).T)
    expected = {(a, b) for a in range(40) for b in range(a + 1, 40) if gram[a, b] >= 3}
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == expected
    i, j = correlated_pairs(A, 3, 5)
    assert len(i) == 5
    assert gram[i, j].min() >= np.sort([gram[a, b] for a, b in expected])[-5]


def test_equal_rows_are_grouped(rng):
    rows = rng.randint(-3, 4, size=(10, 20)).astype(float)
    labels = rng.randint(10, size=60)
    groups = distinct_rows(sp.csr_array(rows[labels]), rng)
    assert groups.n_groups == len(np.unique(labels))
    assert groups.size.sum() == 60
    for a, b in rng.randint(60, size=(100, 2)):
        assert (groups.label[a] == groups.label[b]) == (labels[a] == labels[b])


def test_true_atoms_are_among_the_candidates(seed, rng):
    X, truth = make_sparse_product(
        600, 300, n_hidden=[200], n_nonzero=4, sparse_output=True, random_state=seed
    )
    candidates, votes = intersection_candidates(X, rng)
    atoms, _ = row_gauge(truth.factors_[1])
    groups = distinct_rows(sp.vstack([candidates, atoms], format="csr"), rng)
    proposed = set(groups.label[: candidates.shape[0]])
    heavy = np.diff(atoms.indptr) >= 3
    hit = np.array([label in proposed for label in groups.label[candidates.shape[0] :]])
    assert hit[heavy].mean() > 0.95
    assert votes.max() > 10


def test_rows_without_common_structure_propose_nothing(rng):
    candidates, _ = intersection_candidates(sp.csr_array(np.eye(30)), rng)
    assert candidates.shape == (0, 30)
