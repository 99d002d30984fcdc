"""Replacing atoms that cannot be right: duplicates, unused ones, and one in place of two.

Alternating minimisation gets stuck in dictionaries where two atoms share one true atom, or one
atom sits between two true ones while another is idle. These moves leave such points; which start
was used then hardly matters.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse, stats

from sklearn_nnrecover.dictionaries.atom_pairs import co_occurrence, shared_values
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.stability import agreement_threshold, matched_cosines

CANDIDATES = 512  # residuals among which recurring directions are sought
SAME_WAY = 0.5  # squared cosine from which two of them point the same way, or what chance reaches
MOST_PAIRS = 8  # that are looked at, per atom
ROTATED = 1e-12  # radians that are more than rounding
RECURRING = 0.35  # of the proportions in a pair: two turned atoms share its samples
MIN_RECURRING = 3
PAID = 0.5  # coefficients saved by a turn, in units of those it costs: some of both are noise
MIN_USERS = 8  # samples of an atom before its residuals say anything about its shape


def chance_coherence(n_components: int, n_features: int, level: float = 0.01) -> float:
    """Cosine that the closest pair of random atoms exceeds with probability ``level`` at most."""
    if n_features < 2:
        return 1.0
    pairs = max(n_components * (n_components - 1) / 2, 1.0)
    return float(np.sqrt(stats.beta.isf(level / pairs, 0.5, (n_features - 1) / 2)))


def replace_idle_atoms(
    D: np.ndarray,
    usage: np.ndarray,
    residual: np.ndarray,
    *,
    max_coherence: float,
    min_usage: float = 0.15,
) -> np.ndarray:
    """Replace duplicates and unused atoms by directions that recur in large residuals, in place.

    Parameters
    ----------
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms, changed in place.
    usage : ndarray of shape (n_components,)
        Samples that use each atom.
    residual : ndarray of shape (n_samples, n_features)
        Residuals of the samples.
    max_coherence : float
        Of a pair with larger absolute cosine the less used atom goes.
    min_usage : float, default=0.15
        Atoms used less than this fraction of the median go.

    Returns
    -------
    ndarray of int
        Atoms replaced.
    """
    idle = usage < max(min_usage * np.median(usage), 1)
    first, second = np.nonzero(np.triu(np.abs(D @ D.T), 1) > max_coherence)
    for i, j in zip(first, second, strict=True):
        if not (idle[i] or idle[j]):
            idle[i if usage[i] < usage[j] else j] = True
    square = np.einsum("ij,ij->i", residual, residual)
    idle = np.flatnonzero(idle)[: np.count_nonzero(square)]
    if len(idle):
        D[idle] = recurring_directions(residual, square, len(idle))
    return idle


def recurring_directions(residual: np.ndarray, square: np.ndarray, n_directions: int) -> np.ndarray:
    """Directions of large residuals that point along most of the others, one after the other.

    Samples of an atom that is missing leave residuals along it; a sample of many atoms leaves a
    large one that is like no other.

    Parameters
    ----------
    residual : ndarray of shape (n_samples, n_features)
        Residuals.
    square : ndarray of shape (n_samples,)
        Their squared norms.
    n_directions : int
        At most as many as there are residuals.

    Returns
    -------
    ndarray of shape (n_directions, n_features)
        Unit-norm.
    """
    n_rows = min(max(2 * n_directions, CANDIDATES), int(np.count_nonzero(square)))
    rows = np.argpartition(-square, n_rows - 1)[:n_rows]
    rows = rows[np.argsort(-square[rows], kind="stable")]
    weight = square[rows].astype(np.float64)
    directions = residual[rows] / np.sqrt(square[rows])[:, None]
    alike = np.square(directions @ directions.T)
    alike[alike < max(SAME_WAY, chance_coherence(n_rows, residual.shape[1]) ** 2)] = 0
    np.fill_diagonal(alike, 1)
    picked: list[int] = []
    for _ in range(n_directions):
        explained = alike @ weight
        explained[picked] = -1
        picked.append(int(np.argmax(explained)))
        weight *= np.maximum(1 - alike[picked[-1]], 0)
    return directions[picked]


def irreducible_shares(D: np.ndarray) -> np.ndarray:
    """Squared distance of every atom to a combination of two others, found greedily.

    What is lost when an atom goes is this share of its energy: its samples can be coded by the two
    others. The sum of two frequent atoms is worth nothing.

    Parameters
    ----------
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms.

    Returns
    -------
    ndarray of shape (n_components,)
        From 0 to 1.
    """
    if len(D) < 3:
        return np.ones(len(D))
    rows = np.arange(len(D))
    first = _off_diagonal(np.abs(D @ D.T)).argmax(axis=1)
    along = np.einsum("ij,ij->i", D, D[first])
    left = D - along[:, None] * D[first]
    correlation = _off_diagonal(np.abs(left @ D.T))
    correlation[rows, first] = 0
    second = D[correlation.argmax(axis=1)]
    second = second - np.einsum("ij,ij->i", second, D[first])[:, None] * D[first]
    size = np.maximum(np.einsum("ij,ij->i", second, second), np.finfo(D.dtype).tiny)
    gained = np.einsum("ij,ij->i", left, second) ** 2 / size
    return np.clip(np.einsum("ij,ij->i", left, left) - gained, 0, 1)


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    np.fill_diagonal(matrix, 0)
    return matrix


def pooled_atoms(X: np.ndarray, D: np.ndarray, other: np.ndarray, rule: CodeRule) -> np.ndarray:
    """Give atoms of D to those that another start found and D lacks.

    Each start misses other atoms, and puts something in their place that stands for parts of
    several. Coded by all of them together, samples prefer the true ones: those that carry least
    go.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    D, other : ndarrays of shape (n_components, n_features)
        Unit-norm atoms of two starts.
    rule : CodeRule
        ``n_nonzero``, the signs of codes, and where pursuits stop.

    Returns
    -------
    ndarray of shape (n_components, n_features)
        D itself where it lacks nothing.
    """
    cosine = matched_cosines(other, D, signed=not rule.nonnegative)
    missing = other[cosine < agreement_threshold(*D.shape)]
    if not len(missing):
        return D
    pool = np.vstack([D, missing]).astype(X.dtype)
    stop = rule.threshold if rule.encoder == "omp" else 0.0
    codes = encode(X, pool, CodeRule("omp", rule.n_nonzero, stop, rule.nonnegative))
    energy = np.bincount(codes.indices, weights=codes.data**2, minlength=len(pool))
    kept = np.sort(np.argsort(-energy, kind="stable")[: len(D)])
    return np.vstack([D, missing])[kept] if kept[-1] >= len(D) else D


def stuck_atoms(
    codes: sparse.csr_array,
    residual: np.ndarray,
    value: np.ndarray,
    max_weakness: float = 0.5,
    min_excess: float = 5.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Atoms with too little to do, weakest first, and atoms with too much, worst first.

    Parameters are those of :func:`split_overloaded_atoms`; ``value`` is the energy that would be
    lost with each atom.
    """
    usage = np.bincount(codes.indices, minlength=codes.shape[1])
    square = np.einsum("ij,ij->i", residual, residual)
    load = np.bincount(
        codes.indices, weights=np.repeat(square, np.diff(codes.indptr)), minlength=codes.shape[1]
    ) / np.maximum(usage, 1)
    middle = np.median(load)
    spread = 1.4826 * np.median(np.abs(load - middle))
    weak = value < max_weakness * np.median(value)
    overloaded = load > middle + max(min_excess * spread, 0.02 * middle)
    overloaded &= (usage >= MIN_USERS) & ~weak
    givers = np.flatnonzero(weak)[np.argsort(value[weak], kind="stable")]
    takers = np.flatnonzero(overloaded)[np.argsort(-load[overloaded], kind="stable")]
    return givers, takers


def split_overloaded_atoms(
    D: np.ndarray,
    codes: sparse.csr_array,
    residual: np.ndarray,
    *,
    max_weakness: float = 0.5,
    min_excess: float = 5.0,
    energy: np.ndarray | None = None,
) -> np.ndarray:
    """Give atoms of little value to those that stand for two, in place.

    An atom between two true ones leaves residuals along their difference with its users: far more
    energy than other atoms' users have. It is split by the sign of the users' main residual
    direction into the means of the two groups; the second half replaces an atom without which
    less is lost than that direction gains, and less than ``max_weakness`` of the median atom.

    Parameters
    ----------
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms, changed in place.
    codes : csr_array of shape (n_samples, n_components)
        Codes.
    residual : ndarray of shape (n_samples, n_features)
        ``X - codes @ D``.
    max_weakness : float, default=0.5
        Value, relative to the median atom, below which an atom may be given away.
    min_excess : float, default=5.0
        Mean squared residual of an atom's users, in robust deviations above the median atom, from
        which it is split.
    energy : ndarray of shape (n_components,) or None
        Code energies known from more samples than these.

    Returns
    -------
    ndarray of int
        Atoms changed.
    """
    share = irreducible_shares(D)
    own = share * np.bincount(codes.indices, weights=codes.data**2, minlength=len(D))
    value = own if energy is None else share * energy
    givers, takers = stuck_atoms(codes, residual, value, max_weakness, min_excess)
    columns = codes.tocsc()
    changed: list[int] = []
    for giver, taker in zip(givers, takers, strict=False):
        entries = slice(columns.indptr[taker], columns.indptr[taker + 1])
        users, values = columns.indices[entries], columns.data[entries]
        rest = residual[users] * np.sign(values)[:, None]
        _, size, directions = np.linalg.svd(rest, full_matrices=False)
        gained = size[0] ** 2 - (size[1] ** 2 if len(size) > 1 else 0)
        side = rest @ directions[0] > 0
        if gained < own[giver] or min(side.sum(), (~side).sum()) < 3:
            continue
        parts = rest + np.abs(values)[:, None] * D[taker]
        halves = np.stack([parts[side].sum(axis=0), parts[~side].sum(axis=0)])
        norms = np.linalg.norm(halves, axis=1)
        if np.all(norms > 0):
            D[[taker, giver]] = halves / norms[:, None]
            changed += [taker, giver]
    return np.array(changed, dtype=np.intp)


def untangle_pairs(
    D: np.ndarray,
    codes: sparse.csr_array,
    *,
    min_share: float = 0.3,
    max_spread: float = 0.15,
) -> np.ndarray:
    """Put atoms back on the line that keeps recurring in the plane of a pair, in place.

    Where supports are wide, two atoms may span the plane of two true ones without being them:
    samples of one true atom are then coded by both, always in the same proportion. That proportion
    is the true atom. It takes the place of the atom that is used less if that saves coefficients:
    one in each sample on the line, against one more in those of the atom without the other.

    Parameters
    ----------
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms, changed in place.
    codes : csr_array of shape (n_samples, n_components)
        Codes.
    min_share : float, default=0.3
        Share of an atom's users that must use the other, too.
    max_spread : float, default=0.15
        Angle within which a share ``RECURRING`` of the proportions must lie, relative to the angle
        by which the atom moves, or in radians.

    Returns
    -------
    ndarray of int
        Atoms changed.
    """
    if not codes.nnz:
        return np.empty(0, dtype=np.intp)
    together = co_occurrence(codes)
    usage = np.diagonal(together).copy()
    share = together / np.maximum(np.minimum(usage[:, None], usage), 1)
    share[together < MIN_USERS] = 0
    first, second = np.nonzero(np.triu(share, 1) >= min_share)
    order = np.argsort(-share[first, second], kind="stable")[: MOST_PAIRS * len(D)]
    columns = codes.tocsc()
    changed: list[int] = []
    touched = np.zeros(len(D), dtype=bool)
    for i, j in zip(first[order], second[order], strict=True):
        if touched[i] or touched[j]:
            continue
        values = [shared_values(columns, atom, other) for atom, other in ((i, j), (j, i))]
        angles = np.arctan2(values[1], values[0])
        angle, spread = _recurring_angle(angles)
        moved = abs((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)
        tolerance = max_spread * min(moved, 1.0)
        off = np.abs((angles - angle + np.pi / 2) % np.pi - np.pi / 2)
        out = i if usage[i] <= usage[j] else j
        alone = usage[out] - together[i, j]
        saves = np.count_nonzero(off <= tolerance) > PAID * alone
        if saves and spread <= tolerance and moved > ROTATED:
            atom = np.cos(angle) * D[i] + np.sin(angle) * D[j]
            D[out] = atom / np.linalg.norm(atom)
            touched[[i, j]] = True
            changed.append(int(out))
    return np.array(changed, dtype=np.intp)


def _recurring_angle(angles: np.ndarray) -> tuple[float, float]:
    """Middle and width of the shortest interval that holds ``RECURRING`` of the angles of lines."""
    angle = np.sort(angles % np.pi)
    held = min(max(int(RECURRING * len(angle)), MIN_RECURRING), len(angle) - 1)
    widths = np.concatenate([angle[held:], angle[:held] + np.pi]) - angle
    at = int(np.argmin(widths))
    return float((angle[at] + widths[at] / 2) % np.pi), float(widths[at])
