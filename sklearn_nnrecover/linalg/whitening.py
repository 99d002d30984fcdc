"""Whitening of weighted samples on the subspace in which they vary."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.triangular import triangular_factor


class Whitening(NamedTuple):
    """The affine map ``x -> (x - mean) @ transform`` onto uncorrelated unit-variance coordinates.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
        Centre; zeros without centring.
    transform : ndarray of shape (n_features, rank)
        Whitening matrix; columns of X that are constant (or collinear) get no own direction.
    rank : int
        Dimension of the subspace in which the samples vary.
    null_basis : ndarray of shape (n_features, n_features - rank)
        Directions in which the samples do not vary, in column-scaled coordinates.
    """

    mean: np.ndarray
    transform: np.ndarray
    rank: int
    null_basis: np.ndarray

    def apply(self, X: np.ndarray) -> np.ndarray:
        """Whitened coordinates of rows of X, shape (n, rank)."""
        return (X - self.mean) @ self.transform


def whiten(
    X: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    center: bool = True,
    eps: float = float(np.finfo(np.float64).eps),
) -> Whitening:
    """Whiten by a singular value decomposition of the column-scaled samples.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Samples.
    weight : ndarray of shape (n,) or None
        Positive frequencies; None means ones.
    center : bool, default=True
        Subtract the weighted mean; without it the second moment, not the covariance, becomes the
        identity.
    eps : float
        Machine epsilon of the dtype in which X was given. A column is constant when its range is
        below ``8 eps`` times its largest magnitude; so is a direction whose singular value, columns
        scaled to unit spread, is below ``64 eps`` (and 1e-10) times the largest.

    Returns
    -------
    Whitening
    """
    n, d = X.shape
    weight = np.ones(n) if weight is None else weight
    total = weight.sum()
    mean = weight @ X / total if center else np.zeros(d)
    centered = X - mean
    scale = np.sqrt(weight @ centered**2 / total)
    magnitude = np.max(np.abs(X), axis=0, initial=0.0)
    extent = np.ptp(X, axis=0) if center else magnitude
    varies = extent > 8 * eps * magnitude
    scale = np.where(varies, scale, 1.0)
    scaled = np.where(varies, centered / scale, 0.0) * np.sqrt(weight / total)[:, None]
    _, singular, right = np.linalg.svd(triangular_factor(scaled), full_matrices=True)
    rank = int(np.sum(singular > max(1e-10, 64 * eps) * singular.max(initial=0.0)))
    transform = (right[:rank].T / singular[:rank]) / scale[:, None]
    transform[~varies] = 0.0
    return Whitening(mean, transform, rank, right[rank:].T)
