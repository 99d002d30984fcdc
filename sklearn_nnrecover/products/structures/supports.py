"""Fixed supports: one free parameter an entry; diagonals and butterflies."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from sklearn_nnrecover.products.structures.base import EntrywiseStructure, Structure


class SparseSupport(EntrywiseStructure):
    """One free parameter for each entry of a fixed support, row by row.

    Parameters
    ----------
    support : array-like or sparse of shape (n_rows, n_columns)
        Non-zero where the factor may be non-zero.

    Examples
    --------
    >>> from sklearn_nnrecover.products.structures import SparseSupport
    >>> SparseSupport([[1, 0], [1, 1]]).matrix([4.0, 5.0, 6.0]).toarray()
    array([[4., 0.],
           [5., 6.]])
    """

    def __init__(self, support: Any):
        if not sparse.issparse(support):
            support = np.asarray(support)
            if support.ndim != 2:
                raise ValueError(f"support must be a 2-d array, got {support.ndim}-d.")
        rows, columns = support.nonzero()
        order = np.lexsort((columns, rows))
        super().__init__(support.shape, rows[order], columns[order], np.arange(len(rows)))


class Diagonal(EntrywiseStructure):
    """Diagonal matrix ``diag(h)``, or ``diag(basis @ h)``.

    Parameters
    ----------
    n : int or None, default=None
        Order of the matrix; taken from `basis` when that is given.
    basis : array-like of shape (n, n_parameters) or None, default=None
        Subspace that the diagonal lies in; None leaves every entry free.
    """

    def __init__(self, n: int | None = None, *, basis: Any = None):
        if basis is None:
            if n is None:
                raise ValueError("Diagonal needs its order n, or a basis.")
            diagonal = np.arange(int(n))
            super().__init__((int(n), int(n)), diagonal, diagonal, diagonal)
            return
        B = np.asarray(basis, dtype=np.float64)
        if B.ndim != 2 or (n is not None and len(B) != n):
            raise ValueError(f"basis must have shape (n, n_parameters) with n={n}, got {B.shape}.")
        position, parameter = np.indices(B.shape)
        super().__init__((len(B), len(B)), position, position, parameter, B.ravel(), B.shape[1])


class ButterflyLevel(SparseSupport):
    """Support of one level of a butterfly: each node meets those that differ in one digit.

    Parameters
    ----------
    n : int
        Order, a power of the radix.
    level : int
        Digit in which connected nodes differ; 0 is the least significant.
    radix : int, default=2
        Base of the digits.
    """

    def __init__(self, n: int, level: int, *, radix: int = 2):
        stride = radix**level
        if stride * radix > n or n % (stride * radix):
            raise ValueError(
                f"level {level} of radix {radix} does not divide the order {n}: {n} must be a "
                f"multiple of {stride * radix}."
            )
        ones = sparse.coo_array(np.ones((radix, radix)))
        outer = sparse.eye_array(n // (stride * radix))
        super().__init__(sparse.kron(sparse.kron(outer, ones), sparse.eye_array(stride)))


def butterfly_levels(n: int, *, radix: int = 2) -> list[Structure]:
    """All levels of a butterfly of order n, from the most significant digit to the least.

    Parameters
    ----------
    n : int
        Order, a power of the radix.
    radix : int, default=2
        Base of the digits.
    """
    n_levels = 0
    while radix ** (n_levels + 1) <= n:
        n_levels += 1
    if radix**n_levels != n or n_levels < 1:
        raise ValueError(f"the order of a butterfly must be a power of {radix}, got {n}.")
    return [ButterflyLevel(n, level, radix=radix) for level in reversed(range(n_levels))]
