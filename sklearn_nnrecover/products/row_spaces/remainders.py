"""What is left when a sparse factor is taken off the right end: ``Y = remainder @ factor``."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy import linalg

from sklearn_nnrecover.linalg.blocks import require_memory
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_agreement import distinct_rows
from sklearn_nnrecover.products.row_spaces.orthonormal_bases import row_space
from sklearn_nnrecover.products.row_spaces.systematic_bases import BLUR

DENSE_LIMIT = 4 * 2**30
"""Largest dense copy of the data that the row-space methods make, in bytes."""

LEVERAGE_TOL = 1e-8
"""A row whose leverage is closer to 1 than this is no combination of others."""

INTEGER_TOL = 1e-6
"""Largest distance from an integer that is put down to rounding."""

RESIDUAL_PER_EPS = 10.0
"""Relative residual that rounding to a relative eps may leave, in units of it. Rounding leaves .3
eps, and so do the errors of the factor's rows, which rounding of all the data together makes."""

COARSER = 1e3
"""How much coarser than the data, at most, remainders are where they are compared: the inverse of
the factor amplifies rounding. Rows taken for multiples, or for independent, cost claims only."""


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
    Y: np.ndarray, factor: sp.csr_array, *, eps: float = 0.0
) -> tuple[sp.csr_array, np.ndarray, float] | None:
    """Solve ``Y = remainder @ factor`` for a factor with independent rows.

    Entries of both within rounding of integers are made integers when the product stays as good.

    Parameters
    ----------
    Y : ndarray of shape (n_rows, n_columns)
    factor : csr_array of shape (rank, n_columns)
    eps : float, default=0.0
        Rounding of the entries of Y, relative to each, where it is coarser than double precision.
        An entry of the remainder then has a standard error of ``eps`` times the root mean square of
        its row of Y and the norm of its column of the factor's inverse, and is zero if rounding
        allows it.

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
    if residual > max(1e-6, RESIDUAL_PER_EPS * eps):
        return None
    if eps > 0:
        inverse = linalg.solve_triangular(R, np.eye(len(R)), check_finite=False)
        size = np.sqrt(np.mean(Y**2, axis=1, keepdims=True))
        within = np.abs(remainder) <= BLUR * eps * size * np.linalg.norm(inverse, axis=1)
        remainder[within] = 0.0
    rounded = np.rint(remainder)
    if np.abs(remainder - rounded).max() < INTEGER_TOL * max(1.0, np.abs(remainder).max()):
        exact_residual = float(np.linalg.norm(Y - rounded @ exact) / norm)
        if exact_residual <= residual:
            remainder, residual = rounded, exact_residual
    return exact, np.ascontiguousarray(remainder), residual


def seen_repeatedly(
    remainder: np.ndarray, rng: np.random.RandomState, *, eps: float = 0.0
) -> np.ndarray:
    """Whether each node is seen through rows that are combinations of other rows.

    Where there are no more rows than dimensions, sparse rows of the data are sparse vectors of
    their own row space, however many nodes each is a sum of. Rows that are multiples count once.

    Parameters
    ----------
    remainder : ndarray of shape (n_rows, rank)
        Of full column rank.
    rng : RandomState
    eps : float, default=0.0
        Rounding of the data, relative to each entry, where it is coarser than double precision.

    Returns
    -------
    ndarray of bool, shape (rank,)
    """
    coarse = COARSER * eps
    if eps > 0:
        distinct = remainder[_no_multiples(remainder, coarse, rng)]
    else:
        rows, _ = row_gauge(sp.csr_array(remainder))
        distinct = remainder[distinct_rows(rows, rng).representative]
    tol = max(LEVERAGE_TOL, coarse**2)
    frame = np.linalg.qr(distinct)[0]
    spare = distinct[np.sum(frame**2, axis=1) < 1.0 - tol]
    if not len(spare):
        return np.zeros(remainder.shape[1], dtype=bool)
    seen = row_space(spare, rtol=max(1e-10, coarse)).basis
    return np.sum(seen**2, axis=0) > 1.0 - tol


def _no_multiples(rows: np.ndarray, tol: float, rng: np.random.RandomState) -> np.ndarray:
    """One of each set of rows that are multiples to within ``tol``; of others as well, rarely."""
    norms = np.linalg.norm(rows, axis=1)
    filled = np.flatnonzero(norms > 0)
    shadow = np.abs(rows[filled] @ rng.normal(size=rows.shape[1])) / norms[filled]
    order = np.argsort(shadow)
    return filled[order[np.diff(shadow[order], prepend=-np.inf) > tol]]
