"""Lenstra-Lenstra-Lovász reduction of integer lattice bases, and subset sums solved by it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

LARGEST_ENTRY_BITS = 40
"""Bits of a basis entry: leaves 13 bits of a double for the sums that a reduction step forms."""

HALF = 0.51
"""Multiples up to this are left: rounding would move exact halves to and fro for ever."""

MOST_ENUMERATED = 14
"""Vectors of which all subsets are formed: 16384 sums take less time than a reduction."""


def reduce_lattice_basis(
    basis: np.ndarray, *, delta: float = 0.99, max_sweeps: int = 5000
) -> np.ndarray:
    """Reduce the rows of an integer basis by all-swap LLL.

    A sweep computes one QR factorisation, size-reduces every row (rounding the triangular factor
    column by column), then swaps *all* neighbouring pairs of one parity that violate Lovász's
    condition ``|b*_i|^2 >= (delta - mu^2) |b*_{i-1}|^2``. Each sweep is a few matrix operations,
    where the textbook order of single swaps would be a Python loop.

    Parameters
    ----------
    basis : ndarray of shape (n_rows, n_columns)
        Linearly independent rows of integers held as float64, entries below 2^40.
    delta : float, default=0.99
        Lovász's constant in (1/4, 1).
    max_sweeps : int, default=5000
        Budget; the basis is valid, though perhaps not fully reduced, when it runs out.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        A basis of the same lattice.

    References
    ----------
    A. K. Lenstra, H. W. Lenstra, L. Lovász, *Factoring polynomials with rational coefficients*,
    Math. Ann. 261 (1982). G. Villard, *Parallel lattice basis reduction*, ISSAC 1992.
    """
    basis = np.array(basis, dtype=float)
    n = len(basis)
    idle = 0
    for sweep in range(max_sweeps):
        # Rows of L: coefficients of the basis in its Gram-Schmidt frame, mu_ij = L_ij / L_jj.
        lower = linalg.qr(basis.T, mode="r", check_finite=False)[0][:n].T.copy()
        reduced = False
        for j in range(n - 2, -1, -1):
            multiple = lower[j + 1 :, j] / lower[j, j]
            multiple = np.where(np.abs(multiple) > HALF, np.rint(multiple), 0.0)
            rows = np.flatnonzero(multiple) + j + 1
            if len(rows):
                multiple = multiple[rows - j - 1, None]
                lower[rows, : j + 1] -= multiple * lower[j, : j + 1]
                basis[rows] -= multiple * basis[j]
                reduced = True
        first = np.arange(sweep % 2, n - 1, 2)
        second = first + 1
        length = lower[first, first] ** 2
        projected = lower[second, first] ** 2 + lower[second, second] ** 2
        violated = projected < delta * length
        first, second = first[violated], second[violated]
        basis[np.r_[first, second]] = basis[np.r_[second, first]]
        idle = 0 if reduced or len(first) else idle + 1
        if idle == 2:
            break
    return basis


class SubsetSum(NamedTuple):
    """Outcome of a subset-sum search.

    Attributes
    ----------
    chosen : ndarray of bool, shape (k,), or None
        The subset found, None if there is none within the tolerance, if several are expected by
        chance alone, or if it was not found.
    log2_chance : float
        Binary logarithm of the number of subsets expected to match by chance alone; a subset
        found with ``log2_chance`` far below 0 is *the* subset.
    matching : ndarray of bool, shape (n_matching, k), or None
        All subsets that match, where all were formed.
    """

    chosen: np.ndarray | None
    log2_chance: float
    matching: np.ndarray | None = None


def subset_sum(vectors: np.ndarray, target: np.ndarray, tol: float) -> SubsetSum:
    """Find the subset of vectors that sums to a target, up to an absolute tolerance.

    All subsets of a few vectors are formed. Of more, the subset is a short vector of the lattice
    spanned by the rows ``(e_j, M g_j)`` and ``(0, M t)``, centred so that all solutions have
    entries -1 and 1 (Lagarias and Odlyzko; Coster et al.).

    Parameters
    ----------
    vectors : ndarray of shape (k, r)
        Candidates.
    target : ndarray of shape (r,)
        Sum to be matched.
    tol : float
        Largest Euclidean norm of the mismatch.

    Returns
    -------
    SubsetSum
    """
    k = len(vectors)
    # Signs x in {-1, 1}: sum_j x_j g_j = 2 t - sum_j g_j, in coordinates of equal spread.
    shifted = 2 * target - vectors.sum(axis=0)
    left, singular, right = np.linalg.svd(vectors, full_matrices=False)
    rank = int(np.sum(singular > tol * np.sqrt(k)))
    if rank == 0:
        return SubsetSum(None, float(k))
    coordinates, goal = left[:, :rank] * singular[:rank], right[:rank] @ shifted
    spread = singular[:rank] / np.sqrt(k)
    # A random subset matches direction i within tol with probability about tol / (2 spread_i).
    precision = np.minimum(1.0, tol / (2 * spread))
    log2_chance = k + float(np.sum(np.log2(precision)))
    if log2_chance > 0:
        return SubsetSum(None, log2_chance)
    if k <= MOST_ENUMERATED:
        matching = _all_subset_sums(vectors, target, tol)
        return SubsetSum(matching[0] if len(matching) else None, log2_chance, matching)
    informative = float(-np.log2(precision).mean())
    # Enough digits that the solution is far shorter than the lattice's other vectors, and no more
    # than are needed: each costs time.
    for bits in (6.0 * k + 40, 12.0 * k + 80):
        digits = min(informative, bits / rank, LARGEST_ENTRY_BITS - 8)
        multiple = 2.0**digits
        basis = np.zeros((k + 1, k + 1 + rank))
        basis[:, : k + 1] = np.eye(k + 1)
        basis[:k, k + 1 :] = np.rint(multiple * coordinates / spread)
        basis[k, k + 1 :] = np.rint(multiple * goal / spread)
        for row in reduce_lattice_basis(basis):
            if np.all(np.abs(row[: k + 1]) == 1):
                chosen = -row[k] * row[:k] > 0
                if np.linalg.norm(chosen @ vectors - target) <= tol:
                    return SubsetSum(chosen, log2_chance)
    return SubsetSum(None, log2_chance)


def _all_subset_sums(vectors: np.ndarray, target: np.ndarray, tol: float) -> np.ndarray:
    """Subsets whose sums are within a distance of the target, (n_matching, k)."""
    k = len(vectors)
    subsets = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    # Coordinates in an orthonormal basis keep the distances.
    coordinates = np.asarray(np.linalg.qr(np.vstack([vectors, target]).T, mode="r")).T
    mismatch = np.linalg.norm(subsets @ coordinates[:k] - coordinates[k], axis=1)
    return np.asarray(subsets[mismatch <= tol] == 1)
