"""Triangular factors: all that singular values and right null spaces need, at the columns' size."""

from __future__ import annotations

import numpy as np


def triangular_factor(matrix: np.ndarray) -> np.ndarray:
    """Triangular factor R of a tall matrix, R'R = matrix' matrix; a wide one is returned as is.

    Parameters
    ----------
    matrix : ndarray of shape (n, p)
        Matrix.

    Returns
    -------
    ndarray of shape (min(n, p), p)
        With the singular values and right singular vectors of ``matrix``.
    """
    if matrix.shape[0] <= matrix.shape[1]:
        return matrix
    return np.asarray(np.linalg.qr(matrix, mode="r"))
