from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.correlation_graph import (
    all_columns_from_gram,
    columns_from_gram,
    correlation_factor,
    rounded_correlation,
)
from sklearn_nnrecover.products.factor_gauge import canonical_order, row_gauge


def separated_rows(rng, k, n, d):
    """k rows of d random signs each that meet in at most one column, pairwise."""
    rows = np.zeros((k, n))
    for row in rows:
        while True:
            columns = rng.choice(n, d, replace=False)
            if np.count_nonzero(rows[:, columns], axis=1).max() <= 1:
                break
        row[columns] = rng.choice([-1.0, 1], d)
    return sp.csr_array(rows)


def same_rows(A, B):
    A, B = row_gauge(A)[0], row_gauge(B)[0]
    if A.shape != B.shape:
        return False
    return abs(A[canonical_order(A)] - B[canonical_order(B)]).sum() == 0


def test_columns_come_from_their_gram_matrix(rng):
    F = separated_rows(rng, 20, 400, 7)
    assert same_rows(columns_from_gram(sp.csr_array(F.T @ F), rng), F)


def test_columns_of_one_non_zero_show_on_the_diagonal(rng):
    F = separated_rows(rng, 10, 200, 6)
    free = np.flatnonzero(np.asarray(abs(F).sum(axis=0)).ravel() == 0)[:2]
    single = sp.csr_array((np.ones(2), (np.arange(2), free)), shape=(2, 200))
    F = sp.vstack([F, single], format="csr")
    assert same_rows(all_columns_from_gram(sp.csr_array(F.T @ F), rng), F)


def test_the_scale_is_found_by_rounding(rng):
    F = separated_rows(rng, 20, 300, 6)
    Z = np.linalg.qr(rng.standard_normal((300, 20)))[0] * rng.uniform(0.1, 10)
    correlation = rounded_correlation(Z @ F)
    assert abs(correlation.gram - F.T @ F).sum() == 0
    assert correlation.rounding_error < 1e-9


def test_dense_data_give_no_columns(rng):
    assert correlation_factor(rng.standard_normal((60, 40)), rng=rng) is None
    assert columns_from_gram(sp.csr_array((10, 10)), rng).shape == (0, 10)


def test_nothing_is_called_proven(rng):
    F = separated_rows(rng, 15, 300, 6)
    Z = np.linalg.qr(rng.standard_normal((200, 15)))[0]
    peel = correlation_factor(Z @ F, rng=rng)
    assert not peel.proven.any()
    np.testing.assert_allclose(peel.remainder @ peel.factor, Z @ F, atol=1e-10)
    assert all(condition.meaning for condition in peel.evidence)
