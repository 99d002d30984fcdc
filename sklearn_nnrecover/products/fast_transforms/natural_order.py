"""Radix-two butterflies whose rows and columns are in a known order: rank-one blocks, no search.

References
----------
L. Zheng, E. Riccietti, R. Gribonval, *Efficient identification of butterfly sparse matrix
factorizations*, SIAM J. Math. Data Science 5 (2023).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def natural_order_butterfly(A: np.ndarray, tol: float) -> list[sp.csr_array] | None:
    """Radix-two butterfly whose levels pair rows h apart: rank-one blocks at known places.

    Parameters
    ----------
    A : ndarray of shape (n, n)
        n a power of two.
    tol : float
        Relative error of a level above which the search ends.

    Returns
    -------
    list of csr_array, or None
        log2(n) factors with two non-zeros in each row, or None if the blocks are not of rank one.
    """
    n = len(A)
    if A.shape != (n, n) or n < 4 or n & (n - 1):
        return None
    total = float(np.sum(np.abs(A) ** 2))
    stack, factors = A[None], []
    while stack.shape[1] > 2:
        count, size, half = len(stack), stack.shape[1], stack.shape[1] // 2
        # (block, class, group, row of the pair, column)
        pairs = stack.reshape(count, 2, half, 2, half).transpose(0, 3, 2, 1, 4)
        gram = pairs @ pairs.conj().swapaxes(-1, -2)
        left = np.linalg.eigh(gram)[1][..., -1]
        stack = np.einsum("bcgr,bcgrj->bcgj", left.conj(), pairs)
        if total - float(np.sum(np.abs(stack) ** 2)) > max(tol**2, 1e-13) * total:
            return None
        b, c, g, r = np.indices(left.shape)
        rows, columns = b * size + r * half + g, b * size + c * half + g
        values = (left.ravel(), (rows.ravel(), columns.ravel()))
        factors.append(sp.csr_array(values, shape=(n, n)))
        stack = stack.reshape(2 * count, half, half)
    factors.append(sp.csr_array(sp.block_diag(list(stack), format="csr")))
    return factors


def _bit_reversal(n: int) -> np.ndarray:
    order = np.zeros(1, dtype=int)
    while len(order) < n:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def known_order_butterfly(A: np.ndarray, tol: float) -> list[sp.csr_array] | None:
    """Natural order of the columns, then bit-reversed order (the fast Fourier transform's)."""
    factors = natural_order_butterfly(A, tol)
    if factors is None and len(A) and len(A) == A.shape[1] and not len(A) & (len(A) - 1):
        order = _bit_reversal(len(A))
        factors = natural_order_butterfly(A[:, order], tol)
        if factors is not None:
            factors[-1] = sp.csr_array(factors[-1][:, np.argsort(order)])
    return factors
