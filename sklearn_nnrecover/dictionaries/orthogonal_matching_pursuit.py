"""Orthogonal matching pursuit for many samples at once, in correlation space.

Model: a row x of X (samples are rows, atoms the unit-norm rows of D) is a combination of a few
atoms. The pursuit picks the atom d_s that correlates most with the residual r, then refits all
picked atoms by least squares. Only the correlations a = D r are kept, never the residual: with the
Gram matrix G = D D', adding atom s changes the least-squares coefficients by

    delta = (a_s / nu^2) (-T T' g, 1),    g = G[picked, s],   nu^2 = 1 - |T' g|^2,

where T is the inverse Cholesky factor of the Gram matrix of the picked atoms, so that
a <- a - delta G[picked]. All of it is done for a block of samples by gathered rows of G and batched
products of vectors with matrices; no loop runs over samples.

References
----------
R. Rubinstein, M. Zibulevsky, M. Elad, "Efficient implementation of the K-SVD algorithm using batch
orthogonal matching pursuit", Technion CS-2008-08.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WORKSPACE_BYTES = 2**19  # one array of correlations: small enough to stay in the second-level cache


class Pursuit(NamedTuple):
    """What the pursuit found, one row a sample.

    Attributes
    ----------
    atoms : ndarray of shape (n_samples, n_nonzero), int32
        Picked atoms, in the order of picking.
    values : ndarray of shape (n_samples, n_nonzero)
        Their least-squares coefficients; 0 where the pursuit had stopped.
    residual_square : ndarray of shape (n_samples,)
        Squared norm of the residual, computed by subtraction: good to a few roundings of |x|^2.
    next_correlation : ndarray of shape (n_samples,)
        Largest (absolute) correlation of an atom with the final residual.
    """

    atoms: np.ndarray
    values: np.ndarray
    residual_square: np.ndarray
    next_correlation: np.ndarray


def block_rows(n_components: int, itemsize: int) -> int:
    """Samples per block for which the arrays of correlations stay in cache."""
    return int(np.clip(WORKSPACE_BYTES // (n_components * itemsize), 16, 1024))


def orthogonal_matching_pursuit(
    X: np.ndarray,
    D: np.ndarray,
    n_nonzero: int,
    *,
    gram: np.ndarray | None = None,
    min_correlation: float = 0.0,
    nonnegative: bool = False,
    first: np.ndarray | None = None,
) -> Pursuit:
    """Code every row of X by at most ``n_nonzero`` atoms.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples, float32 or float64; all work is done in this dtype.
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms in the dtype of X.
    n_nonzero : int
        Largest number of atoms a sample, at most ``n_components``.
    gram : ndarray of shape (n_components, n_components) or None
        ``D @ D.T``, if known.
    min_correlation : float, default=0.0
        A sample stops when no atom correlates more than this with its residual; rounding of its
        norm is always a reason to stop.
    nonnegative : bool, default=False
        Pick by the largest correlation instead of the largest absolute one. Coefficients may still
        become negative.
    first : ndarray of shape (n_samples,) or None
        Atoms to begin with, in place of the best correlated ones.

    Returns
    -------
    Pursuit
    """
    n_samples, n_components = len(X), len(D)
    gram = D @ D.T if gram is None else gram
    rounding = np.finfo(X.dtype).eps
    dependent = 64 * rounding * n_nonzero
    D_columns = np.ascontiguousarray(D.T)

    atoms = np.empty((n_samples, n_nonzero), dtype=np.int32)
    values = np.zeros((n_samples, n_nonzero), dtype=X.dtype)
    residual_square = np.einsum("ij,ij->i", X, X)
    next_correlation = np.empty(n_samples, dtype=X.dtype)
    floor = np.maximum(min_correlation, 8 * rounding * np.sqrt(residual_square))

    block = min(block_rows(n_components, X.itemsize), max(n_samples, 1))
    correlation = np.empty((block, n_components), dtype=X.dtype)
    work = np.empty_like(correlation)
    picked_gram = np.empty((block, n_nonzero, n_components), dtype=X.dtype)
    inverse_cholesky = np.zeros((block, n_nonzero, n_nonzero), dtype=X.dtype)

    for start in range(0, n_samples, block):
        here = slice(start, min(start + block, n_samples))
        size = here.stop - here.start
        rows = np.arange(size)
        a, w, GP, T = (array[:size] for array in (correlation, work, picked_gram, inverse_cholesky))
        np.matmul(X[here], D_columns, out=a)
        active = np.ones(size, dtype=bool)
        for j in range(n_nonzero):
            if j == 0 and first is not None:
                pick = first[here]
            else:
                pick = _largest(a, w, nonnegative)
            strength = a[rows, pick]
            GP[:, j] = gram[pick]
            t = T[:, : j + 1, j]
            if j:
                g = GP[rows, :j, pick]
                h = np.matmul(g[:, None, :], T[:, :j, :j])[:, 0]
                nu_square = 1 - np.einsum("ij,ij->i", h, h)
                active &= nu_square > dependent
                nu = np.sqrt(np.where(active, nu_square, 1))
                t[:, :j] = np.matmul(T[:, :j, :j], h[:, :, None])[:, :, 0]
                t[:, :j] /= -nu[:, None]
                t[:, j] = 1 / nu
            else:
                nu = np.ones(size, dtype=X.dtype)
                t[:, 0] = 1
            active &= np.abs(strength) > floor[here]
            if nonnegative:
                active &= strength > 0
            step = np.where(active, strength / nu, 0)
            delta = t * step[:, None]
            atoms[here, j] = pick
            values[here, : j + 1] += delta
            residual_square[here] -= step * step
            if not active.any():
                atoms[here, j + 1 :] = pick[:, None]
                break
            np.matmul(delta[:, None, :], GP[:, : j + 1], out=w[:, None, :])
            np.subtract(a, w, out=a)
        next_correlation[here] = np.abs(a[rows, _largest(a, w, nonnegative)])
    np.maximum(residual_square, 0, out=residual_square)
    return Pursuit(atoms, values, residual_square, next_correlation)


def _largest(a: np.ndarray, work: np.ndarray, nonnegative: bool) -> np.ndarray:
    """Index of the largest (absolute) entry of each row."""
    if nonnegative:
        return a.argmax(axis=1)
    np.abs(a, out=work)
    return work.argmax(axis=1)
