"""What is left when a sparse factor is taken off the right end: ``Y = remainder @ factor``."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy import linalg

from sklearn_nnrecover.linalg.blocks import require_memory
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_agreement import distinct_rows
from sklearn_nnrecover.products.row_spaces.systematic_bases import row_space

DENSE_LIMIT = 4 * 2**30
"""Largest dense copy of the data that the row-space methods make, in bytes."""

LEVERAGE_TOL = 1e-8
"""A row whose leverage is closer to 1 than this is no combination of others."""

INTEGER_TOL = 1e-6
"""Largest distance from an integer that is put down to rounding."""


def dense_rows(Y: np.ndarray | sp.csr_array) -> np.ndarray:
    """Y as a dense array, refused with the figure when its row space would not fit."""
    if isinstance(Y, np.ndarray):
        return Y
    require_memory(
        24.0 * Y.shape[0] * Y.shape[1],
        DENSE_LIMIT,
        "the row space of a sparse matrix",
        'use method="intersection", which stays sparse.',
    )
    return Y.toarray()


def solve_remainder(
    Y: np.ndarray, factor: sp.csr_array
) -> tuple[sp.csr_array, np.ndarray, float] | None:
    """Solve ``Y = remainder @ factor`` for a factor with independent rows.

    Entries of both within rounding of integers are made integers when the product stays as good.

    Parameters
    ----------
    Y : ndarray of shape (n_rows, n_columns)
    factor : csr_array of shape (rank, n_columns)

    Returns
    -------
    factor : csr_array of shape (rank, n_columns)
    remainder : ndarray of shape (n_rows, rank)
    residual : float
        Relative Frobenius norm of ``Y - remainder @ factor``.
    None
        If the rows of the factor are dependent or miss part of the row space.
    """
    exact = factor.copy()
    whole = np.abs(exact.data - np.rint(exact.data)) < INTEGER_TOL
    exact.data = np.where(whole, np.rint(exact.data), exact.data)
    Q, R = np.linalg.qr(exact.toarray().T)
    if np.abs(np.diagonal(R)).min() < 1e-10 * np.abs(np.diagonal(R)).max():
        return None
    remainder = linalg.solve_triangular(R, (Y @ Q).T, check_finite=False).T
    norm = np.linalg.norm(Y)
    residual = float(np.linalg.norm(Y - remainder @ exact) / norm)
    if residual > 1e-6:
        return None
    rounded = np.rint(remainder)
    if np.abs(remainder - rounded).max() < INTEGER_TOL * max(1.0, np.abs(remainder).max()):
        exact_residual = float(np.linalg.norm(Y - rounded @ exact) / norm)
        if exact_residual <= residual:
            remainder, residual = rounded, exact_residual
    return exact, np.ascontiguousarray(remainder), residual


def seen_repeatedly(remainder: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Whether each node is seen through rows that are combinations of other rows.

    Where there are no more rows than dimensions, sparse rows of the data are sparse vectors of
    their own row space, however many nodes each is a sum of. Rows that are multiples count once.

    Parameters
    ----------
    remainder : ndarray of shape (n_rows, rank)
        Of full column rank.
    rng : RandomState

    Returns
    -------
    ndarray of bool, shape (rank,)
    """
    rows, _ = row_gauge(sp.csr_array(remainder))
    distinct = remainder[distinct_rows(rows, rng).representative]
    frame = np.linalg.qr(distinct)[0]
    spare = distinct[np.sum(frame**2, axis=1) < 1.0 - LEVERAGE_TOL]
    if not len(spare):
        return np.zeros(remainder.shape[1], dtype=bool)
    return np.sum(row_space(spare).basis ** 2, axis=0) > 1.0 - LEVERAGE_TOL
