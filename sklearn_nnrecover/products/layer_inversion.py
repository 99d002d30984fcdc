"""Codes of new samples: invert a chain of sparse layers one layer at a time.

Neyshabur and Panigrahy (2013, appendix B) call a network *reversible* when the hidden values follow
from the outputs, and propose the correction ``z += gamma X' (y - X z)``; with the ``gamma = 1/d``
of random d-sparse layers that iteration diverges, because ``1/d`` exceeds ``2 / |X|^2``. The same
sparse products, combined by LSQR, converge at any scale. Where a layer is singular a
least-squares code is one of many, and pursuit returns the sparse one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy import linalg

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.integer_pursuit import clean, pursue

RANK_RTOL = 1e-10
_DENSE_RANK_LIMIT = 3000
_QR_LIMIT = 1000
_ZERO_RTOL = 1e-11


def least_squares_codes(
    F: sp.csr_array, Y: np.ndarray, *, tol: float = 1e-14, max_iter: int | None = None
) -> np.ndarray:
    """Minimise ``|z F - y|`` for every row y.

    Small layers by a QR factorisation, large ones by LSQR (Paige and Saunders, 1982) on all rows
    side by side: each row has its own scalars and stops by its own residual, so that its code does
    not depend on the rows beside it.

    Parameters
    ----------
    F : csr_array of shape (k, n)
    Y : ndarray of shape (n_rows, n)
    tol : float
        Stop a row when its residual, or the gradient of it, has fallen by this factor.
    max_iter : int or None
        Most iterations; None takes ``2 (k + n) + 50``.

    Returns
    -------
    Z : ndarray of shape (n_rows, k)
    """
    k, n = F.shape
    if k <= min(n, _QR_LIMIT):
        Q, R = np.linalg.qr(F.toarray().T)
        diagonal = np.abs(np.diag(R))
        if diagonal.min(initial=1.0) > RANK_RTOL * diagonal.max(initial=1.0):
            return linalg.solve_triangular(R, (Y @ Q).T).T
    codes = np.zeros((Y.shape[0], k))
    limit = 2 * (k + n) + 50 if max_iter is None else max_iter
    transposed = F.T.tocsr()
    for block in row_blocks(Y.shape[0], 8.0 * (6 * k + 4 * n)):
        codes[block] = _lsqr_block(F, transposed, Y[block], tol, limit)
        # One pass on the residual removes what rounding left of the first.
        rest = Y[block] - _times(codes[block], transposed)
        codes[block] += _lsqr_block(F, transposed, rest, tol, limit)
    return codes


def _times(A: np.ndarray, transposed: sp.csr_array) -> np.ndarray:
    """Return ``A @ B`` for dense A given B transposed."""
    return (transposed @ A.T).T


def _normalize(A: np.ndarray) -> np.ndarray:
    """Divide the rows of A by their norms in place, and return the norms."""
    norms = np.sqrt(np.einsum("ij,ij->i", A, A))
    A /= np.where(norms > 0, norms, 1.0)[:, None]
    return norms


def _lsqr_block(
    F: sp.csr_array, transposed: sp.csr_array, Y: np.ndarray, tol: float, max_iter: int
) -> np.ndarray:
    Z = np.zeros((Y.shape[0], F.shape[0]))
    U = np.array(Y, dtype=np.float64, order="C")
    beta = _normalize(U)
    V = _times(U, F)
    alpha = _normalize(V)
    active = np.flatnonzero((beta > 0) & (alpha > 0))
    U, V, alpha, beta = U[active], V[active], alpha[active], beta[active]
    W, X = V.copy(), np.zeros_like(V)
    phi_bar, rho_bar = beta.copy(), alpha.copy()
    first_residual, first_gradient = beta.copy(), beta * alpha
    for _ in range(max_iter):
        if not len(active):
            return Z
        U = _times(V, transposed) - alpha[:, None] * U
        beta = _normalize(U)
        V = _times(U, F) - beta[:, None] * V
        alpha = _normalize(V)
        rho = np.hypot(rho_bar, beta)
        cosine, sine = rho_bar / rho, beta / rho
        phi = cosine * phi_bar
        phi_bar = sine * phi_bar
        X += (phi / rho)[:, None] * W
        W = V - (sine * alpha / rho)[:, None] * W
        gradient = phi_bar * alpha * np.abs(cosine)
        rho_bar = -cosine * alpha
        done = (phi_bar <= tol * first_residual) | (gradient <= tol * first_gradient)
        if done.any():
            Z[active[done]] = X[done]
            going = ~done
            active = active[going]
            U, V, W, X = U[going], V[going], W[going], X[going]
            alpha, phi_bar, rho_bar = alpha[going], phi_bar[going], rho_bar[going]
            first_residual, first_gradient = first_residual[going], first_gradient[going]
    Z[active] = X
    return Z


def has_full_row_rank(F: sp.csr_array) -> bool:
    """Whether the rows of F are independent, so that codes in them are unique.

    Layers beyond a few thousand rows are probed with one random vector instead of a factorisation:
    its code must come back.
    """
    k, n = F.shape
    if not 0 < k <= n or np.any(np.diff(F.indptr) == 0):
        return False
    if k <= _DENSE_RANK_LIMIT:
        gram = (F @ F.T).toarray()
        scale = 1.0 / np.sqrt(np.diag(gram))
        return bool(np.linalg.eigvalsh(gram * scale[:, None] * scale)[0] > RANK_RTOL)
    probe = np.random.RandomState(0).standard_normal((1, k))
    found = least_squares_codes(F, probe @ F)
    return bool(np.abs(found - probe).max() < 1e-6)


def invert_layer(F: sp.csr_array, Y: np.ndarray, *, independent: bool) -> np.ndarray:
    """Return codes Z with ``Z @ F`` as close to Y as the method for this layer gets.

    Parameters
    ----------
    F : csr_array of shape (k, n)
    Y : ndarray of shape (n_rows, n)
    independent : bool
        Whether the rows of F are independent: least squares then; else pursuit, and least squares
        for the rows that pursuit does not explain.

    Returns
    -------
    Z : ndarray of shape (n_rows, k)
    """
    if independent:
        return _snap(F, Y, least_squares_codes(F, Y))
    sparse_rows = sp.csr_array(Y)
    C, R = pursue(sparse_rows, F)
    Z = C.toarray()
    stuck = np.flatnonzero(np.diff(R.indptr))
    if len(stuck):
        Z[stuck] = _snap(F, Y[stuck], least_squares_codes(F, Y[stuck]))
    return Z


def _snap(F: sp.csr_array, Y: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Round codes where integers reproduce the row no worse, and rounding errors to zero."""
    Z = np.where(np.abs(Z) > _ZERO_RTOL * np.abs(Z).max(axis=1, keepdims=True, initial=0), Z, 0.0)
    rounded = np.round(Z)
    near = np.abs(Z - rounded).max(axis=1, initial=0.0) < 1e-6
    if near.any():
        exact = near & (
            np.abs(_times(rounded, F.T.tocsr()) - Y).max(axis=1, initial=0.0)
            <= 1e-9 * np.abs(Y).max(axis=1, initial=0.0)
        )
        Z = np.where(exact[:, None], rounded, Z)
    return Z


def invert_chain(
    factors: Sequence[sp.csr_array], X: np.ndarray, independent: Sequence[bool]
) -> np.ndarray:
    """Return Z with ``Z @ factors[0] @ factors[1] @ ... = X``, from the last factor on."""
    Z = X
    for F, unique in zip(reversed(factors), reversed(independent), strict=True):
        Z = invert_layer(F, Z, independent=unique)
    return Z


def integer_least_squares(Y: sp.csr_array, D: sp.csr_array) -> tuple[sp.csr_array, sp.csr_array]:
    """Code rows by least squares and rounding: exact wherever D has independent rows.

    Returns
    -------
    C, R : csr_array
        ``Y = C @ D + R``.
    """
    codes = least_squares_codes(D, Y.toarray())
    rounded = np.round(codes)
    C = clean(sp.csr_array(np.where(np.abs(codes - rounded) < 1e-6, rounded, codes)), 1e-9)
    return C, clean(Y - C @ D, 1e-8 * np.abs(Y.data).max(initial=1.0))
