"""A low-rank matrix whose entries carry sparse errors of any size: both, exactly.

Model: ``Y = L + E`` with L (n, m) of rank r, r small beside m, and E zero except on a minority of
entries, which may be arbitrarily wrong. The outputs of a network with k units have rank k (k + 1
with output intercepts), so that with more outputs than that the errors can be found before the
inputs are looked at (section 8 of the paper).

The paper's theorem takes the nuclear norm plus the l1 norm, which is exact for random supports, an
incoherent L and r <= m / polylog(n). Real instances (m = 60, 30 % errors) lie beyond it: the convex
programme comes near L, but not to it. Here:

1. columns are scaled by their median absolute deviations and clipped at 6 of them, so that large
   errors weigh no more than moderate ones;
2. principal component pursuit (inexact augmented Lagrangians, lambda = 1 / sqrt(max(n, m))) gives a
   first L and candidates for its rank;
3. a factorisation of that rank is fitted to the unclipped entries by iteratively reweighted least
   squares, with Geman and McClure's weights ``(1 + (residual / level)^2)^-2``, the level lowered
   from the size of the clip (graduated non-convexity: least absolute deviations stall);
4. entries that it does not reproduce are masked, and the factorisation is fitted to the others by
   least squares; mask and fit alternate until the rest is reproduced to rounding.

Nothing is assumed of steps 2 and 3: a mask is accepted if a matrix of that rank reproduces all
other entries to rounding. A row is *complete* if more of its entries are reproduced than it has
coefficients to fit them with; each entry beyond is a coincidence that an error does not make.

References
----------
Candes, Li, Ma and Wright, "Robust principal component analysis?", Journal of the ACM 58 (2011).
Lin, Chen and Ma, "The augmented Lagrange multiplier method for exact recovery of corrupted low-rank
matrices", arXiv:1009.5055.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.linalg.steps import Step, Steps

EPS = float(np.finfo(np.float64).eps)
CLIP = 6.0
# The median absolute deviation of a normal variable over its standard deviation.
MAD_OF_NORMAL = 0.6745
# Candidates for the rank that are tried: the clearest gaps of the singular values.
N_CANDIDATES = 4
# Largest share of masked entries: beyond it another low-rank matrix may well fit as many entries.
LARGEST_SHARE = 0.5
# Entries of a row beyond the rank that have to be reproduced.
COINCIDENCES = 2
# First level of the weights, in spreads of a column; the factor by which levels fall; the lowest.
FIRST_LEVEL = 3.0
FALL = 0.7
LAST_LEVEL = 1e-5
# Share of the rows that a smaller rank must complete of those that a larger one does.
MOST_ROWS = 0.95
# Median residual of a row, or a column, whose fit is no fit.
LOST = 1e-2
# Levels stay above this many times the typical residual.
LEVEL_OF_RESIDUAL = 10.0
# Residual of entries without an error after least squares, in units of their rounding.
ROUNDING_UNITS = 1e3
# Least-squares rounds without a lower level after which a fit is given up.
PATIENCE = 20


class LowRankSplit(NamedTuple):
    """Result of :func:`robust_low_rank`.

    Attributes
    ----------
    low_rank : ndarray of shape (n, m)
        L: the entries of Y where they are right, completed where they are masked.
    outliers : ndarray of bool, shape (n, m)
        Entries masked as errors.
    complete : ndarray of bool, shape (n,)
        Rows of which enough entries are reproduced; L is not to be relied on in the others.
    rank : int
        Rank of the fit.
    reason : str
        "" if all unmasked entries are reproduced to rounding, else one of "too few outputs" (no
        rank below the number of columns fits) and "no low rank" (nothing fits a majority).
    """

    low_rank: np.ndarray
    outliers: np.ndarray
    complete: np.ndarray
    rank: int
    reason: str = ""


def robust_scale(Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and spread of each column, of which nearly half the entries may be wrong.

    Returns
    -------
    center, spread : ndarrays of shape (m,)
        Spread is the median absolute deviation, scaled to agree with the standard deviation of a
        normal variable; a smaller share of the column where that is zero; 1 for constants.
    """
    center = np.median(Y, axis=0)
    deviations = np.abs(Y - center)
    spread = np.median(deviations, axis=0) / MAD_OF_NORMAL
    for quantile in (0.75, 0.95, 1.0):
        spread = np.where(spread > 0, spread, np.quantile(deviations, quantile, axis=0))
    return center, np.where(spread > 0, spread, 1.0)


def principal_component_pursuit(
    M: np.ndarray, *, max_iter: int = 300, tol: float = 1e-7
) -> Steps[np.ndarray]:
    """Minimise ``|L|_* + lambda |M - L|_1`` by inexact augmented Lagrangians.

    Parameters
    ----------
    M : ndarray of shape (n, m)
        Matrix; at least as many rows as columns run fastest.
    max_iter : int, default=300
        Iterations.
    tol : float, default=1e-7
        Stop when ``|M - L - S|_F`` is below this fraction of ``|M|_F``.

    Yields
    ------
    Step
        Objective and gap: relative infeasibility.

    Returns
    -------
    ndarray of shape (n, m)
        L.
    """
    sparsity = 1.0 / np.sqrt(max(M.shape))
    size = float(np.linalg.norm(M))
    if size == 0:
        return M.copy()
    spectral = float(np.linalg.norm(M, 2))
    dual = M / max(spectral, float(np.abs(M).max()) / sparsity)
    penalty, S = 1.25 / spectral, np.zeros_like(M)
    for _ in range(max_iter):
        L = _shrink_singular_values(M - S + dual / penalty, 1 / penalty)
        rest = M - L + dual / penalty
        S = rest - np.clip(rest, -sparsity / penalty, sparsity / penalty)
        infeasible = M - L - S
        dual = dual + penalty * infeasible
        penalty = min(1.3 * penalty, 1e7 / spectral)
        gap = float(np.linalg.norm(infeasible)) / size
        yield Step(gap, gap)
        if gap <= tol:
            break
    return L


def _shrink_singular_values(M: np.ndarray, threshold: float) -> np.ndarray:
    """Lower all singular values by a threshold, zeros kept (by the smaller Gram matrix)."""
    if M.shape[0] < M.shape[1]:
        return _shrink_singular_values(M.T, threshold).T
    values, vectors = np.linalg.eigh(M.T @ M)
    singular = np.sqrt(np.maximum(values, np.finfo(float).tiny))
    kept = singular > threshold
    vectors = vectors[:, kept]
    return (M @ vectors) * (1 - threshold / singular[kept]) @ vectors.T


def rank_candidates(L: np.ndarray, largest: int) -> list[int]:
    """Ranks after which the singular values of L fall most, clearest first.

    Parameters
    ----------
    L : ndarray of shape (n, m)
        Approximately low-rank matrix.
    largest : int
        Largest rank considered.
    """
    singular = np.linalg.svd(L, compute_uv=False)
    if len(singular) < 2 or largest < 1 or singular[0] == 0:
        return []
    floor = 1e-8 * singular[0]
    falls = np.maximum(singular[:-1], floor) / np.maximum(singular[1:], floor)
    ranks = np.argsort(-falls[:largest], kind="stable")[:N_CANDIDATES] + 1
    return [int(rank) for rank in ranks]


def robust_low_rank(
    Y: np.ndarray,
    *,
    max_rank: int | None = None,
    eps: float = EPS,
    max_iter: int = 300,
) -> Steps[LowRankSplit]:
    """Split a matrix into a low-rank part and sparse errors of any size.

    Parameters
    ----------
    Y : ndarray of shape (n, m)
        Entries, a minority of them wrong.
    max_rank : int or None
        Largest rank considered; always so far below m that a row can be complete.
    eps : float
        Relative rounding of the entries.
    max_iter : int, default=300
        Iterations of each of the three stages.

    Yields
    ------
    Step
        Objective of the running stage.

    Returns
    -------
    LowRankSplit
        With ``reason`` "" if and only if the unmasked entries of complete rows are reproduced.
    """
    n, m = Y.shape
    limit = min(n, m) - COINCIDENCES
    limit = limit if max_rank is None else min(max_rank, limit)
    nothing = np.zeros(Y.shape, dtype=bool)
    failed = LowRankSplit(Y, nothing, nothing[:, 0].copy(), 0, "too few outputs")
    if limit < 1:
        return failed
    center, spread = robust_scale(Y)
    # Medians would add a constant direction, as weak as they are near to the means.
    scaled, middle = Y / spread, center / spread
    clipped = np.clip(scaled, middle - CLIP, middle + CLIP)
    start = yield from principal_component_pursuit(clipped, max_iter=max_iter)
    rounding = eps * ROUNDING_UNITS * (1 + np.abs(middle))
    best: LowRankSplit | None = None
    ranks = rank_candidates(start, limit)
    while ranks:
        rank = ranks.pop(0)
        if best is not None and rank >= best.rank and best.complete.mean() > MOST_ROWS:
            continue
        fitted = yield from graduated_fit(scaled, start, rank, max_iter=max_iter)
        split = yield from _mask_and_complete(scaled, fitted, rounding, rank, max_iter)
        # Of the ranks that fit, the smallest: a larger one leaves masked entries undetermined. But
        # too small a rank fits the rows on which some unit is inactive, and those only.
        if split is None or (best is not None and split.rank == best.rank):
            continue
        if best is None:
            better = True
        elif rank < best.rank:
            better = bool(split.complete.sum() >= MOST_ROWS * best.complete.sum())
        else:
            better = bool(best.complete.sum() < MOST_ROWS * split.complete.sum())
        if better:
            best = split
            ranks += [rank - 1] if rank > 1 else []
    if best is None:
        return failed._replace(reason="no low rank")
    return best._replace(low_rank=np.where(best.outliers, spread * best.low_rank, Y))


def graduated_fit(
    Y: np.ndarray, start: np.ndarray, rank: int, *, max_iter: int = 300
) -> Steps[np.ndarray]:
    """Fit a matrix of given rank to most entries, by graduated non-convexity.

    Parameters
    ----------
    Y : ndarray of shape (n, m)
        Entries of unit spread.
    start : ndarray of shape (n, m)
        Matrix whose leading row space starts the iteration.
    rank : int
        Rank.
    max_iter : int, default=300
        Iterations.

    Yields
    ------
    Step
        Median absolute residual, and the level of the weights.

    Returns
    -------
    ndarray of shape (n, m)
    """
    right = np.linalg.svd(start, full_matrices=False)[2][:rank]
    residual, level = Y - start, FIRST_LEVEL
    for _ in range(max_iter):
        weight = (1 + (residual / level) ** 2) ** -2
        fitted, right = weighted_low_rank(Y, weight, right)
        residual = Y - fitted
        typical = float(np.median(np.abs(residual)))
        yield Step(typical, level)
        lower = max(FALL * level, LEVEL_OF_RESIDUAL * typical)
        # Once the residuals of most entries hold the level up, it only has to go on falling.
        level = lower if lower < level else FALL * level
        if level < LAST_LEVEL:
            break
    return fitted


def weighted_low_rank(
    Y: np.ndarray, weight: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One alternation of weighted least squares on ``Y ~ left @ right``.

    Parameters
    ----------
    Y, weight : ndarrays of shape (n, m)
        Entries and their weights.
    right : ndarray of shape (r, m)
        Row space to start from.

    Returns
    -------
    fitted : ndarray of shape (n, m)
        Best fit of each row in the new row space.
    right : ndarray of shape (r, m)
        Orthonormal basis of the new row space.
    """
    left = np.linalg.qr(_weighted_rows(Y, weight, right.T))[0]
    basis = np.asarray(np.linalg.qr(_weighted_rows(Y.T, weight.T, left))[0])
    return _weighted_rows(Y, weight, basis) @ basis.T, basis.T


def _weighted_rows(Y: np.ndarray, weight: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Coefficients of each row of Y in a basis (m, r) of row space, by weighted least squares."""
    n, r = len(Y), basis.shape[1]
    solution = np.empty((n, r))
    squares = np.einsum("ij,il->ijl", basis, basis).reshape(len(basis), -1)
    for rows in row_blocks(n, 8.0 * (3 * r * r + 2 * len(basis))):
        w = weight[rows]
        gram = (w @ squares).reshape(-1, r, r)
        # The shift only keeps rows with too few entries solvable; one refinement undoes it.
        level = 64 * EPS * np.maximum(w.sum(axis=1), 1.0)
        inverse = np.linalg.inv(gram + level[:, None, None] * np.eye(r))
        found = np.zeros((len(w), r))
        for _ in range(2):
            right = (w * (Y[rows] - found @ basis.T)) @ basis
            found += np.einsum("nij,nj->ni", inverse, right)
        solution[rows] = found
    return solution


def _refit_lost_rows(Y: np.ndarray, fitted: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Fit the rows that hardly any entry agrees with again, the basis of row space held."""
    lost = np.median(np.abs(Y - fitted), axis=1) > LOST
    if not lost.any() or lost.mean() > LARGEST_SHARE:
        return fitted
    fitted, level = fitted.copy(), FIRST_LEVEL
    residual = Y[lost]
    while level > LAST_LEVEL:
        weight = (1 + (residual / level) ** 2) ** -2
        fitted[lost] = _weighted_rows(Y[lost], weight, basis) @ basis.T
        residual = Y[lost] - fitted[lost]
        level *= FALL
    return fitted


def _mask_and_complete(
    Y: np.ndarray, fitted: np.ndarray, rounding: np.ndarray, rank: int, max_iter: int
) -> Steps[LowRankSplit | None]:
    """Mask what a fit does not reproduce; least squares on the rest, until that is reproduced."""
    left, _, right = np.linalg.svd(fitted, full_matrices=False)
    # A column or a row may be lost to its errors while the factors of all others are right.
    fitted = _refit_lost_rows(Y.T, fitted.T, left[:, :rank]).T
    fitted = _refit_lost_rows(Y, fitted, right[:rank].T)
    right = np.linalg.svd(fitted, full_matrices=False)[2][:rank]
    residual = np.abs(Y - fitted)
    level, stalled = LEVEL_OF_RESIDUAL * float(np.median(residual)), 0
    for _ in range(max_iter):
        size = np.maximum(1.0, np.abs(fitted))
        usable = residual <= np.maximum(level, rounding * size)
        complete = usable.sum(axis=1) >= rank + COINCIDENCES
        usable &= complete[:, None]
        if np.mean(usable) < 1 - LARGEST_SHARE or np.any(usable.sum(axis=0) <= rank):
            return None
        fitted, right = weighted_low_rank(Y, usable.astype(float), right)
        residual = np.abs(Y - fitted)
        limit = rounding * np.maximum(1.0, np.abs(fitted))
        yield Step(float(np.max(residual[usable])), level)
        if np.all((residual <= limit)[usable]):
            return LowRankSplit(fitted, (residual > limit) | ~complete[:, None], complete, rank)
        lower = max(FALL * level, LEVEL_OF_RESIDUAL * float(np.median(residual[complete])))
        stalled = stalled + 1 if lower >= level else 0
        level = min(level, lower)
        if stalled == PATIENCE:
            return None
    return None
