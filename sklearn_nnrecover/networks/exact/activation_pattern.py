"""The unit of a known activation pattern, by one singular value decomposition.

Let Q be an orthonormal basis of the outputs' functions on the samples and S a set of samples. A
ReLU unit with active set S satisfies 1_S (z v) = Q zeta: the masked design and the outputs have a
principal angle of zero, and v is its direction. The sine is computed from the residual of the
projection, not from 1 - cosine^2, so that it is at rounding level for a true pattern.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize

# Relative singular value below which a direction of the active rows is missing.
RANK_TOLERANCE = 1e-9
# Margin, in units of v, beyond which the undetermined part of a unit gains nothing.
LARGEST_MARGIN = 1e-3


def angle_tolerance(noise: float) -> float:
    """Sine below which an angle is zero, for outputs whose basis is rounded at this level."""
    return max(1e-10, 10.0 * noise)


def kink_tolerance(noise: float) -> float:
    """Distance to a unit's hyperplane, relative to a sample's norm, below which it is on it."""
    return max(1e-9, 30.0 * noise)


class PatternUnit(NamedTuple):
    """Unit that best matches an activation pattern.

    Attributes
    ----------
    v : ndarray of shape (p,)
        Unit in design coordinates, minimum norm, unit length.
    sine : float
        Sine of the smallest principal angle between masked design and outputs.
    next_sine : float
        The second smallest; near 0 when the pattern does not single out one unit.
    active_rank : int
        Rank of the design on the active samples.
    n_active : int
        Number of active samples.
    """

    v: np.ndarray
    sine: float
    next_sine: float
    active_rank: int
    n_active: int


def unit_of_pattern(Z: np.ndarray, outputs: np.ndarray, active: np.ndarray) -> PatternUnit | None:
    """Solve for the unit with the given active samples.

    Parameters
    ----------
    Z : ndarray of shape (n, p)
        Design; rows scaled by the square roots of the weights' shares.
    outputs : ndarray of shape (n, r)
        Orthonormal basis of the outputs (and the constant), scaled alike.
    active : ndarray of bool, shape (n,)
        Activation pattern S.

    Returns
    -------
    PatternUnit or None
        None if no sample is active.
    """
    rows = Z[active]
    if len(rows) == 0:
        return None
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    rank = int(np.sum(singular > RANK_TOLERANCE * singular[0]))
    left, singular, right = left[:, :rank], singular[:rank], right[:rank]
    cosines = outputs[active].T @ left
    # Residual of the masked orthonormal rows: their own part, and the part outside S.
    inside = left - outputs[active] @ cosines
    outside = outputs[~active] @ cosines
    residual = np.linalg.qr(np.vstack([inside, outside]), mode="r")
    _, sines, directions = np.linalg.svd(residual)
    direction = directions[rank - 1]
    v = right.T @ (direction / singular)
    # Of the two signs, the one that is positive on S.
    if np.sum(left @ direction) < 0:
        v = -v
    next_sine = float(sines[rank - 2]) if rank > 1 else 1.0
    # A wide residual (fewer samples than rank) has further null directions.
    sine = float(sines[rank - 1]) if len(sines) >= rank else 0.0
    return PatternUnit(v / np.linalg.norm(v), sine, next_sine, rank, int(active.sum()))


def refine_unit(
    Z: np.ndarray,
    outputs: np.ndarray,
    active: np.ndarray,
    *,
    noise: float = 0.0,
    max_iter: int = 10,
) -> PatternUnit | None:
    """Alternate between a pattern's unit and the unit's own pattern until they agree.

    Parameters
    ----------
    Z, outputs, active
        As in :func:`unit_of_pattern`; ``active`` starts the iteration.
    noise : float, default=0
        Rounding level of the outputs' functions of unit variance.
    max_iter : int, default=10
        Largest number of solves.

    Returns
    -------
    PatternUnit or None
        None if the pattern becomes empty or does not settle.
    """
    p = Z.shape[1]
    sizes = np.linalg.norm(Z, axis=1)
    for _ in range(max_iter):
        unit = unit_of_pattern(Z, outputs, active)
        if unit is None:
            return None
        if unit.active_rank < p and unit.sine <= angle_tolerance(noise):
            completed = _keep_inactive(Z, active, unit)
            if completed is not None:
                return completed
        values = Z @ unit.v
        beyond = values > kink_tolerance(noise) * sizes
        if np.array_equal(beyond, active):
            return unit
        own = values > 0
        if not np.array_equal(own, active):
            active = own
            continue
        # A sample on the kink says nothing about v: adding it to a pattern of deficient rank would
        # feign a full one.
        if _rank(Z[beyond]) == unit.active_rank:
            return unit._replace(n_active=int(beyond.sum()))
        active = beyond
    return None


def isolation(
    Z: np.ndarray, outputs: np.ndarray, unit: PatternUnit, *, noise: float = 0.0
) -> float:
    """How far a unit is from being one of a family of units.

    Two units that are active on the same samples can be replaced by other combinations of them;
    the extreme combinations vanish on one of these samples. So the samples on a unit's kink are
    counted as active, each and all, and the second principal angle must stay away from zero.

    Returns
    -------
    float
        Smallest second sine over these patterns.
    """
    values = Z @ unit.v
    sizes = np.linalg.norm(Z, axis=1)
    width = kink_tolerance(noise) * sizes
    active = values > width
    kink = np.flatnonzero((np.abs(values) <= width) & (sizes > 0))
    smallest = unit.next_sine
    for added in [kink, *kink[:, None]] if len(kink) > 1 else [kink] if len(kink) else []:
        pattern = active.copy()
        pattern[added] = True
        other = unit_of_pattern(Z, outputs, pattern)
        if other is not None:
            smallest = min(smallest, other.next_sine)
    return smallest


def _rank(rows: np.ndarray) -> int:
    singular = np.linalg.svd(rows, compute_uv=False)
    return int(np.sum(singular > RANK_TOLERANCE * np.max(singular, initial=0.0)))


def _keep_inactive(Z: np.ndarray, active: np.ndarray, unit: PatternUnit) -> PatternUnit | None:
    """Choose the undetermined part of v so that the other samples stay inactive.

    Active rows of deficient rank determine v on their span only. What is added off it comes from
    two linear programs: the margin that the inactive samples allow (capped, since a far off v loses
    digits), and the shortest addition that keeps half of it.
    """
    span = np.linalg.svd(Z[active])[2]
    free = span[unit.active_rank :].T
    rows = Z[~active]
    rows = rows[np.linalg.norm(rows @ free, axis=1) > 0]
    rows = rows / np.linalg.norm(rows, axis=1)[:, None]
    moves, offsets = rows @ free, rows @ unit.v
    j = free.shape[1]
    widest = optimize.linprog(
        np.append(np.zeros(j), -1.0),
        A_ub=np.column_stack([moves, np.ones(len(rows))]),
        b_ub=-offsets,
        bounds=[(-100.0, 100.0)] * j + [(None, LARGEST_MARGIN)],
    )
    if widest.status != 0 or widest.x[-1] <= 1e-9:
        return None
    eye, one = np.eye(j), np.ones((j, 1))
    shortest = optimize.linprog(
        np.append(np.zeros(j), 1.0),
        A_ub=np.block([[moves, np.zeros((len(rows), 1))], [eye, -one], [-eye, -one]]),
        b_ub=np.concatenate([-offsets - widest.x[-1] / 2, np.zeros(2 * j)]),
        bounds=[(None, None)] * j + [(0, None)],
    )
    addition = shortest.x[:j] if shortest.status == 0 else widest.x[:j]
    v = unit.v + free @ addition
    if np.any(Z[~active] @ v > 0):
        return None
    return unit._replace(v=v / np.linalg.norm(v))
