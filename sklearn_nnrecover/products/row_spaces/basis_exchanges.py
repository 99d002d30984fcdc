"""Which of several sparse bases of a row space: the one whose codes are least correlated.

``Y = Z @ F`` does not change when a row ``f_i`` makes way for ``v = sum_j c_j f_j``: the columns of
Z become ``z_j - (c_j / c_i) z_i``. Where v is as sparse as ``f_i`` the number of non-zeros cannot
tell the two apart, but the codes can: wrong columns share a part, and are longer for it. With
independent Gaussian columns of Z the description length is, up to constants,

    N / 2 * sum_j log |z_j|^2 + nnz(F) log n_columns + m / 2 log N

for N rows of Y (the volume that F gains, Z loses) and m entries of F other than 1 and -1, and
exchanges descend on it. The inverse
covariance alone is a poor guide where Z is nearly singular, as deep products are.

Of integer data one thing more is known: the codes are integers. A sum and a difference in the place
of two rows leave halves, since they span a coarser lattice (`integral_basis`).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy import linalg

from sklearn_nnrecover.products.layer_inversion import least_squares_codes
from sklearn_nnrecover.products.row_spaces.lightest_bases import count_other_values
from sklearn_nnrecover.products.row_spaces.systematic_bases import RowSpace

COEFFICIENT_TOL = 1e-7
"""Coefficients below this fraction of a vector's largest are rounding."""

INTEGER_TOL = 1e-6
"""Codes closer than this to integers are integers."""

MOST_MEMBERS = 6
"""Vectors that need more rows of the basis than this are not tried: they are no near misses."""


def least_correlated_basis(
    vectors: sp.csr_array, chosen: np.ndarray, space: RowSpace, n_rows: int
) -> np.ndarray:
    """Exchange members of a basis while that shortens the description of codes and basis.

    Parameters
    ----------
    vectors : csr_array of shape (n_vectors, n_columns)
        Vectors of the row space in the row gauge.
    chosen : ndarray of int, shape (rank,)
        Rows of ``vectors`` that form a basis.
    space : RowSpace
    n_rows : int
        Rows of the data.

    Returns
    -------
    ndarray of int, shape (rank,)
        Another basis among ``vectors``, or the same.
    """
    rank = space.rank
    chosen = np.array(chosen)
    length = np.diff(vectors.indptr) * np.log(vectors.shape[1])
    length = length + 0.5 * np.log(max(n_rows, 1)) * count_other_values(vectors)
    coordinates = vectors @ space.basis.T
    # Every exchange shortens the description; the budget is a guard against rounding.
    for _ in range(2 * rank):
        others = np.setdiff1d(np.arange(vectors.shape[0]), chosen)
        if not len(others):
            break
        inverse = linalg.inv(coordinates[chosen], check_finite=False)
        codes = coordinates[others] @ inverse
        half = space.singular_values[:, None] * inverse
        gram = half.T @ half
        vector, member, saving = _savings(codes, gram, n_rows)
        saving = saving + length[chosen[member]] - length[others[vector]]
        better = np.flatnonzero(saving > 1e-6 * n_rows)
        if not len(better):
            break
        touched = np.zeros(rank, dtype=bool)
        for index in better[np.argsort(-saving[better], kind="stable")]:
            rows = np.flatnonzero(_members(codes[vector[index]]))
            if not touched[rows].any():
                touched[rows] = True
                chosen[member[index]] = others[vector[index]]
    return chosen


def integral_basis(vectors: sp.csr_array, chosen: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Exchange members of a basis that leave integer data without integer codes.

    A vector ``v = sum_j c_j f_j`` with ``|c_i| < 1`` in the place of ``f_i`` refines the lattice
    that the basis spans. It is taken if it is no heavier than ``f_i``.

    Parameters
    ----------
    vectors : csr_array of shape (n_vectors, n_columns)
        Vectors of the row space of Y in the row gauge.
    chosen : ndarray of int, shape (rank,)
        Rows of ``vectors`` that form a basis.
    Y : ndarray of shape (n_rows, n_columns)
        Integers.

    Returns
    -------
    ndarray of int, shape (rank,)
        Another basis among ``vectors``, or the same where none gives integer codes or is needed.
    """
    weights, trial = np.diff(vectors.indptr), np.array(chosen)
    # Every exchange halves the index of the lattice at least.
    for _ in range(len(chosen)):
        basis = sp.csr_array(vectors[trial])
        codes = least_squares_codes(basis, Y)
        broken = np.abs(codes - np.rint(codes)).max(axis=0) > INTEGER_TOL
        if not broken.any():
            return trial
        others = np.setdiff1d(np.flatnonzero(weights <= weights[trial].max()), trial)
        coefficients = np.abs(least_squares_codes(basis, vectors[others].toarray()))
        finer = (coefficients > INTEGER_TOL) & (coefficients < 0.5 + INTEGER_TOL)
        finer &= broken & (weights[others][:, None] <= weights[trial])
        if not finer.any():
            break
        vector, member = np.argwhere(finer)[0]
        trial[member] = others[vector]
    return chosen


def _members(codes: np.ndarray) -> np.ndarray:
    return np.abs(codes) > COEFFICIENT_TOL * np.abs(codes).max(axis=-1, keepdims=True)


def _savings(
    codes: np.ndarray, gram: np.ndarray, n_rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nats saved in the codes when ``vector`` takes the place of the basis row ``member``."""
    needed = _members(codes)
    needed[np.sum(needed, axis=1) > MOST_MEMBERS] = False
    vector, member = np.nonzero(needed)
    size = np.bincount(vector, minlength=len(codes))
    start = np.cumsum(size) - size
    # Every ordered pair (i, j) of rows that one vector needs.
    repeated = size[vector]
    first = np.repeat(np.arange(len(vector)), repeated)
    offset = np.arange(len(first)) - np.repeat(np.cumsum(repeated) - repeated, repeated)
    second = start[vector[first]] + offset
    i, j, v = member[first], member[second], vector[first]
    ratio = codes[v, j] / codes[v, i]
    energy = gram[j, j] - 2 * ratio * gram[i, j] + ratio**2 * gram[i, i]
    change = np.where(i == j, 0.0, np.log(np.maximum(energy, 1e-300) / gram[j, j]))
    saving = -0.5 * n_rows * np.bincount(first, change, minlength=len(vector))
    return vector, member, saving
