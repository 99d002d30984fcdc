"""Width of a noiseless network from the ranks of its outputs.

With output weights of full row rank (at least as many outputs as units) the centred outputs span
the same space of functions on the samples as the centred hidden activations: their rank is the
number k of units that are not constant on the data. A unit that is never inactive is a linear
function there, so the rank of the residual of the linear fit is the number of units with a kink
inside the data. Both ranks are read from singular values against the rounding of the data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.networks.model.two_layer_network import Samples

EPS = float(np.finfo(np.float64).eps)


class OutputRank(NamedTuple):
    """Row space of the outputs, split into kinked and linear parts.

    The bases are orthonormal for the weights divided by their sum.

    Attributes
    ----------
    rank : int
        Rank k of the outputs (centred if there are intercepts): units that vary on the data.
    n_linear : int
        Dimension of the linear functions of the inputs among the outputs: units never inactive.
    kinked : ndarray of shape (n, rank - n_linear)
        Orthonormal functions of the outputs' space; together with the linear ones they span it.
    linear : ndarray of shape (p, n_linear + intercept)
        Linear functions in the outputs' space, and the constant if there are intercepts, as
        orthonormal vectors of design coordinates.
    singular_values : ndarray
        Singular values of the outputs, columns scaled to unit spread.
    threshold : float
        Rounding level of these singular values.
    gap : float
        Smallest non-zero singular value over the larger of the next one and the threshold.
    sines : ndarray of shape (rank,)
        Sines of the principal angles between outputs and linear functions, decreasing.
    noise : float
        Rounding level of one entry of ``kinked``.
    """

    rank: int
    n_linear: int
    kinked: np.ndarray
    linear: np.ndarray
    singular_values: np.ndarray
    threshold: float
    gap: float
    sines: np.ndarray
    noise: float

    @property
    def n_kinked(self) -> int:
        """Number of units with active and inactive samples."""
        return self.rank - self.n_linear


def output_rank(samples: Samples) -> OutputRank:
    """Rank of the outputs and of the residual of their linear fit.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.

    Returns
    -------
    OutputRank
    """
    Z, Y, weight, intercept, rounding = samples
    n = len(Y)
    share = weight / weight.sum()
    centered = Y - share @ Y if intercept else Y
    if intercept:
        # The rounding of a mean over many samples would count as a function of its own.
        centered -= share @ centered
    spread = np.sqrt(share @ centered**2)
    magnitude = np.max(np.abs(Y), axis=0, initial=0.0)
    varies = spread > 16 * EPS * magnitude
    scaled = centered[:, varies] / spread[varies]
    # Rounding of a column relative to its own spread: larger where its mean is far from 0.
    excess = np.max(magnitude[varies] / spread[varies], initial=1.0)
    entry = rounding * max(1.0, float(excess / np.max(magnitude, initial=1.0)))
    root = np.sqrt(share)[:, None]
    p = Z.shape[1]
    constant = np.eye(p)[:, p - int(intercept) :]
    if not varies.any():
        none = np.zeros((n, 0))
        return OutputRank(0, 0, none, constant, np.zeros(0), entry, np.inf, np.zeros(0), entry)
    _, singular, right = np.linalg.svd(_triangular(root * scaled), full_matrices=False)
    rank = int(np.sum(singular > entry))
    following = max(entry, singular[rank]) if rank < len(singular) else entry
    gap = float(singular[rank - 1] / following)
    basis = scaled @ (right[:rank].T / singular[:rank])
    # A second orthonormalisation removes what the division by small singular values lost.
    basis = basis @ np.linalg.inv(np.linalg.cholesky(basis.T @ (share[:, None] * basis))).T
    noise = entry / float(singular[rank - 1])

    projection = Z.T @ (share[:, None] * basis)
    factor = _triangular(root * (basis - Z @ projection))
    _, sines, directions = np.linalg.svd(factor)
    sines = np.pad(sines, (0, rank - len(sines)))[:rank]
    n_kinked = int(np.sum(sines > noise))
    linear = np.column_stack([constant, projection @ directions[n_kinked:].T])
    linear = np.asarray(np.linalg.qr(linear)[0])
    kinked = basis @ directions[:n_kinked].T
    return OutputRank(rank, rank - n_kinked, kinked, linear, singular, entry, gap, sines, noise)


def _triangular(matrix: np.ndarray) -> np.ndarray:
    """Triangular factor of a tall matrix; a wide one is returned as it is."""
    return np.asarray(np.linalg.qr(matrix, mode="r")) if len(matrix) > matrix.shape[1] else matrix
