"""Two-layer networks as arrays, and the samples that algorithms see.

Algorithms work in *design coordinates*: a sample is a row z of an orthonormalised design matrix
whose last column is constant when the network has biases, so that a hidden unit is one vector v
(weights and bias together) and the network is

    y = f(z V) A + c,        V (p, k),  A (k, m),  c (m,).

The map between a user's (X, y) and these coordinates is ``design.py``.
The papers put samples in columns; here they are rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation


def count_parameters(
    p: int, n_outputs: int, n_hidden: int, activation: Activation, intercept: bool
) -> int:
    """Free parameters of a network on p design columns, after the scale gauge of each unit."""
    per_unit = p - activation.n_gauge + n_outputs
    return n_hidden * per_unit + (n_outputs if intercept else 0)


class Samples(NamedTuple):
    """Weighted samples in design coordinates.

    Attributes
    ----------
    Z : ndarray of shape (n, p)
        Design matrix of full column rank, ``(w Z)' Z = sum(w) I``; its last column is 1 if
        ``intercept``.
    Y : ndarray of shape (n, m)
        Outputs, scaled by one common factor.
    weight : ndarray of shape (n,)
        Positive frequencies w.
    intercept : bool
        Whether the network has biases (inside V) and output intercepts c (else c = 0).
    rounding : float
        Root mean square error that rounding of the user's arrays causes in Y, relative to the
        root mean square deviation of Y: no residual below it can be told from zero.
    """

    Z: np.ndarray
    Y: np.ndarray
    weight: np.ndarray
    intercept: bool
    rounding: float = 64 * float(np.finfo(np.float64).eps)

    def n_parameters(self, n_hidden: int, activation: Activation = RELU) -> int:
        """Free parameters of a network of this width, after the scale gauge of each unit."""
        p, m = self.Z.shape[1], self.Y.shape[1]
        return count_parameters(p, m, n_hidden, activation, self.intercept)


@dataclass(frozen=True)
class TwoLayerNetwork:
    """y = f(z V) A + c in design coordinates.

    Attributes
    ----------
    V : ndarray of shape (p, k)
        Hidden units, one a column.
    A : ndarray of shape (k, m)
        Output weights.
    c : ndarray of shape (m,)
        Output intercepts, zeros if the network has none.
    activation : Activation
        Elementwise activation f.
    """

    V: np.ndarray
    A: np.ndarray
    c: np.ndarray
    activation: Activation = RELU

    @property
    def n_hidden(self) -> int:
        """Number of hidden units."""
        return self.V.shape[1]

    def hidden(self, Z: np.ndarray) -> np.ndarray:
        """Hidden activations f(Z V), shape (n, k)."""
        return self.activation.value(Z @ self.V)

    def predict(self, Z: np.ndarray) -> np.ndarray:
        """Outputs, shape (n, m)."""
        return self.hidden(Z) @ self.A + self.c

    def normalized(self) -> TwoLayerNetwork:
        """Move each unit's norm into its output weights (homogeneous activations only)."""
        if self.activation.degree is None:
            return self
        norms = np.linalg.norm(self.V, axis=0)
        norms = np.where(norms > 0, norms, 1.0)
        A = self.A * norms[:, None] ** self.activation.degree
        return TwoLayerNetwork(self.V / norms, A, self.c, self.activation)


def residual_sum_of_squares(network: TwoLayerNetwork, samples: Samples) -> float:
    """Weighted residual sum of squares over samples and outputs."""
    residual = samples.Y - network.predict(samples.Z)
    return float(np.einsum("ij,ij,i->", residual, residual, samples.weight))


def relative_residual(loss: float, samples: Samples) -> float:
    """Root mean square residual over the root mean square deviation of the outputs."""
    return float(np.sqrt(loss / (samples.weight.sum() * samples.Y.shape[1])))


def fit_output_layer(
    V: np.ndarray, samples: Samples, activation: Activation = RELU
) -> TwoLayerNetwork:
    """Least-squares output weights for given hidden units (pivot-free, by orthogonal solve)."""
    H = activation.value(samples.Z @ V)
    if samples.intercept:
        H = np.column_stack([H, np.ones(len(H))])
    root = np.sqrt(samples.weight)[:, None]
    solution = np.linalg.lstsq(root * H, root * samples.Y, rcond=None)[0]
    k = V.shape[1]
    c = solution[k] if samples.intercept else np.zeros(samples.Y.shape[1])
    return TwoLayerNetwork(V, solution[:k], c, activation)
