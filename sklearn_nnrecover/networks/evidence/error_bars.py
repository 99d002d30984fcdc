"""Standard errors of a fitted two-layer network, in the user's coordinates and gauge.

With R the residual and J the Jacobian of the predictions in (V, A, c), the covariance of the
least-squares estimate is ``s^2 (J'J)^-1``, s^2 = RSS / (n m - number of parameters); when noise
variances differ between samples or outputs, the sandwich ``(J'J)^-1 (sum_i g_i g_i') (J'J)^-1``
with one score g_i = J_i' r_i a sample. J'J is singular along the scale gauge of each unit. The
reported parameters (W of unit columns, b scaled along, A, c) do not move along the gauge, so their
covariance is the same for every generalised inverse, and the one that holds each v_j's length is
used. Blocks are those of variable projection: S^-1 for V, and for C = [A; c] with
E = (F'F)^-1 F'[D_1 Z .. D_k Z],

    dC_lo = (F'F)^-1 F' r - sum_ja E[l, ja] A_jo dV_ja.

Directions in which X does not vary have weight zero and standard error zero.

References
----------
Seber and Wild, "Nonlinear regression" (1989), ch. 2 and 5. White, "Maximum likelihood estimation of
misspecified models", Econometrica 50 (1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrs
from scipy.optimize import linear_sum_assignment

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork
from sklearn_nnrecover.networks.search.least_squares_search import Rival
from sklearn_nnrecover.networks.search.variable_projection import (
    Projection,
    SeparableLeastSquares,
    damped_factor,
)

# A unit whose curvature is below this fraction of the largest does not move the predictions.
FLAT = 1e-14
# Standard errors by which a unit has to move in a rival minimum to count as another solution.
MOVED = 6.0
# Rivals count when their n m log(RSS) is within this of the best: the likelihood ratio e^-3.
RIVAL_WINDOW = 6.0
# Beyond this share of the weights, linear error propagation and a claim on the unit both fail.
LARGEST_ERROR = 0.5


class UserWeights(NamedTuple):
    """Arrays in the user's coordinates and gauge, or their standard errors."""

    W: np.ndarray  # (n_features, k)
    b: np.ndarray  # (k,)
    A: np.ndarray  # (k, m)
    c: np.ndarray  # (m,)


def user_weights(network: TwoLayerNetwork, design: Design) -> UserWeights:
    """Weights in the user's coordinates; unit columns of W if the activation is homogeneous."""
    W, b, A, c = design.weights(network)
    degree = network.activation.degree
    if degree is not None:
        norms = _norms(W)
        W, b, A = W / norms, b / norms, A * norms[:, None] ** degree
    return UserWeights(W, b, A, c)


def _norms(W: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(W, axis=0)
    return np.where(norms > 0, norms, 1.0)


def standard_errors(
    samples: Samples,
    design: Design,
    network: TwoLayerNetwork,
    *,
    sandwich: bool = False,
    exact: bool = False,
    not_pinned: np.ndarray | None = None,
) -> UserWeights:
    """Standard errors of the weights at a least-squares optimum.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    design : Design
        Map to the user's coordinates.
    network : TwoLayerNetwork
        The optimum; its output layer is refitted.
    sandwich : bool, default=False
        Allow noise variances that differ between samples and outputs.
    exact : bool, default=False
        Whether the network reproduces the data to rounding: zeros are returned.
    not_pinned : ndarray of shape (k,) of bool or None
        Units that the data do not determine: their standard errors are infinite.

    Returns
    -------
    UserWeights
        Standard errors, shaped like the weights. Infinite for units that are zero on the data and
        everywhere if there are no more equations than parameters, or no inputs.
    """
    k = network.n_hidden
    d, m = design.whitening.transform.shape[0], samples.Y.shape[1]
    total = float(samples.weight.sum())
    freedom = total * m - samples.n_parameters(k, network.activation)
    shapes = ((d, k), (k,), (k, m), (m,))
    if exact:
        errors = UserWeights(*(np.zeros(shape) for shape in shapes))
    elif freedom <= 0 or samples.Z.shape[1] == 0:
        errors = UserWeights(*(np.full(shape, np.inf) for shape in shapes))
    else:
        problem = SeparableLeastSquares(samples, network.activation)
        at = problem.project(network.V)
        blocks = _Blocks(problem, at)
        gauge = _GaugeMap(design, at, network.activation.degree)
        if sandwich:
            variances = _sandwich_variances(problem, at, blocks, gauge)
            variances = [v * (total * m / freedom) for v in variances]
        else:
            variances = _classic_variances(at, blocks, gauge)
            variances = [v * (at.loss / freedom) for v in variances]
        errors = UserWeights(*(np.sqrt(np.maximum(v, 0.0)) for v in variances))
        if not samples.intercept:
            errors = errors._replace(b=np.zeros(k), c=np.zeros(m))
        errors = mark_not_pinned(errors, blocks.flat, samples.intercept)
    if not_pinned is not None:
        errors = mark_not_pinned(errors, not_pinned, samples.intercept)
    return errors


def mark_not_pinned(errors: UserWeights, units: np.ndarray, intercept: bool) -> UserWeights:
    """Set the standard errors of some units to infinity."""
    W, b, A = errors.W.copy(), errors.b.copy(), errors.A.copy()
    W[:, units] = np.inf
    A[units] = np.inf
    if intercept:
        b[units] = np.inf
    return UserWeights(W, b, A, errors.c)


class _Blocks:
    """Blocks of the inverse normal matrix at a projection."""

    def __init__(self, problem: SeparableLeastSquares, at: Projection) -> None:
        p, k = at.V.shape
        S = problem.normal_matrix(at)
        level = np.diagonal(S).reshape(k, p).max(axis=1)
        self.flat = level <= FLAT * level.max(initial=0.0)
        homogeneous = problem.activation.degree is not None
        damping = 1e-13
        while (solved := damped_factor(S, at.V, damping, homogeneous)) is None:
            damping *= 10
        self.V_covariance, _ = dpotrs(solved[0], np.eye(k * p), lower=1)
        inverse, _ = dpotrs(at.factor, np.diag(1 / at.scale), lower=1)
        self.F_inverse = inverse / at.scale[:, None]
        self.E = self.F_inverse @ problem.cross_gram(at)


class _GaugeMap:
    """Linear map from moves of (V, A, c) to moves of the weights in the user's gauge."""

    def __init__(self, design: Design, at: Projection, degree: float | None) -> None:
        p, k = at.V.shape
        transform, mean = design.whitening.transform, design.whitening.mean
        rank = design.whitening.rank
        W, b = design.input_vectors(at.V)
        norms = _norms(W) if degree is not None else np.ones(k)
        w = W / norms
        to_W = np.zeros((len(transform), p))
        to_W[:, :rank] = transform
        to_b = -mean @ to_W
        if design.intercept:
            to_b[rank] += 1.0
        self.q = degree or 0.0
        # Relative growth of the norm of W_j per move of v_j, (k, p).
        along = (w.T @ to_W) / norms[:, None]
        homogeneous = 0.0 if degree is None else 1.0
        self.W = to_W[None] / norms[:, None, None] - homogeneous * (
            w.T[:, :, None] * along[:, None, :]
        )
        self.b = to_b / norms[:, None] - homogeneous * (b / norms)[:, None] * along
        self.along = along * self.q
        self.A_scale = design.output_scale * norms**self.q
        self.c_scale = design.output_scale


def _classic_variances(at: Projection, blocks: _Blocks, gauge: _GaugeMap) -> list[np.ndarray]:
    """Diagonal of (J'J)^-1 in the user's gauge."""
    p, k = at.V.shape
    m = at.coefficients.shape[1]
    own = np.arange(k)
    units = blocks.V_covariance.reshape(k, p, k, p)[own, :, own, :]
    W = np.einsum("jda,jab,jdb->dj", gauge.W, units, gauge.W, optimize=True)
    b = np.einsum("ja,jab,jb->j", gauge.b, units, gauge.b)
    growth = np.einsum("ja,jab,jb->j", gauge.along, units, gauge.along)
    A, c = np.empty((k, m)), np.zeros(m)
    for o in range(m):
        X = blocks.E * np.repeat(at.coefficients[:k, o], p)
        X_covariance = X @ blocks.V_covariance
        C = np.diagonal(blocks.F_inverse) + np.einsum("ij,ij->i", X_covariance, X)
        mixed = -np.einsum("jja,ja->j", X_covariance[:k].reshape(k, k, p), gauge.along)
        A_o = at.coefficients[:k, o]
        A[:, o] = C[:k] + 2 * A_o * mixed + A_o**2 * growth
        c[o] = C[k] if len(C) > k else 0.0
    return [W, b, A * gauge.A_scale[:, None] ** 2, c * gauge.c_scale**2]


def _sandwich_variances(
    problem: SeparableLeastSquares, at: Projection, blocks: _Blocks, gauge: _GaugeMap
) -> list[np.ndarray]:
    """Weighted sum of squared influences of single samples in the user's gauge."""
    p, k = at.V.shape
    n, m = problem.Zt.shape[1], at.coefficients.shape[1]
    A = at.coefficients[:k]
    d = gauge.W.shape[1]
    sums = [np.zeros((d, k)), np.zeros(k), np.zeros((k, m)), np.zeros(m)]
    for block in row_blocks(n, 8 * (3 * k * p + k * d + (k + 1) * m)):
        F, R = at.features[:, block], at.residual[:, block]
        # Root weights in F, R and the tangents make each influence root w_i times too large twice.
        undo = 1 / problem.root[block]
        tangents = (at.slope[:, None, block] * problem.weighted_Zt[:, block]).reshape(k * p, -1)
        scores = (tangents - blocks.E.T @ F) * np.repeat(A @ R, p, axis=0)
        moves = (blocks.V_covariance @ scores) * undo
        units = moves.reshape(k, p, -1)
        sums[0] += np.einsum("jdi->dj", np.matmul(gauge.W, units) ** 2)
        sums[1] += np.sum(np.einsum("ja,jai->ji", gauge.b, units) ** 2, axis=1)
        growth = np.einsum("ja,jai->ji", gauge.along, units)
        direct = (blocks.F_inverse @ F) * undo
        for o in range(m):
            C = direct * R[o] - (blocks.E * np.repeat(A[:, o], p)) @ moves
            sums[2][:, o] += np.sum((C[:k] + A[:, [o]] * growth) ** 2, axis=1)
            if len(C) > k:
                sums[3][o] += np.sum(C[k] ** 2)
    return [sums[0], sums[1], sums[2] * gauge.A_scale[:, None] ** 2, sums[3] * gauge.c_scale**2]


def units_moved_by_rivals(
    network: TwoLayerNetwork,
    errors: UserWeights,
    rivals: Sequence[Rival],
    design: Design,
    *,
    window: float = RIVAL_WINDOW,
    moved: float = MOVED,
) -> np.ndarray:
    """Units that another solution of almost the same likelihood places elsewhere.

    Parameters
    ----------
    network : TwoLayerNetwork
        The optimum.
    errors : UserWeights
        Its standard errors.
    rivals : sequence of Rival
        Other minima visited.
    design : Design
        Map to the user's coordinates.
    window : float, default=6
        Rivals count up to this difference of ``n m log(RSS)``.
    moved : float, default=6
        Standard errors by which any weight of the unit has to move.

    Returns
    -------
    ndarray of shape (k,) of bool
    """
    best = _unit_rows(user_weights(network, design))
    spread = _unit_rows(errors)
    # Weights that cannot move (constant columns, no intercept) do not count.
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    result = np.zeros(len(best), dtype=bool)
    for rival in rivals:
        if rival.evidence > window:
            continue
        other = _unit_rows(user_weights(rival.network, design))
        distance = np.abs((best[:, None] - other[None]) * inverse[:, None]).max(axis=2)
        rows, columns = linear_sum_assignment(np.minimum(distance, 100 * moved))
        result[rows] |= distance[rows, columns] > moved
    return result


def units_too_uncertain(
    network: TwoLayerNetwork, errors: UserWeights, design: Design, *, share: float = LARGEST_ERROR
) -> np.ndarray:
    """Units whose standard errors are no small part of their weights.

    Parameters
    ----------
    network : TwoLayerNetwork
        The optimum.
    errors : UserWeights
        Its standard errors.
    design : Design
        Map to the user's coordinates.
    share : float, default=.5
        Share of the input weights' norm, or of the output weights', that the norm of their
        standard errors may have.

    Returns
    -------
    ndarray of shape (k,) of bool
    """
    weights = user_weights(network, design)
    inputs = np.linalg.norm(errors.W, axis=0) >= share * np.linalg.norm(weights.W, axis=0)
    outputs = np.linalg.norm(errors.A, axis=1) >= share * np.linalg.norm(weights.A, axis=1)
    return np.asarray(inputs | outputs)


def _unit_rows(weights: UserWeights) -> np.ndarray:
    """One row a unit: input weights, bias, output weights."""
    return np.column_stack([weights.W.T, weights.b, weights.A])
