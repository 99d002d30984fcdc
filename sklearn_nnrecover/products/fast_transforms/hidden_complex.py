"""Real matrices that are complex ones in disguise: cosine transforms hide twiddled DFTs.

A complex number z = x + i y acts on the plane as the matrix ``[[x, -y], [y, x]]``. A real matrix
may consist of such 2 x 2 blocks under unknown permutations and signs; its butterfly is then the
complex one, each entry replaced by its block. The DCT-IV is the example: 2m real rows and columns
are a unimodular complex m x m matrix.

Columns j, j' belong together when ``A[:, j]^2 + A[:, j']^2`` is constant (entries of modulus one),
and so do rows. Which of z and its conjugate a column pair holds is read off one row pair.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp


class HiddenComplex(NamedTuple):
    """``A = left @ realify(matrix) @ right``, at most two entries a row of left, one of right."""

    left: sp.csr_array
    matrix: np.ndarray
    right: sp.csr_array


def realify(F: sp.csr_array) -> sp.csr_array:
    """Replace every entry x + iy by ``[[x, -y], [y, x]]``; rows (2k, 2k+1), columns (2j, 2j+1)."""
    F = sp.coo_array(F)
    row, column = F.coords
    x, y = F.data.real, F.data.imag
    result = sp.csr_array(
        (
            np.concatenate([x, -y, y, x]),
            (
                np.concatenate([2 * row, 2 * row, 2 * row + 1, 2 * row + 1]),
                np.concatenate([2 * column, 2 * column + 1, 2 * column, 2 * column + 1]),
            ),
        ),
        shape=(2 * F.shape[0], 2 * F.shape[1]),
    )
    largest = np.abs(result.data).max(initial=0.0)
    result.data[np.abs(result.data) < 1e-15 * largest] = 0.0
    result.eliminate_zeros()
    return result


def _quadrature_pairs(A: np.ndarray, noise: float, rng: np.random.RandomState) -> np.ndarray | None:
    """Pair the columns of A (unit rows) whose squares sum to a constant; (n_pairs, 2) or None."""
    n_rows, n_columns = A.shape
    squares = A**2 * n_columns - 1.0
    hashes = rng.normal(size=n_rows) @ squares / np.sqrt(n_rows)
    # h_j + h_j' = 0: sorted by magnitude, the two of a pair are neighbours.
    order = np.argsort(np.abs(hashes), kind="stable")
    first, second = order[0::2], order[1::2]
    defect = np.abs(squares[:, first] + squares[:, second]).max(axis=0)
    # A noisy entry a + e has square a^2 + 2 a e, and n a^2 is of order one.
    if defect.max() > max(20 * noise, 1e-9):
        return None
    return np.sort(np.column_stack([first, second]), axis=1)


def find_hidden_complex(
    A: np.ndarray, noise: float, rng: np.random.RandomState
) -> HiddenComplex | None:
    """Read a real matrix as a unimodular complex matrix of half the size.

    Parameters
    ----------
    A : ndarray of shape (n, n)
        Real, n even.
    noise : float
        Standard deviation of the entries of A.
    rng : RandomState

    Returns
    -------
    HiddenComplex or None
    """
    n = len(A)
    if n % 2 or A.shape[1] != n or n < 8:
        return None
    norms = np.linalg.norm(A, axis=1)
    if norms.min() <= 0:
        return None
    unit = A / norms[:, None]
    relative = noise * np.sqrt(n) / float(norms.min())
    columns = _quadrature_pairs(unit, relative, rng)
    rows = None if columns is None else _quadrature_pairs(unit.T, relative, rng)
    if columns is None or rows is None:
        return None
    signs = np.ones(n // 2)
    Z = unit[:, columns[:, 0]] - 1j * unit[:, columns[:, 1]]
    ratio = Z[rows[0, 1]] / Z[rows[0, 0]]
    signs[ratio.imag < 0] = -1.0
    Z = Z.real + 1j * signs * Z.imag
    first, second = Z[rows[:, 0]], Z[rows[:, 1]]
    turn = np.sum(second * first.conj(), axis=1) / np.sum(np.abs(first) ** 2, axis=1)
    if np.abs(second - turn[:, None] * first).max() > max(10 * relative, 1e-9) * np.abs(Z).max():
        return None
    k = np.arange(n // 2)
    # Row r of the pair reads (Re tz, -Im tz) = Re t (Re z, -Im z) - Im t (Im z, Re z).
    left = sp.csr_array(
        (
            np.concatenate(
                [norms[rows[:, 0]], *(norms[rows[:, 1]] * np.array([turn.real, -turn.imag]))]
            ),
            (
                np.concatenate([rows[:, 0], rows[:, 1], rows[:, 1]]),
                np.concatenate([2 * k, 2 * k, 2 * k + 1]),
            ),
        ),
        shape=(n, n),
    )
    right = sp.csr_array(
        (
            np.concatenate([np.ones(n // 2), signs]),
            (np.concatenate([2 * k, 2 * k + 1]), np.concatenate([columns[:, 0], columns[:, 1]])),
        ),
        shape=(n, n),
    )
    return HiddenComplex(left, first, right)
