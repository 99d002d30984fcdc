"""What is left when a sparse factor is taken off the right end."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.products.row_spaces import remainders
from sklearn_nnrecover.products.row_spaces.remainders import dense_rows, solve_remainder


def sparse_layer(rng, shape=(10, 40)):
    return sp.csr_array(np.sign(rng.standard_normal(shape)) * (rng.uniform(size=shape) < 0.3))


def test_integer_remainders_come_back_exactly(rng):
    layer = sparse_layer(rng)
    codes = rng.randint(-3, 4, (60, 10)).astype(float)
    factor, remainder, residual = solve_remainder(codes @ layer.toarray(), layer * (1 + 1e-9))
    np.testing.assert_array_equal(remainder, codes)
    np.testing.assert_array_equal(factor.toarray(), layer.toarray())
    assert residual == 0


def test_real_remainders_solve_the_system(rng):
    layer = sparse_layer(rng)
    codes = rng.standard_normal((60, 10))
    _, remainder, residual = solve_remainder(codes @ layer.toarray(), layer)
    np.testing.assert_allclose(remainder, codes, atol=1e-10)
    assert residual < 1e-12


def test_a_factor_that_misses_a_direction_is_refused(rng):
    layer = sparse_layer(rng)
    Y = rng.standard_normal((60, 10)) @ layer.toarray()
    assert solve_remainder(Y, sp.csr_array(layer[:9])) is None


def test_dependent_rows_are_refused(rng):
    layer = sparse_layer(rng)
    double = sp.csr_array(sp.vstack([layer, 2 * layer[[0]]], format="csr"))
    assert solve_remainder(rng.standard_normal((60, 10)) @ layer.toarray(), double) is None


def test_dense_copies_are_refused_with_the_figure(monkeypatch):
    monkeypatch.setattr(remainders, "DENSE_LIMIT", 1000)
    with pytest.raises(MemoryError, match="intersection"):
        dense_rows(sp.csr_array((100, 100)))
    assert dense_rows(np.eye(3)).shape == (3, 3)
