"""Joint diagonalisation by congruence of symmetric matrices.

Model: ``N_i = B diag(d_i) B'`` for i = 1..q, with one invertible B of unit columns. The columns are
unique up to order and sign when no two columns of the coefficients d are proportional. A careless
joint diagonalisation loses half of the digits even on exact matrices, so several starts are made
(whitening by a positive definite combination, and Jennrich's pencil of two random combinations),
each refined by Gauss-Newton steps on all matrices, and the smallest off-diagonal residual wins; it
is iterated to its fixed point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg

EPS = float(np.finfo(np.float64).eps)


class JointDiagonalization(NamedTuple):
    """Result of :func:`joint_diagonalize`.

    Attributes
    ----------
    vectors : ndarray of shape (k, k)
        B, unit columns.
    coefficients : ndarray of shape (q, k)
        d, one row per matrix.
    residual : float
        Frobenius norm of all ``N_i - B diag(d_i) B'`` over that of all N_i.
    separation : float
        Smallest sine of the angle between two columns of the coefficients; 0 means that the two
        vectors are determined only together.
    """

    vectors: np.ndarray
    coefficients: np.ndarray
    residual: float
    separation: float


def joint_diagonalize(
    matrices: np.ndarray,
    *,
    rng: np.random.RandomState,
    targets: Sequence[np.ndarray] = (),
    n_starts: int = 10,
    max_iter: int = 50,
    tol: float = 1e-10,
) -> JointDiagonalization:
    """Find the congruence that diagonalises all matrices, exactly or in least squares.

    Parameters
    ----------
    matrices : ndarray of shape (q, k, k)
        Symmetric matrices, q >= 2 unless k = 1.
    rng : RandomState
        Draws the combinations of the starts.
    targets : sequence of ndarray of shape (k, k)
        Guesses at ``B diag(g) B'`` with g > 0, beside the identity.
    n_starts : int, default=10
        Random combinations per kind of start.
    max_iter : int, default=50
        Gauss-Newton steps per start; the best end is iterated on to its fixed point.
    tol : float, default=1e-10
        A start whose off-diagonal part, relative to the diagonal, is below ends the search; so do
        three starts that agree on the smallest.

    Returns
    -------
    JointDiagonalization

    References
    ----------
    Tichavsky and Yeredor, "Fast approximate joint diagonalization incorporating weight matrices",
    IEEE Transactions on Signal Processing 57 (2009).
    """
    q, k, _ = matrices.shape
    matrices = 0.5 * (matrices + matrices.transpose(0, 2, 1))
    norm = float(np.linalg.norm(matrices))
    if k == 1 or norm == 0:
        vectors = np.eye(k)
        coefficients = np.einsum("ijj->ij", matrices)
        return JointDiagonalization(vectors, coefficients, 0.0, float(k == 1))
    # The span of the matrices, in an orthonormal basis: at most k members in the exact model.
    _, singular, span = np.linalg.svd(matrices.reshape(q, k * k), full_matrices=False)
    span = span[: max(1, int(np.sum(singular > EPS * k * singular[0])))].reshape(-1, k, k)
    best: tuple[float, np.ndarray] | None = None
    agreeing = 0
    for start in _starts(span, (np.eye(k), *targets), rng, n_starts):
        unmixing, off = _descend(start, matrices, max_iter)
        agreeing = agreeing + 1 if best and abs(off - best[0]) <= 0.1 * best[0] else 1
        if best is None or off < best[0]:
            best = off, unmixing
        if off <= tol or agreeing == 3:
            break
    if best is None:
        best = 1.0, np.eye(k)
    vectors = np.linalg.inv(_settle(best[1], matrices))
    vectors /= np.linalg.norm(vectors, axis=0)
    unmixing = np.linalg.inv(vectors)
    diagonal = np.einsum("ijj->ij", unmixing @ matrices @ unmixing.T)
    error = matrices - (vectors * diagonal[:, None]) @ vectors.T
    return JointDiagonalization(
        vectors, diagonal, float(np.linalg.norm(error)) / norm, _separation(diagonal)
    )


def _starts(
    span: np.ndarray, targets: Sequence[np.ndarray], rng: np.random.RandomState, n_starts: int
) -> Iterator[np.ndarray]:
    """Yield unmixing matrices W, with W N_i W' roughly diagonal."""
    q, k, _ = span.shape
    flat = span.reshape(q, k * k)
    for target in targets:
        # The member of the span nearest to the target whitens it: then B is orthogonal.
        nearest = (flat.T @ (flat @ target.ravel())).reshape(k, k)
        values, basis = np.linalg.eigh(nearest)
        if values[0] <= 1e-6 * abs(values[-1]):
            continue
        whitener = basis.T / np.sqrt(values)[:, None]
        for _ in range(max(1, n_starts // 3)):
            mixture = np.tensordot(rng.standard_normal(q), span, axes=1)
            yield np.linalg.eigh(whitener @ mixture @ whitener.T)[1].T @ whitener
    for _ in range(n_starts):
        first, second = np.tensordot(rng.standard_normal((2, q)), span, axes=1)
        values, dual = linalg.eig(first, second)
        # A conjugate pair spans a real plane: its real and imaginary parts.
        dual = np.where(np.imag(values) < 0, np.imag(dual), np.real(dual))
        if np.all(np.isfinite(dual)) and np.linalg.cond(dual) < 1e12:
            yield dual.T


def _descend(unmixing: np.ndarray, matrices: np.ndarray, max_iter: int) -> tuple[np.ndarray, float]:
    """Gauss-Newton steps while the off-diagonal part of W N_i W' falls; W and what is left."""
    k = len(unmixing)
    best, best_off = unmixing, np.inf
    stalls = 0
    for _ in range(max_iter):
        unmixing, rotated = _rotate(unmixing, matrices)
        off = float(np.linalg.norm(rotated * (1.0 - np.eye(k))))
        off /= max(float(np.linalg.norm(rotated)), 1e-300)
        stalls = 0 if off < 0.5 * best_off else stalls + 1
        if off < best_off:
            best, best_off = unmixing, off
        if off < 4 * EPS or stalls > 3:
            break
        step = _gauss_newton_step(rotated)
        size = np.linalg.norm(step, 2)
        if not np.isfinite(size):
            break
        if size > 0.5:
            step *= 0.5 / size
        unmixing = np.linalg.solve(np.eye(k) + step, unmixing)
    return best, best_off


def _settle(unmixing: np.ndarray, matrices: np.ndarray, max_iter: int = 500) -> np.ndarray:
    """Gauss-Newton steps to the fixed point that perturbed matrices have next to W.

    There, for each pair of vectors, no rotation lowers the off-diagonal part in least squares; so
    matrices that differ by rounding give vectors that differ by rounding.
    """
    last = np.inf
    for _ in range(max_iter):
        scaled, rotated = _rotate(unmixing, matrices)
        step = _gauss_newton_step(rotated)
        size = float(np.abs(step).max())
        # Matrices that cannot be diagonalised lead anywhere: what is not small ends the iteration.
        if not size <= 0.5 or (size > 0.9 * last and size < 1e-12):
            break
        last = size
        unmixing = np.linalg.solve(np.eye(len(step)) + step, scaled)
        if size < 1e-15:
            break
    return unmixing


def _rotate(unmixing: np.ndarray, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale the rows of W so that diagonals have unit norm; return it with all W N_i W'."""
    rotated = unmixing @ matrices @ unmixing.T
    scale = np.sqrt(np.linalg.norm(np.einsum("ijj->ij", rotated), axis=0))
    scale = np.where(scale > 0, scale, 1.0)
    return unmixing / scale[:, None], rotated / np.multiply.outer(scale, scale)


def _gauss_newton_step(rotated: np.ndarray) -> np.ndarray:
    """E of least ``sum_i |off_i - E d_i - d_i E'|^2``, pair by pair, d_i the diagonals."""
    diagonal = np.einsum("ijj->ij", rotated)
    gram = diagonal.T @ diagonal
    square = np.diag(gram)
    right = np.einsum("iab,ib->ab", rotated, diagonal)
    products = np.multiply.outer(square, square)
    determinant = np.maximum(products - gram**2, 1e-12 * products)
    np.fill_diagonal(determinant, 1.0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        step = (square[:, None] * right - gram * right.T) / determinant
    np.fill_diagonal(step, 0.0)
    return step


def _separation(coefficients: np.ndarray) -> float:
    """Smallest sine between two columns."""
    norms = np.linalg.norm(coefficients, axis=0)
    if np.any(norms == 0):
        return 0.0
    columns = coefficients / norms
    cosine = np.abs(columns.T @ columns)
    np.fill_diagonal(cosine, 0.0)
    return float(np.sqrt(max(0.0, 1.0 - np.max(cosine) ** 2)))
