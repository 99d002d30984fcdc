"""What the data determine about a network that reproduces them.

Two facts are measured at a network with zero residual. Both concern the piecewise linear model in
the cell of parameters in which every sample keeps its pattern of active units, so that they decide
whether the network is *isolated*, not whether another, distant network fits as well.

* The Jacobian of all outputs with respect to (V, A, c), on the tangent space of the unit-norm
  gauge. A null vector is a direction along which the network moves and no output changes. A unit
  whose block of every null vector vanishes is pinned down. With at least as many outputs as units
  and A of full row rank, multiplying by a right inverse of A decouples the null space: a small
  system [D_j Z T_j, F, 1] a unit, with the same null vectors and the same rank in total.
* The rows on which a unit is active. Where it is inactive it leaves no trace, so it is identified
  at most on the span of its active rows (counting them gives the wrong verdict, the rank the right
  one), and only rows beyond those that the fit uses up are evidence: the *redundancy* of a unit is
  the sum, over the rows that tell of it and all outputs, of one minus the leverage. A rectified
  unit's telling rows are its active ones, a leaky unit's those on the smaller side of its kink
  (without them it is a linear function), any other unit's all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.linalg.triangular import triangular_factor
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

RANK_TOLERANCE = 1e-9
NULL_COMPONENT = 1e-5
# A sample this close to a kink (as a sine) may lie on either side of it: it is no evidence.
ON_KINK = 1e-9
# Condition number of A up to which multiplying by its right inverse keeps the ranks.
DECOUPLING_CONDITION = 1e6


class UnitIdentification(NamedTuple):
    """What the data say about one hidden unit.

    Attributes
    ----------
    n_active, n_inactive : int
        Distinct rows on which the unit is positive, and not.
    active_rank : int
        Rank of its active design rows, at most p.
    redundancy : float
        Equations left over on its telling rows after the fit has used up its parameters.
    undetermined : ndarray of shape (p, q)
        Orthonormal directions of design space along which the unit can move without changing any
        output (q = 0 when it is pinned down).
    pinned : bool
        Whether input and output weights of the unit are isolated.
    """

    n_active: int
    n_inactive: int
    active_rank: int
    redundancy: float
    undetermined: np.ndarray
    pinned: bool


class Identification(NamedTuple):
    """Local identification of a network.

    Attributes
    ----------
    rank : int
        Rank of the gauge-fixed Jacobian.
    n_parameters : int
        Its number of columns.
    smallest_singular : float
        Smallest singular value over the largest, columns scaled to unit norm.
    units : list of UnitIdentification
        One a hidden unit.
    intercepts_pinned : bool
        Whether the output intercepts are determined.
    """

    rank: int
    n_parameters: int
    smallest_singular: float
    units: list[UnitIdentification]
    intercepts_pinned: bool


class _LocalMoves(NamedTuple):
    """Null space of the Jacobian, sorted by unit."""

    rank: int
    n_parameters: int
    smallest_singular: float
    inputs: list[np.ndarray]  # per unit, moves of v_j in tangent coordinates, one a column
    outputs: np.ndarray  # per unit, norm of the moves of its output weights
    intercepts: float
    redundancy: np.ndarray  # (n, k): 1 - leverage, summed over outputs


def tangent_bases(V: np.ndarray) -> np.ndarray:
    """Orthonormal complements of the columns of V, shape (k, p, p - 1) (Householder)."""
    p = len(V)
    U = V / np.linalg.norm(V, axis=0)
    sign = np.where(U[0] >= 0, 1.0, -1.0)
    h = U.copy()
    h[0] += sign
    h /= np.linalg.norm(h, axis=0)
    return np.eye(p)[None, :, 1:] - 2.0 * h.T[:, :, None] * h.T[:, None, 1:]


def _gauge_bases(network: TwoLayerNetwork) -> np.ndarray:
    """Directions in which units may move: tangent ones if their scale is a gauge, else all."""
    p, k = network.V.shape
    if network.activation.degree is None:
        return np.broadcast_to(np.eye(p), (k, p, p))
    return tangent_bases(network.V)


def jacobian(network: TwoLayerNetwork, samples: Samples, rows: slice) -> np.ndarray:
    """Gauge-fixed Jacobian of the outputs of some rows.

    Columns: per unit its tangent directions (p - 1), then the output weights (k, m) row by row,
    then the intercepts if there are any.

    Returns
    -------
    J : ndarray of shape (n_rows * m, n_parameters)
        Rows ordered by sample, then output.
    """
    Z = samples.Z[rows]
    n, m = len(Z), samples.Y.shape[1]
    k = network.n_hidden
    T = Z @ network.V
    bases = _gauge_bases(network)
    q = bases.shape[2]
    moves = np.einsum("np,kpq->nkq", Z, bases) * network.activation.derivative(T)[:, :, None]
    J = np.zeros((n, m, k * (q + m) + (m if samples.intercept else 0)))
    J[:, :, : k * q] = np.einsum("nkq,km->nmkq", moves, network.A).reshape(n, m, k * q)
    hidden = network.activation.value(T)
    for output in range(m):
        J[:, output, k * q + output : k * (q + m) : m] = hidden
        if samples.intercept:
            J[:, output, k * (q + m) + output] = 1.0
    return J.reshape(n * m, J.shape[2])


def jacobian_factor(network: TwoLayerNetwork, samples: Samples) -> np.ndarray:
    """Triangular factor R of the Jacobian, rows in blocks that bound the memory."""
    m = samples.Y.shape[1]
    n_parameters = jacobian(network, samples, slice(0, 1)).shape[1]
    factor = np.zeros((0, n_parameters))
    for rows in row_blocks(len(samples.Z), 24.0 * m * n_parameters):
        stacked = np.vstack([factor, jacobian(network, samples, rows)])
        factor = triangular_factor(stacked)
    return factor


class _ScaledFactor(NamedTuple):
    """Singular value decomposition of column-scaled equations, given their triangular factor."""

    singular: np.ndarray
    rank: int
    smallest: float
    null: np.ndarray  # orthonormal, in unscaled parameters
    whitener: np.ndarray  # rows of the equations times this have norms^2 = leverages


def _decompose(factor: np.ndarray, tolerance: float) -> _ScaledFactor:
    n_columns = factor.shape[1]
    scale = np.linalg.norm(factor, axis=0)
    size = float(scale.max(initial=0.0)) or 1.0
    scale = np.where(scale > tolerance * size, scale, size)
    _, singular, right = np.linalg.svd(factor / scale, full_matrices=True)
    largest = float(singular.max(initial=0.0)) or 1.0
    rank = int(np.sum(singular > tolerance * largest))
    smallest = float(singular[-1]) / largest if len(singular) == n_columns else 0.0
    null = np.linalg.qr(right[rank:].T / scale[:, None])[0]
    whitener = right[:rank].T / singular[:rank] / scale[:, None]
    return _ScaledFactor(singular, rank, smallest, null, whitener)


def _coupled_moves(network: TwoLayerNetwork, samples: Samples, tolerance: float) -> _LocalMoves:
    """Null space of the full Jacobian: any number of outputs."""
    k, m = network.A.shape
    q = _gauge_bases(network).shape[2]
    factor = jacobian_factor(network, samples)
    found = _decompose(factor, tolerance)
    redundancy = np.empty(len(samples.Z))
    for rows in row_blocks(len(samples.Z), 24.0 * m * factor.shape[1]):
        leverage = np.sum((jacobian(network, samples, rows) @ found.whitener) ** 2, axis=1)
        redundancy[rows] = np.maximum(1.0 - leverage, 0.0).reshape(-1, m).sum(axis=1)
    blocks = found.null[k * q : k * (q + m)].reshape(k, -1)
    return _LocalMoves(
        rank=found.rank,
        n_parameters=factor.shape[1],
        smallest_singular=found.smallest,
        inputs=[found.null[j * q : (j + 1) * q] for j in range(k)],
        outputs=np.linalg.norm(blocks, axis=1),
        intercepts=float(np.linalg.norm(found.null[k * (q + m) :])),
        redundancy=np.broadcast_to(redundancy[:, None], (len(redundancy), k)),
    )


def _decoupled_moves(network: TwoLayerNetwork, samples: Samples, tolerance: float) -> _LocalMoves:
    """The same null space unit by unit, for A of full row rank."""
    k, m = network.A.shape
    T = samples.Z @ network.V
    hidden, slope = network.activation.value(T), network.activation.derivative(T)
    shared = np.column_stack([hidden, np.ones(len(T))]) if samples.intercept else hidden
    bases = _gauge_bases(network)
    q = bases.shape[2]
    rank, smallest, intercepts = 0, np.inf, 0.0
    inputs, outputs, redundancy = [], np.zeros(k), np.empty_like(T)
    for j in range(k):
        equations = np.hstack([slope[:, j, None] * (samples.Z @ bases[j]), shared])
        found = _decompose(triangular_factor(equations), tolerance)
        rank += found.rank
        smallest = min(smallest, found.smallest)
        inputs.append(found.null[:q])
        outputs += np.sum(found.null[q : q + k] ** 2, axis=1)
        intercepts += float(np.sum(found.null[q + k :] ** 2))
        leverage = np.sum((equations @ found.whitener) ** 2, axis=1)
        redundancy[:, j] = np.maximum(1.0 - leverage, 0.0)
    # Outputs beyond the row space of A add equations F (dA, dc) = 0 alone.
    width = shared.shape[1]
    rank += (m - k) * (_rank(shared, tolerance) if m > k else 0)
    return _LocalMoves(
        rank=rank,
        n_parameters=k * q + m * width,
        smallest_singular=smallest,
        inputs=inputs,
        outputs=np.sqrt(outputs),
        intercepts=float(np.sqrt(intercepts)),
        redundancy=redundancy,
    )


def _masked_moves(
    network: TwoLayerNetwork, samples: Samples, tolerance: float, observed: np.ndarray
) -> _LocalMoves:
    """The same null space where each output is seen on rows of its own, output by output."""
    k, m = network.A.shape
    T = samples.Z @ network.V
    hidden, slope = network.activation.value(T), network.activation.derivative(T)
    shared = np.column_stack([hidden, np.ones(len(T))]) if samples.intercept else hidden
    bases = _gauge_bases(network)
    q, width = bases.shape[2], shared.shape[1]
    moves = slope[:, :, None] * np.einsum("np,kpq->nkq", samples.Z, bases)

    def equations(o: int) -> tuple[np.ndarray, _ScaledFactor, np.ndarray, np.ndarray]:
        """Rows of output o: their output part, and the input part, whole and projected off it."""
        rows = observed[:, o]
        own = _decompose(triangular_factor(shared[rows]), tolerance)
        basis = shared[rows] @ own.whitener
        inputs = (moves[rows] * network.A[:, o, None]).reshape(-1, k * q)
        return basis, own, inputs, inputs - basis @ (basis.T @ inputs)

    squares, factor = np.zeros(k * q), np.zeros((0, k * q))
    rank, smallest, output_moves = 0, np.inf, np.zeros(width)
    for o in range(m):
        _, own, inputs, projected = equations(o)
        squares += np.sum(inputs**2, axis=0)
        factor = triangular_factor(np.vstack([factor, projected]))
        rank += own.rank
        smallest = min(smallest, own.smallest)
        output_moves += np.sum(own.null**2, axis=1)
    # Columns are scaled before the projection: what it takes away is conditioning lost.
    scale = np.sqrt(np.where(squares > 0, squares, 1.0))
    _, singular, right = np.linalg.svd(factor / scale, full_matrices=True)
    singular = np.pad(singular, (0, k * q - len(singular)))
    n_kept = int(np.sum(singular > tolerance * max(float(singular[0]), np.finfo(float).tiny)))
    null = np.linalg.qr(right[n_kept:].T / scale[:, None])[0]
    whitener = right[:n_kept].T / singular[:n_kept] / scale[:, None]
    redundancy = np.zeros(len(T))
    for o in range(m):
        basis, own, inputs, projected = equations(o)
        leverage = np.sum(basis**2, axis=1) + np.sum((projected @ whitener) ** 2, axis=1)
        redundancy[observed[:, o]] += np.maximum(1.0 - leverage, 0.0)
        output_moves += np.sum((own.whitener @ (basis.T @ (inputs @ null))) ** 2, axis=1)
    return _LocalMoves(
        rank=rank + n_kept,
        n_parameters=k * q + m * width,
        smallest_singular=min(smallest, float(singular[-1] / max(singular[0], 1e-300))),
        inputs=[null[j * q : (j + 1) * q] for j in range(k)],
        outputs=np.sqrt(output_moves[:k]),
        intercepts=float(np.sqrt(output_moves[k:].sum())),
        redundancy=np.broadcast_to(redundancy[:, None], T.shape),
    )


def identify(
    network: TwoLayerNetwork,
    samples: Samples,
    *,
    tolerance: float = RANK_TOLERANCE,
    observed: np.ndarray | None = None,
) -> Identification:
    """Measure what the samples determine about a network that reproduces them.

    Parameters
    ----------
    network : TwoLayerNetwork
        Network of zero residual.
    samples : Samples
        Distinct samples; frequencies play no role.
    tolerance : float
        Singular values of the column-scaled Jacobian below ``tolerance`` times the largest count
        as zero.
    observed : ndarray of bool, shape (n, m) or None
        Entries of the outputs that count; None counts all.

    Returns
    -------
    Identification
    """
    off = _off_kinks(network, samples)
    samples = samples._replace(Z=samples.Z[off], Y=samples.Y[off], weight=samples.weight[off])
    p = len(network.V)
    k, m = network.A.shape
    if observed is not None:
        local = _masked_moves(network, samples, tolerance, observed[off])
    else:
        decouples = k <= m and np.linalg.cond(network.A) < DECOUPLING_CONDITION
        local = (_decoupled_moves if decouples else _coupled_moves)(network, samples, tolerance)
    bases = _gauge_bases(network)
    T = samples.Z @ network.V
    active, telling = T > 0, network.activation.telling_rows(T)
    units = []
    for j in range(k):
        rows = active[:, j]
        undetermined = np.zeros((p, 0))
        if local.inputs[j].shape[1]:
            left, strength, _ = np.linalg.svd(bases[j] @ local.inputs[j], full_matrices=False)
            undetermined = left[:, strength > NULL_COMPONENT]
        units.append(
            UnitIdentification(
                n_active=int(rows.sum()),
                n_inactive=int((~rows).sum()),
                active_rank=_rank(samples.Z[rows], tolerance),
                redundancy=float(local.redundancy[telling[:, j], j].sum()),
                undetermined=undetermined,
                pinned=bool(undetermined.shape[1] == 0 and local.outputs[j] <= NULL_COMPONENT),
            )
        )
    return Identification(
        local.rank,
        local.n_parameters,
        local.smallest_singular,
        units,
        local.intercepts <= NULL_COMPONENT,
    )


def _off_kinks(network: TwoLayerNetwork, samples: Samples) -> np.ndarray:
    """Samples that are not on the kink of a unit, where the Jacobian is not defined."""
    norms = np.linalg.norm(network.V, axis=0)
    sizes = np.linalg.norm(samples.Z, axis=1)[:, None] * norms
    off = np.abs(samples.Z @ network.V) > ON_KINK * sizes
    return np.asarray(off.all(axis=1) | (norms == 0).all())


def _rank(rows: np.ndarray, tolerance: float) -> int:
    if len(rows) == 0:
        return 0
    singular = np.linalg.svd(triangular_factor(rows), compute_uv=False)
    return int(np.sum(singular > tolerance * max(singular[0], np.finfo(float).tiny)))
