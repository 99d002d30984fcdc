"""Supports of one width for many samples at once, and least squares on them.

A support is the set of atoms that a sample uses. Supports of many samples are padded to one width:
an integer array of atoms and a mask, or values of which zeros mean nothing.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse


def padded_to_csr(atoms: np.ndarray, values: np.ndarray, n_components: int) -> sparse.csr_array:
    """Turn padded codes (zero values mean nothing) into canonical CSR."""
    n_samples, width = atoms.shape
    order = np.argsort(atoms, axis=1, kind="stable")
    atoms = np.take_along_axis(atoms, order, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    kept = values != 0
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    if kept.all():
        indices, data = atoms.ravel(), values.ravel()
    else:
        indices, data = atoms[kept], values[kept]
    index_dtype = np.int32 if n_samples * width < 2**31 else np.int64
    return sparse.csr_array(
        (data, indices.astype(index_dtype), indptr.astype(index_dtype)),
        shape=(n_samples, n_components),
    )


def csr_to_padded(codes: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Supports of canonical CSR as a padded array, and the mask of its entries."""
    counts = np.diff(codes.indptr)
    width = max(int(counts.max(initial=1)), 1)
    active = np.arange(width) < counts[:, None]
    atoms = np.zeros((codes.shape[0], width), dtype=np.int32)
    atoms[active] = codes.indices
    return atoms, active


def least_squares_values(
    X: np.ndarray, D: np.ndarray, gram: np.ndarray, atoms: np.ndarray, active: np.ndarray
) -> np.ndarray:
    """Least-squares coefficients on given supports.

    Parameters
    ----------
    X, D, gram : ndarrays
        Samples, unit-norm atoms and ``D @ D.T``.
    atoms : ndarray of shape (n_samples, width)
        Padded supports.
    active : ndarray of shape (n_samples, width), bool
        Which entries of ``atoms`` count.

    Returns
    -------
    values : ndarray of shape (n_samples, width)
        0 where not active. Supports of dependent atoms get the solution of a system whose diagonal
        is raised by a few roundings.
    """
    width = atoms.shape[1]
    values = np.zeros(atoms.shape, dtype=X.dtype)
    block = max(16, 2**21 // (X.itemsize * width * (X.shape[1] + width)))
    for start in range(0, len(X), block):
        here = slice(start, start + block)
        on, support = active[here], atoms[here]
        moments = np.matmul(D[support], X[here][:, :, None]) * on[:, :, None]
        values[here] = np.linalg.solve(_support_gram(gram, support, on), moments)[:, :, 0]
    return values


def nonnegative_least_squares(
    X: np.ndarray, D: np.ndarray, gram: np.ndarray, atoms: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Drop atoms with negative coefficients and refit the others until none is left."""
    values = values.copy()
    for _ in range(atoms.shape[1]):
        rows = np.flatnonzero((values < 0).any(axis=1))
        if not len(rows):
            break
        values[rows] = least_squares_values(X[rows], D, gram, atoms[rows], values[rows] > 0)
    return np.maximum(values, 0)


def prune(
    gram: np.ndarray,
    atoms: np.ndarray,
    values: np.ndarray,
    width: int,
    min_value: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Drop the smallest least-squares coefficient and refit, while there is one to drop.

    Parameters
    ----------
    gram : ndarray of shape (n_components, n_components)
        Gram matrix of the atoms.
    atoms, values : ndarrays of shape (n_samples, longer)
        Padded supports and coefficients.
    width : int
        Number of atoms that may be left.
    min_value : float, default=0.0
        Coefficients of this size or less are dropped, however few are left.

    Returns
    -------
    atoms, values : ndarrays of shape (n_samples, width)
    """
    values, longer = values.copy(), atoms.shape[1]
    small = (np.abs(values) <= min_value) & (values != 0)
    long = np.flatnonzero(small.any(axis=1) | (np.count_nonzero(values, axis=1) > width))
    block = max(16, 2**21 // (values.itemsize * longer**2))
    for start in range(0, len(long), block):
        here = long[start : start + block]
        values[here] = _eliminated(gram, atoms[here], values[here], width, min_value)
    order = np.argsort(values == 0, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(atoms, order, axis=1), np.take_along_axis(values, order, axis=1)


def _eliminated(
    gram: np.ndarray, atoms: np.ndarray, values: np.ndarray, width: int, min_value: float
) -> np.ndarray:
    """Values after backward elimination, by rank-one updates of inverse Gram matrices."""
    rows, active = np.arange(len(atoms)), values != 0
    inverse = np.linalg.inv(_support_gram(gram, atoms, active))
    for _ in range(atoms.shape[1]):
        size = np.where(active, np.abs(values), np.inf)
        weakest = size.argmin(axis=1)
        drop = (active.sum(axis=1) > width) | (size[rows, weakest] <= min_value)
        if not drop.any():
            break
        active[rows[drop], weakest[drop]] = False
        pivot = np.where(drop, inverse[rows, weakest, weakest], 1)
        column = inverse[rows, weakest] * drop[:, None]
        values = values - column * (values[rows, weakest] / pivot)[:, None]
        values[~active] = 0
        inverse -= column[:, :, None] * (column / pivot[:, None])[:, None, :]
    return values


def _support_gram(gram: np.ndarray, atoms: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Gram matrices of padded supports, with ones at what is not active.

    Their diagonal is raised by a few roundings, for supports of dependent atoms.
    """
    width = atoms.shape[1]
    system = gram[atoms[:, :, None], atoms[:, None, :]]
    system *= active[:, :, None] & active[:, None, :]
    diagonal = np.arange(width)
    system[:, diagonal, diagonal] = 1 + 8 * np.finfo(gram.dtype).eps * width
    return system
