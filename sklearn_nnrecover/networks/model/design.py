"""From a user's coordinates to an orthonormal design, and back.

Columns of very different scale, constant or collinear columns and means far from 0 all disappear
here: algorithms see whitened inputs of full rank, and weights are mapped back so that directions
in which X does not vary get weight zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.whitening import Whitening, whiten
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

# Rounding errors of a network's sums, in units of eps times the largest magnitude met.
ROUNDING_UNITS = 16.0


class Design(NamedTuple):
    """Coordinate map of one fit.

    Attributes
    ----------
    whitening : Whitening
        Inputs: ``x -> (x - mean) @ transform``.
    output_scale : float
        ``Y = y / output_scale``.
    intercept : bool
        Whether a constant column is appended.
    """

    whitening: Whitening
    output_scale: float
    intercept: bool

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Design rows of new inputs, shape (n, p)."""
        Z = self.whitening.apply(X)
        return np.column_stack([Z, np.ones(len(Z))]) if self.intercept else Z

    def weights(self, network: TwoLayerNetwork) -> tuple[np.ndarray, ...]:
        """Weights (W, b, A, c) in the user's coordinates, of any scale gauge."""
        W, b = self.input_vectors(network.V)
        return W, b, network.A * self.output_scale, network.c * self.output_scale

    def input_vectors(self, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map vectors of design coordinates (p, j) to weights (n_features, j) and biases (j,)."""
        r = self.whitening.rank
        W = self.whitening.transform @ V[:r]
        b = -self.whitening.mean @ W
        return W, b + V[r] if self.intercept else np.zeros(V.shape[1])


def orthonormal_design(
    X: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    *,
    intercept: bool,
    eps: float = float(np.finfo(np.float64).eps),
) -> tuple[Samples, Design]:
    """Whiten the inputs and scale the outputs.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Inputs.
    y : ndarray of shape (n, m)
        Outputs.
    weight : ndarray of shape (n,)
        Positive frequencies.
    intercept : bool
        Whether the network has biases; without them inputs are not centred.
    eps : float
        Machine epsilon of the dtype in which the user gave X and y.

    Returns
    -------
    samples : Samples
    design : Design
    """
    whitening = whiten(X, weight, center=intercept, eps=eps)
    center = np.average(y, axis=0, weights=weight) if intercept else 0.0
    spread = float(np.sqrt(np.average(np.mean((y - center) ** 2, axis=1), weights=weight)))
    design = Design(whitening, spread if spread > 0 else 1.0, intercept)
    # A value of magnitude M carries an error of eps M, however small its spread is.
    size = np.abs(X).max(axis=0, initial=0.0) @ np.abs(whitening.transform)
    magnitude = max(1.0, np.abs(y).max(initial=0.0) / design.output_scale, *size.tolist())
    rounding = ROUNDING_UNITS * eps * float(magnitude)
    return Samples(
        design.transform(X), y / design.output_scale, weight, intercept, rounding
    ), design
