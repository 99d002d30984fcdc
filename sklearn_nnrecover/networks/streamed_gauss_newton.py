"""Gauss-Newton steps from sums: refinement of a network on samples that pass by.

Around a network (V, A) without intercepts a pass over the samples accumulates, with hidden
activations h, tangents t = f'(z v_j) z and residuals r, the sums of h h', t t', h t', h r', t r'
and r r'. They determine one Levenberg-Marquardt step in V and A; the step is taken back if the next
pass finds a larger residual. Sums of two parts of the samples add up.

Sums of products square the condition number, but residuals are formed sample by sample, so that
steps contract to rounding of the residual.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import linalg

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.networks.evidence.error_bars import UserWeights
from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork
from sklearn_nnrecover.networks.search.variable_projection import damped_factor, damped_step

FIRST_DAMPING = 1e-10
REJECTED_DAMPING = 1e-2


@dataclass
class NormalEquations:
    """Sums of one pass around a network.

    Attributes
    ----------
    weight : float
        Sum of the frequencies.
    n_rows : int
        Samples of positive weight.
    hh, hr, rr : ndarrays of shapes (k, k), (k, m), ()
        Sums over hidden activations and residuals.
    tt, ht, tr : ndarrays of shapes (k p, k p), (k, k p), (k p, m)
        Sums over tangents, units first.
    yy : ndarray of shape ()
        Sum of squared outputs.
    active : ndarray of shape (k,)
        Weight of the samples on which each unit is active.
    """

    weight: float
    n_rows: int
    hh: np.ndarray
    hr: np.ndarray
    rr: np.ndarray
    tt: np.ndarray
    ht: np.ndarray
    tr: np.ndarray
    yy: np.ndarray
    active: np.ndarray

    def __add__(self, other: NormalEquations) -> NormalEquations:
        return NormalEquations(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        )


def normal_equations(
    network: TwoLayerNetwork, Z: np.ndarray, Y: np.ndarray, weight: np.ndarray
) -> NormalEquations:
    """Accumulate the sums of some samples.

    Parameters
    ----------
    network : TwoLayerNetwork
        Network without intercepts.
    Z, Y, weight : ndarrays of shapes (n, p), (n, m), (n,)
        Samples.

    Returns
    -------
    NormalEquations
    """
    (p, k), m = network.V.shape, network.A.shape[1]
    size = k * p
    outer = np.zeros((size + k, size + k + m))
    rr, yy, active = np.zeros(()), np.zeros(()), np.zeros(k)
    for rows in row_blocks(len(Z), 8.0 * (2 * size + 3 * k + m), 64.0):
        T = Z[rows] @ network.V
        hidden, slope = network.activation.value(T), network.activation.derivative(T)
        residual = Y[rows] - hidden @ network.A
        tangents = (slope[:, :, None] * Z[rows][:, None]).reshape(-1, size)
        w = weight[rows, None]
        left = np.hstack([tangents, hidden])
        outer += (w * left).T @ np.hstack([left, residual])
        rr += np.sum(w * residual**2)
        yy += np.sum(w * Y[rows] ** 2)
        active += weight[rows] @ (T > 0)
    return NormalEquations(
        float(weight.sum()),
        int(np.count_nonzero(weight)),
        outer[size:, size : size + k],
        outer[size:, size + k :],
        rr,
        outer[:size, :size],
        outer[size:, :size],
        outer[:size, size + k :],
        yy,
        active,
    )


@dataclass(frozen=True)
class StreamedStep:
    """Result of :meth:`StreamedGaussNewton.step`.

    Attributes
    ----------
    loss : float
        Residual sum of squares that the pass found.
    fall : float
        Relative fall of it that the step promises; infinite if the last step was taken back.
    change : float
        Relative change of the mean loss since the last step that was kept; infinite at first.
    """

    loss: float
    fall: float
    change: float


class StreamedGaussNewton:
    """Levenberg-Marquardt steps, one a pass.

    Parameters
    ----------
    network : TwoLayerNetwork
        Start.
    """

    def __init__(self, network: TwoLayerNetwork) -> None:
        self.network = network
        self.sums: NormalEquations | None = None
        self.accepted: tuple[TwoLayerNetwork, NormalEquations] | None = None
        self.damping = FIRST_DAMPING

    def add(self, Z: np.ndarray, Y: np.ndarray, weight: np.ndarray) -> None:
        """Add samples to the pass."""
        sums = normal_equations(self.network, Z, Y, weight)
        self.sums = sums if self.sums is None else self.sums + sums

    def step(self) -> StreamedStep:
        """Take the step of the pass and begin the next one."""
        assert self.sums is not None
        sums, self.sums = self.sums, None
        loss, worse, change = float(sums.rr), False, np.inf
        if self.accepted is not None:
            before = self.accepted[1]
            # Passes may differ in length: compare means.
            mean, last = loss / sums.weight, float(before.rr) / before.weight
            worse = mean > last
            change = abs(mean - last) / max(last, np.finfo(float).tiny)
        if worse:
            assert self.accepted is not None
            self.network, sums = self.accepted
            self.damping = max(10 * self.damping, REJECTED_DAMPING)
        else:
            self.damping = max(self.damping / 10, FIRST_DAMPING)
            self.accepted = self.network, sums
        self.network, fall = _stepped(self.network, sums, self.damping)
        return StreamedStep(loss, np.inf if worse else fall, change)


def reduced_equations(
    network: TwoLayerNetwork, sums: NormalEquations
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eliminate the output weights.

    Returns
    -------
    S : ndarray of shape (k p, k p)
        Normal matrix of the hidden units.
    E : ndarray of shape (k, k p)
        Coefficients of the tangents on the hidden activations.
    inverse : ndarray of shape (k, k)
        Inverse of the activations' Gram matrix.
    """
    p = network.V.shape[0]
    inverse = linalg.pinvh(sums.hh)
    E = inverse @ sums.ht
    own = np.repeat(np.arange(network.n_hidden), p)
    return (sums.tt - sums.ht.T @ E) * (network.A @ network.A.T)[np.ix_(own, own)], E, inverse


def _stepped(
    network: TwoLayerNetwork, sums: NormalEquations, damping: float
) -> tuple[TwoLayerNetwork, float]:
    """One step and the relative fall of the loss that it promises."""
    (p, k), A = network.V.shape, network.A
    S, E, inverse = reduced_equations(network, sums)
    own = np.repeat(np.arange(k), p)
    refit = inverse @ sums.hr
    left = sums.tr - sums.ht.T @ refit
    gradient = np.einsum("am,am->a", left, A[own]).reshape(k, p)
    homogeneous = network.activation.degree is not None
    while (solved := damped_step(S, gradient, network.V, damping, homogeneous)) is None:
        damping *= 10
    move, predicted = solved
    gain = predicted + float(np.sum(refit * sums.hr))
    A = A + refit - E @ (move.T.ravel()[:, None] * A[own])
    moved = replace(network, V=network.V + move, A=A).normalized()
    return moved, gain / max(float(sums.rr), np.finfo(float).tiny)


def streamed_standard_errors(
    network: TwoLayerNetwork, sums: NormalEquations, design: Design
) -> UserWeights:
    """Standard errors at an optimum, in the user's gauge (see :mod:`error_bars`).

    Parameters
    ----------
    network : TwoLayerNetwork
        The optimum.
    sums : NormalEquations
        Sums around it.
    design : Design
        Map to the user's coordinates.

    Returns
    -------
    UserWeights
    """
    (p, k), m = network.V.shape, network.A.shape[1]
    d = design.whitening.transform.shape[0]
    homogeneous = network.activation.degree is not None
    freedom = sums.weight * m - k * (p - homogeneous + m)
    S, E, inverse = reduced_equations(network, sums)
    solved = damped_factor(S, network.V, 1e-13, homogeneous) if freedom > 0 else None
    if solved is None:
        shapes = ((d, k), (k, m))
        W, A = (np.full(shape, np.inf) for shape in shapes)
        return UserWeights(W, np.zeros(k), A, np.zeros(m))
    covariance = linalg.cho_solve((solved[0], True), np.eye(k * p))
    variance = float(sums.rr) / freedom
    W, _ = design.input_vectors(network.V)
    norms = np.linalg.norm(W, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    L = design.whitening.transform
    W_variance, A_variance = np.empty((d, k)), np.empty((k, m))
    growth = np.empty((k, p))
    for j in range(k):
        w = W[:, j] / norms[j]
        growth[j] = w @ L / norms[j]
        tangent = L / norms[j] - np.outer(w, growth[j])
        own = covariance[j * p : (j + 1) * p, j * p : (j + 1) * p]
        W_variance[:, j] = np.einsum("da,ab,db->d", tangent, own, tangent)
    for o in range(m):
        X = E * np.repeat(network.A[:, o], p)
        X_covariance = X @ covariance
        C = np.diagonal(inverse) + np.einsum("ij,ij->i", X_covariance, X)
        for j in range(k):
            a, own = network.A[j, o], slice(j * p, (j + 1) * p)
            mixed = -X_covariance[j, own] @ growth[j]
            spread = growth[j] @ covariance[own, own] @ growth[j]
            A_variance[j, o] = C[j] + 2 * a * mixed + a**2 * spread
    A_variance *= (design.output_scale * norms[:, None]) ** 2
    return UserWeights(
        np.sqrt(np.maximum(variance * W_variance, 0.0)),
        np.zeros(k),
        np.sqrt(np.maximum(variance * A_variance, 0.0)),
        np.zeros(m),
    )
