from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.factor_gauge import canonical_order, normalize_chain, row_gauge


def random_factor(rng, n_rows, n_columns, density=0.2):
    return sp.csr_array(
        rng.standard_normal((n_rows, n_columns)) * (rng.rand(n_rows, n_columns) < density)
    )


def test_row_gauge_makes_the_first_non_zero_positive_and_the_smallest_one(rng):
    F = random_factor(rng, 20, 15)
    rescaled, scales = row_gauge(F)
    np.testing.assert_allclose((sp.diags_array(scales) @ rescaled - F).toarray(), 0, atol=1e-14)
    for row in rescaled.toarray():
        filled = row[row != 0]
        if len(filled):
            assert filled[0] > 0
            assert np.abs(filled).min() == 1


def test_rows_of_zeros_and_explicit_zeros():
    F = sp.csr_array(
        (np.array([0.0, -2.0, 4.0]), np.array([0, 1, 2]), np.array([0, 0, 3])), shape=(2, 3)
    )
    rescaled, scales = row_gauge(F)
    assert rescaled.nnz == 2
    np.testing.assert_array_equal(scales, [1, -2])
    np.testing.assert_array_equal(rescaled.toarray(), [[0, 0, 0], [0, 1, -2]])


def test_canonical_order_is_by_first_column_then_lexicographic():
    rows = [[0, 0, 1, 0], [1, 0, 0, 0], [1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    order = canonical_order(sp.csr_array(np.array(rows, dtype=float)))
    first_columns = [next((j for j, v in enumerate(rows[i]) if v), 9) for i in order]
    assert first_columns == sorted(first_columns)
    assert list(order[-1:]) == [4]
    assert list(order).index(3) < list(order).index(2)


def test_normalized_chains_do_not_depend_on_the_gauge_they_came_in(rng):
    factors = [
        random_factor(rng, 30, 12),
        random_factor(rng, 12, 10, 0.4),
        random_factor(rng, 10, 25, 0.3),
    ]
    permutations = [rng.permutation(12), rng.permutation(10)]
    scales = [rng.choice([-1, 1], n) * rng.uniform(0.5, 2, n) for n in (12, 10)]
    changed = list(factors)
    for layer, (order, scale) in enumerate(zip(permutations, scales, strict=True)):
        changed[layer] = sp.csr_array(changed[layer] @ sp.diags_array(1 / scale))[:, order]
        changed[layer + 1] = sp.csr_array(sp.diags_array(scale) @ changed[layer + 1])[order]
    first, orders = normalize_chain(factors)
    second, _ = normalize_chain(changed)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a.toarray(), b.toarray(), atol=1e-12)
    product = (factors[0] @ factors[1] @ factors[2]).toarray()
    np.testing.assert_allclose((first[0] @ first[1] @ first[2]).toarray(), product, atol=1e-12)
    assert [len(order) for order in orders] == [12, 10]
