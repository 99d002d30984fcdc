"""The unit of a known activation pattern, by one singular value decomposition.

Let Q be an orthonormal basis of the outputs' functions on the samples and S a set of samples. A
ReLU unit with active set S satisfies 1_S (z v) = Q zeta: the masked design and the outputs have a
principal angle of zero, and v is its direction. The sine is computed from the residual of the
projection, not from 1 - cosine^2, so that it is at rounding level for a true pattern.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


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


def unit_of_pattern(
    Z: np.ndarray, outputs: np.ndarray, active: np.ndarray, *, rtol: float = 1e-9
) -> PatternUnit | None:
    """Solve for the unit with the given active samples.

    Parameters
    ----------
    Z : ndarray of shape (n, p)
        Design; rows scaled by the square roots of the weights' shares.
    outputs : ndarray of shape (n, r)
        Orthonormal basis of the outputs (and the constant), scaled alike.
    active : ndarray of bool, shape (n,)
        Activation pattern S.
    rtol : float, default=1e-9
        Relative tolerance of the rank of the active rows.

    Returns
    -------
    PatternUnit or None
        None if no sample is active.
    """
    rows = Z[active]
    if len(rows) == 0:
        return None
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    rank = int(np.sum(singular > rtol * singular[0]))
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
    Z: np.ndarray, outputs: np.ndarray, active: np.ndarray, *, max_iter: int = 10
) -> PatternUnit | None:
    """Alternate between a pattern's unit and the unit's own pattern until they agree.

    Parameters
    ----------
    Z, outputs, active
        As in :func:`unit_of_pattern`; ``active`` starts the iteration.
    max_iter : int, default=10
        Largest number of solves.

    Returns
    -------
    PatternUnit or None
        None if the pattern becomes empty or does not settle.
    """
    for _ in range(max_iter):
        unit = unit_of_pattern(Z, outputs, active)
        if unit is None:
            return None
        values = Z @ unit.v
        own = values > 16 * np.finfo(float).eps * np.linalg.norm(Z, axis=1)
        if np.array_equal(own, active):
            return unit
        active = own
    return None
