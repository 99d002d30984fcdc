"""Greedy starts: hidden units added one at a time where the residual asks for them.

A candidate unit h, orthogonalised against the current features F, lowers the residual sum of
squares by exactly ``|R h|^2 / |h|^2`` (R the residual, one output a row): many random hyperplanes
are scored at once by two matrix products, the best one is added, and all units make a few
Levenberg-Marquardt steps before the next is chosen.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dtrtrs

from sklearn_nnrecover.networks.descent import Descent
from sklearn_nnrecover.networks.two_layer_network import Samples
from sklearn_nnrecover.networks.variable_projection import Projection, SeparableLeastSquares

# A candidate whose squared norm shrinks below this fraction when it is orthogonalised against the
# present features is a copy of them: its score would be rounding.
COPY = 1e-6


def random_hyperplanes(samples: Samples, n_units: int, rng: np.random.RandomState) -> np.ndarray:
    """Units of uniform random direction whose kink passes through a random sample.

    Parameters
    ----------
    samples : Samples
        Design; without an intercept the kink passes through the origin.
    n_units : int
        Number of units.
    rng : RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (p, n_units)
        Unit-norm columns.
    """
    Z, weight = samples.Z, samples.weight
    V = rng.standard_normal((Z.shape[1], n_units))
    if samples.intercept:
        # Rows are drawn in proportion to their weight, as if they were repeated.
        points = np.searchsorted(np.cumsum(weight), rng.uniform(0, weight.sum(), n_units))
        points = np.minimum(points, len(Z) - 1)
        V[-1] = -np.einsum("ij,ji->i", Z[points, :-1], V[:-1])
    return V / np.linalg.norm(V, axis=0)


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
    inside, _ = dtrtrs(at.factor, (at.features @ H.T) / at.scale[:, None], lower=1)
    left = squared - np.einsum("ij,ij->j", inside, inside)
    gained = H @ at.residual.T
    usable = left > COPY * squared
    return np.where(
        usable, np.einsum("ij,ij->i", gained, gained) / np.where(usable, left, 1.0), 0.0
    )


def greedy_start(
    descent: Descent,
    n_hidden: int,
    rng: np.random.RandomState,
    *,
    n_candidates: int = 150,
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
        best = np.argmax(candidate_falls(problem, at, candidates))
        V = np.column_stack([at.V, candidates[:, best]])
        at = descent.run(V, max_iter=n_steps)
    return at.V
