"""Sparse codes of significant coefficients only: orthogonal matching pursuit that stops at noise.

``x = c @ D + noise``: the atom that explains most of what is left joins the support while what it
explains is beyond noise, least squares over the support after each; then coefficients that turned
out insignificant leave it. All rows are coded side by side, through the Gram matrix of the atoms.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import row_blocks

MAX_COEFFICIENTS = 40
"""Most atoms in one row's code."""

BRANCHES = 16
"""Atoms from which the code of a row may begin, where the best one leads nowhere."""

_RIDGE = 1e-12
"""Keeps the least squares of dependent atoms solvable."""


def significant_codes(
    X: np.ndarray,
    atoms: sp.csr_array,
    noise: float,
    level: float,
    *,
    first: np.ndarray | None = None,
) -> sp.csr_array:
    """Code rows in known atoms, every coefficient ``level`` standard errors from 0.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    atoms : csr_array of shape (n_atoms, n_columns)
    noise : float
        Standard deviation of the entries of X.
    level : float
        Standard errors that a coefficient must reach to join, and to stay.
    first : ndarray of int, shape (n_rows,), or None
        Atom that joins each row's code first; None for the one that explains most.

    Returns
    -------
    csr_array of shape (n_rows, n_atoms)
    """
    n_atoms = atoms.shape[0]
    if not n_atoms or not len(X):
        return sp.csr_array((len(X), n_atoms))
    gram = sp.csr_array(atoms @ atoms.T).toarray()
    parts = [
        _code_block(
            np.asarray(atoms @ X[rows].T).T,
            gram,
            noise,
            level,
            None if first is None else first[rows],
        )
        for rows in row_blocks(len(X), 48.0 * n_atoms + 32.0 * MAX_COEFFICIENTS**2)
    ]
    return sp.csr_array(sp.vstack(parts, format="csr"))


def branched_codes(X: np.ndarray, atoms: sp.csr_array, noise: float, level: float) -> sp.csr_array:
    """Code rows from each of several first atoms and keep the shortest code.

    Where more atoms than dimensions overlap, the atom that explains most of a row need not be one
    of its own, and the pursuit cannot turn back.

    Parameters
    ----------
    X, atoms, noise, level
        As for `significant_codes`.

    Returns
    -------
    csr_array of shape (n_rows, n_atoms)
        The code of least ``sum(min((r / (level noise))^2, 1)) + nnz`` for each row.
    """
    n_branches = min(BRANCHES, atoms.shape[0])
    norms = np.sqrt(np.maximum(np.asarray(atoms.power(2).sum(axis=1)).ravel(), 1e-300))
    parts = []
    for rows in row_blocks(len(X), 32.0 * n_branches * X.shape[1]):
        explained = np.abs(np.asarray(atoms @ X[rows].T).T) / norms
        first = np.argpartition(-explained, n_branches - 1, axis=1)[:, :n_branches]
        copies = np.repeat(X[rows], n_branches, axis=0)
        codes = significant_codes(copies, atoms, noise, level, first=first.ravel())
        misfit = ((copies - (codes @ atoms).toarray()) / (level * noise)) ** 2
        costs = np.minimum(misfit, 1.0).sum(axis=1) + np.diff(codes.indptr)
        best = costs.reshape(-1, n_branches).argmin(axis=1)
        parts.append(codes[np.arange(len(best)) * n_branches + best])
    return sp.csr_array(sp.vstack(parts, format="csr"))


class _Codes:
    """Supports of all rows in the order of joining, padded, with their least squares."""

    def __init__(self, correlation: np.ndarray, gram: np.ndarray) -> None:
        self.correlation, self.gram = correlation, gram
        n_rows = len(correlation)
        self.support = np.zeros((n_rows, MAX_COEFFICIENTS), dtype=np.intp)
        self.values = np.zeros((n_rows, MAX_COEFFICIENTS))
        self.errors = np.ones((n_rows, MAX_COEFFICIENTS))
        self.size = np.zeros(n_rows, dtype=np.intp)

    def join(self, rows: np.ndarray, atoms: np.ndarray) -> None:
        self.support[rows, self.size[rows]] = atoms
        self.size[rows] += 1
        self._solve(rows)

    def leave(self, rows: np.ndarray, positions: np.ndarray) -> None:
        last = self.size[rows] - 1
        self.support[rows, positions] = self.support[rows, last]
        self.size[rows] = last
        self._solve(rows)

    def _solve(self, rows: np.ndarray) -> None:
        width = int(self.size[rows].max(initial=0))
        if not width:
            return
        support = self.support[rows, :width]
        used = np.arange(width) < self.size[rows][:, None]
        blocks = self.gram[support[:, :, None], support[:, None, :]]
        blocks = np.where(used[:, :, None] & used[:, None, :], blocks, 0.0)
        diagonal = np.arange(width)
        blocks[:, diagonal, diagonal] *= 1 + _RIDGE
        blocks[:, diagonal, diagonal] += ~used
        target = np.where(used, self.correlation[rows[:, None], support], 0.0)
        inverse = np.linalg.inv(blocks)
        self.values[rows, :width] = np.einsum("nij,nj->ni", inverse, target)
        variance = np.einsum("nii->ni", inverse)
        self.errors[rows, :width] = np.sqrt(np.maximum(variance, 0.0))

    def matrix(self, rows: np.ndarray) -> sp.csr_array:
        used = np.arange(MAX_COEFFICIENTS) < self.size[rows][:, None]
        ends = np.concatenate([[0], np.cumsum(self.size[rows])])
        codes = sp.csr_array(
            (self.values[rows][used], self.support[rows][used], ends),
            shape=(len(rows), len(self.gram)),
        )
        codes.sort_indices()
        return codes


def _code_block(
    correlation: np.ndarray,
    gram: np.ndarray,
    noise: float,
    level: float,
    first: np.ndarray | None,
) -> sp.csr_array:
    codes = _Codes(correlation, gram)
    norms = np.sqrt(np.diagonal(gram))
    inverse_norms = np.where(norms > 0, 1 / np.where(norms > 0, norms, 1.0), 0.0)
    active = np.arange(len(correlation))
    if first is not None:
        codes.join(active, first)
    for _ in range(min(MAX_COEFFICIENTS, len(gram)) - (first is not None)):
        chosen = codes.matrix(active)
        left = np.abs(correlation[active] - chosen @ gram) * inverse_norms
        left[np.repeat(np.arange(len(active)), np.diff(chosen.indptr)), chosen.indices] = 0.0
        best = left.argmax(axis=1)
        beyond = left[np.arange(len(active)), best] > level * noise
        active = active[beyond]
        if not len(active):
            break
        codes.join(active, best[beyond])
    active = np.flatnonzero(codes.size)
    while len(active):
        used = np.arange(MAX_COEFFICIENTS) < codes.size[active][:, None]
        significance = np.abs(codes.values[active]) / np.maximum(codes.errors[active], 1e-300)
        significance = np.where(used, significance, np.inf)
        weakest = significance.argmin(axis=1)
        weak = significance[np.arange(len(active)), weakest] < level * noise
        active = active[weak]
        codes.leave(active, weakest[weak])
    return codes.matrix(np.arange(len(correlation)))
