"""Greedy starts: hidden units added one at a time where the residual asks for them.

A candidate unit h, orthogonalised against the current features F, lowers the residual sum of
squares by exactly ``|R h|^2 / |h|^2`` (R the residual, one output a row): many random hyperplanes
are scored at once by two matrix products, the best one is added, and all units make a few
Levenberg-Marquardt steps before the next is chosen.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dtrtrs

from sklearn_nnrecover.networks.search.descent import Descent
from sklearn_nnrecover.networks.search.random_hyperplanes import random_hyperplanes
from sklearn_nnrecover.networks.search.variable_projection import Projection, SeparableLeastSquares

# A candidate whose squared norm shrinks below this fraction when it is orthogonalised against the
# present features is a copy of them: its score would be rounding.
COPY = 1e-6
# Mean squared activation below which a candidate only grazes a sample by rounding.
GRAZE = 1e-20


def candidate_falls(
    problem: SeparableLeastSquares, at: Projection, candidates: np.ndarray
) -> np.ndarray:
    """Fall of the loss that adding each candidate unit would bring, all else but outputs fixed.

    Parameters
    ----------
    problem : SeparableLeastSquares
        The problem.
    at : Projection
        Current units and their residual.
    candidates : ndarray of shape (p, q)
        Candidate units.

    Returns
    -------
    ndarray of shape (q,)
    """
    H = problem.features(candidates)
    squared = np.einsum("ij,ij->i", H, H)
    inside = _triangular_solve(at, at.features @ H.T)
    left = squared - np.einsum("ij,ij->j", inside, inside)
    gained = H @ at.residual.T
    usable = (left > COPY * squared) & (squared > GRAZE * problem.samples.weight.sum())
    return np.where(
        usable, np.einsum("ij,ij->i", gained, gained) / np.where(usable, left, 1.0), 0.0
    )


def _triangular_solve(at: Projection, right: np.ndarray) -> np.ndarray:
    """Solve with the triangular factor of the present features, of which there may be none."""
    if len(right) == 0:
        return right
    return np.asarray(dtrtrs(at.factor, right / at.scale[:, None], lower=1)[0])


def refine_candidates(
    problem: SeparableLeastSquares, at: Projection, candidates: np.ndarray, n_steps: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Levenberg-Marquardt on each candidate unit alone, the present units held still.

    All candidates move at once; a step is taken by those whose fall it raises.

    Parameters
    ----------
    problem : SeparableLeastSquares
        The problem.
    at : Projection
        Current units and their residual.
    candidates : ndarray of shape (p, q)
        Candidate units; few, since each costs p n numbers.
    n_steps : int, default=4
        Steps.

    Returns
    -------
    candidates : ndarray of shape (p, q)
    falls : ndarray of shape (q,)
        Their :func:`candidate_falls`.
    """
    p, q = candidates.shape
    Z, R = problem.weighted_Zt, at.residual
    basis = _triangular_solve(at, at.features)
    V = candidates
    damping = np.full(q, 1e-2)
    falls = candidate_falls(problem, at, V)
    own = np.arange(p)
    for _ in range(n_steps):
        H = problem.features(V)
        H = H - (H @ basis.T) @ basis
        H_squared = np.maximum(np.einsum("ij,ij->i", H, H), 1e-300)
        A = np.where(falls[:, None] > 0, (H @ R.T) / H_squared[:, None], 0.0)
        slope = problem.activation.derivative(V.T @ problem.Zt)
        # Residual of candidate j along its own output weights: A_j (R - A_j' h_j).
        pull = A @ R - np.einsum("ij,ij->i", A, A)[:, None] * H
        gradient = (slope * pull) @ Z.T
        tangents = slope[:, None, :] * Z
        inside = tangents @ basis.T
        along = (tangents @ H[:, :, None])[:, :, 0] / np.sqrt(H_squared)[:, None]
        S = tangents @ tangents.transpose(0, 2, 1) - inside @ inside.transpose(0, 2, 1)
        S -= along[:, :, None] * along[:, None, :]
        S *= np.einsum("ij,ij->i", A, A)[:, None, None]
        diagonal = S[:, own, own]
        # A candidate that cannot move the loss, or is a copy of the features, stays where it is.
        level = diagonal.max(axis=1)
        still = ~(np.isfinite(S).all(axis=(1, 2)) & (level > 1e-150))
        S[still], gradient[still], level[still] = np.eye(p), 0.0, 1.0
        diagonal = S[:, own, own]
        S[:, own, own] += damping[:, None] * np.maximum(diagonal, 1e-3 * level[:, None])
        S[:, own, own] += 1e-9 * level[:, None]
        if problem.activation.degree is not None:
            S += level[:, None, None] * (V.T[:, :, None] * V.T[:, None, :])
        steps = np.linalg.solve(S, gradient[:, :, None])[:, :, 0]
        trial = problem.normalize(V + steps.T)
        trial_falls = candidate_falls(problem, at, trial)
        better = trial_falls > falls
        V = np.where(better, trial, V)
        falls = np.where(better, trial_falls, falls)
        damping = np.where(better, damping / 5, damping * 5)
    return V, falls


def greedy_start(
    descent: Descent,
    n_hidden: int,
    rng: np.random.RandomState,
    *,
    n_candidates: int = 150,
    n_refined: int = 8,
    n_steps: int = 3,
) -> np.ndarray:
    """Build hidden units greedily.

    Parameters
    ----------
    descent : Descent
        Problem and budget.
    n_hidden : int
        Number of units.
    rng : RandomState
        Source of randomness.
    n_candidates : int, default=150
        Random hyperplanes scored per addition.
    n_refined : int, default=8
        Best of them that are refined before the choice.
    n_steps : int, default=3
        Levenberg-Marquardt steps after each addition.

    Returns
    -------
    ndarray of shape (p, n_hidden)
    """
    problem = descent.problem
    at = problem.project(np.empty((problem.Zt.shape[0], 0)))
    for _ in range(n_hidden):
        candidates = random_hyperplanes(problem.samples, n_candidates, rng)
        best = np.argsort(-candidate_falls(problem, at, candidates))[:n_refined]
        refined, falls = refine_candidates(problem, at, candidates[:, best])
        V = np.column_stack([at.V, refined[:, np.argmax(falls)]])
        at = descent.run(V, max_iter=n_steps)
    return at.V
