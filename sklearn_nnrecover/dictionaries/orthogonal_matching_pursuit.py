"""Orthogonal matching pursuit for many samples at once, in correlation space.

Model: a row x of X (samples are rows, atoms the unit-norm rows of D) is a combination of a few
atoms. The pursuit picks the atom d_s that correlates most with the residual r, then refits all
picked atoms by least squares. Only the correlations a = D r are kept, never the residual: with the
Gram matrix G = D D' and coefficients c of the picked atoms,

    a = D x - c G[picked].

Adding atom s changes the coefficients by

    delta = (a_s / nu^2) (-T T' g, 1),    g = G[picked, s],   nu^2 = 1 - |T' g|^2,

where T is the inverse Cholesky factor of the Gram matrix of the picked atoms. All of it is done for
a block of samples: D x and the gathered rows of G lie in one array, so that a step reads it once,
in one batched product of vectors with matrices. No loop runs over samples.

References
----------
R. Rubinstein, M. Zibulevsky, M. Elad, "Efficient implementation of the K-SVD algorithm using batch
orthogonal matching pursuit", Technion CS-2008-08.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CORRELATION_BYTES = 2**20  # one array of correlations: fewer are slowed down by calls
WORKSPACE_BYTES = 2**23  # all such arrays together: more would leave the cache


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
        Largest (absolute) correlation of an atom with the final residual; empty if not asked for.
    """

    atoms: np.ndarray
    values: np.ndarray
    residual_square: np.ndarray
    next_correlation: np.ndarray


def correlations(X: np.ndarray, D: np.ndarray, nonnegative: bool) -> np.ndarray:
    """Return z = X D' for non-negative codes, |z| for signed ones."""
    z = X @ D.T
    return z if nonnegative else np.abs(z, out=z)


def block_rows(n_components: int, itemsize: int, n_arrays: int = 1) -> int:
    """Samples per block for which ``n_arrays`` arrays of correlations stay in cache."""
    row = n_components * itemsize
    return int(np.clip(min(CORRELATION_BYTES, WORKSPACE_BYTES // n_arrays) // row, 16, 1024))


def orthogonal_matching_pursuit(
    X: np.ndarray,
    D: np.ndarray,
    n_nonzero: int,
    *,
    gram: np.ndarray | None = None,
    min_correlation: float = 0.0,
    nonnegative: bool = False,
    first: np.ndarray | None = None,
    follow: bool = True,
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
    follow : bool, default=True
        Whether to find ``next_correlation``, which costs one more pass over the correlations.

    Returns
    -------
    Pursuit
    """
    n_samples, n_components = len(X), len(D)
    gram = D @ D.T if gram is None else gram
    rounding = np.finfo(X.dtype).eps
    dependent = 64 * rounding * n_nonzero

    atoms = np.empty((n_samples, n_nonzero), dtype=np.int32)
    values = np.zeros((n_samples, n_nonzero), dtype=X.dtype)
    residual_square = np.einsum("ij,ij->i", X, X)
    next_correlation = np.empty(n_samples if follow else 0, dtype=X.dtype)
    floor = np.maximum(min_correlation, 8 * rounding * np.sqrt(residual_square))

    block = min(block_rows(n_components, X.itemsize, n_nonzero + 2), max(n_samples, 1))
    workspace = np.empty((n_nonzero + 1, block, n_components), dtype=X.dtype)
    work = np.empty((block, n_components), dtype=X.dtype)

    for start in range(0, n_samples, block):
        here = slice(start, min(start + block, n_samples))
        rows = np.arange(here.stop - here.start)
        stack, a = workspace[:, : len(rows)], work[: len(rows)]
        by_sample = stack.transpose(1, 0, 2)
        # Weights of D x and of the rows of G in a: 1 and minus the coefficients.
        weights = np.zeros((len(rows), 1, n_nonzero + 1), dtype=X.dtype)
        weights[:, 0, 0] = 1
        T = np.zeros((len(rows), n_nonzero, n_nonzero), dtype=X.dtype)
        picked, active = atoms[here], np.ones(len(rows), dtype=bool)
        np.matmul(X[here], D.T, out=stack[0])
        current = stack[0]
        for j in range(n_nonzero):
            if not nonnegative:
                current = np.abs(current, out=a)
            pick = first[here] if j == 0 and first is not None else current.argmax(axis=1)
            # "clip" lets take write in place; picks are never out of range.
            np.take(gram, pick, axis=0, out=stack[j + 1], mode="clip")
            g = gram[picked[:, :j], pick[:, None]]
            strength = stack[0][rows, pick] + np.einsum("ij,ij->i", weights[:, 0, 1 : j + 1], g)
            h = np.matmul(g[:, None, :], T[:, :j, :j])[:, 0]
            nu_square = 1 - np.einsum("ij,ij->i", h, h)
            active &= (nu_square > dependent) & (np.abs(strength) > floor[here])
            if nonnegative:
                active &= strength > 0
            # Samples that have stopped get a zero column: no coefficient changes any more.
            inverse = np.where(active, 1 / np.sqrt(np.where(active, nu_square, 1)), 0)
            t = T[:, : j + 1, j]
            t[:, :j] = np.matmul(T[:, :j, :j], h[:, :, None])[:, :, 0] * -inverse[:, None]
            t[:, j] = inverse
            step = strength * inverse
            weights[:, 0, 1 : j + 2] -= t * step[:, None]
            residual_square[here] -= step * step
            picked[:, j] = pick
            if not active.any():
                picked[:, j + 1 :] = pick[:, None]
                break
            if follow or j < n_nonzero - 1:
                np.matmul(weights[:, :, : j + 2], by_sample[:, : j + 2], out=a[:, None])
                current = a
        values[here] = 0 - weights[:, 0, 1:]
        if follow:
            left = current if nonnegative else np.abs(current, out=a)
            next_correlation[here] = left.max(axis=1)
    np.maximum(residual_square, 0, out=residual_square)
    return Pursuit(atoms, values, residual_square, next_correlation)
