"""Orthonormal basis of a row space, its rank, and what rounding of the data leaves of it.

With E the rounding of the data, ``a @ (Y + E)`` differs from the vector ``a @ Y`` by ``a @ E``, so
that to first order the entries of a vector of the row space have the standard errors ``|a| s_j``,
s_j the noise of column j. They are relative to the columns, and rows of small entries tell as much
as others: rows and columns of very different size are brought to a common one first (`balanced`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

LEAST_NOISE = 1e-6
"""Share of the largest noise of a column below which none is."""

SIZE_STEP = 16.0
"""Rows and columns are scaled by powers of this: those of a common size keep their entries."""

SWEEPS = 3
"""Passes over columns and rows: the sizes of columns are those of the largest rows at first."""


class RowSpace(NamedTuple):
    """Orthonormal basis ``(rank, n_columns)`` of a row space, and the singular values kept.

    ``column_noise (n_columns,)`` bounds what rounding of the data did to the entries of a column;
    None where it is that of double precision, and less than the fixed tolerances of the search.
    """

    basis: np.ndarray
    singular_values: np.ndarray
    gap: float
    column_noise: np.ndarray | None = None

    @property
    def rank(self) -> int:
        """Dimension of the row space."""
        return len(self.basis)

    def combination_norms(self, coordinates: np.ndarray) -> np.ndarray:
        """Norms of the combinations of data rows that give vectors ``coordinates @ basis``.

        If E is the rounding of the data, ``a @ (Y + E)`` differs from ``a @ Y`` by ``a @ E``: times
        ``column_noise`` these norms are the standard errors of a vector's entries.
        """
        return np.linalg.norm(coordinates / self.singular_values, axis=-1)


def row_space(Y: np.ndarray, *, rtol: float = 1e-10, eps: float = 0.0) -> RowSpace:
    """Orthonormal basis of the row space of Y.

    Rounding to a relative ``eps`` moves an entry by ``eps / 2`` of it at most, and by ``eps / 12 **
    .5`` in the mean square. The noise of a column is taken as ``eps`` times its root mean square,
    three times as much, so that sums computed in the same precision are allowed for. The spectral
    norm of noise is at most the norms of its longest column and row together, nearly always, and
    singular values below that are rounding.

    Parameters
    ----------
    Y : ndarray of shape (n_rows, n_columns)
    rtol : float, default=1e-10
        Singular values below ``rtol`` times the largest are rounding.
    eps : float, default=0.0
        Rounding of the entries, relative to each, where it is coarser than double precision.

    Returns
    -------
    RowSpace
        ``gap`` is the largest neglected singular value over the smallest kept one.
    """
    triangle = np.linalg.qr(Y, mode="r") if Y.shape[0] > Y.shape[1] else Y
    _, singular, right = linalg.svd(triangle, full_matrices=False, check_finite=False)
    noise, smallest = None, rtol * singular[0] if len(singular) else 0.0
    if eps > 0:
        noise = eps * np.sqrt(np.mean(Y**2, axis=0))
        # A column of zeros has no rounding but that of the decomposition.
        noise = np.maximum(noise, LEAST_NOISE * noise.max(initial=0.0))
        longest = np.sqrt(len(Y)) * noise.max(initial=0.0) + np.linalg.norm(noise)
        smallest = max(smallest, float(longest))
    rank = int(np.sum(singular > smallest))
    neglected = singular[rank] if rank < len(singular) else 0.0
    gap = float(neglected / singular[rank - 1]) if rank else 0.0
    return RowSpace(right[:rank], singular[:rank], gap, noise)


class Balanced(NamedTuple):
    """``Y = diag(rows) @ matrix @ diag(columns)``, scales are powers of `SIZE_STEP`."""

    matrix: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def balanced(Y: np.ndarray, eps: float = 0.0) -> Balanced:
    """Bring rows and columns of very different size to a common one, to within a factor of four.

    Parameters
    ----------
    Y : ndarray of shape (n_rows, n_columns)
        Not changed, and returned itself if its rows and columns are of a size.
    eps : float, default=0.0
        Rounding of the entries where it is coarser than double precision. Rows and columns smaller
        than that may be rounding themselves, of sums that cancel, and are not enlarged.
    """
    least = max(eps, float(np.finfo(np.float64).eps))
    rows, columns = np.ones(len(Y)), np.ones(Y.shape[1])
    for _ in range(SWEEPS):
        matrix = Y / columns / rows[:, None]
        columns = columns * _size(np.sqrt(np.mean(matrix**2, axis=0)), least)
        matrix = Y / columns / rows[:, None]
        rows = rows * _size(np.sqrt(np.mean(matrix**2, axis=1)), least)
    if np.all(rows == 1) and np.all(columns == 1):
        return Balanced(Y, rows, columns)
    return Balanced(Y / columns / rows[:, None], rows, columns)


def _size(norms: np.ndarray, least: float) -> np.ndarray:
    if not norms.any():
        return np.ones(len(norms))
    relative = norms / np.median(norms[norms > 0])
    relative[relative <= least] = 1.0
    return SIZE_STEP ** np.round(np.log(relative) / np.log(SIZE_STEP))
