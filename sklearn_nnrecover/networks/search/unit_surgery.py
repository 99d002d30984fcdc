"""Surgery on a local optimum: take one unit out, look for a better one, and fit again.

The residual left by the other units shows where a unit is missing; candidates are scored on it
exactly (:func:`candidate_falls`) and the few best, well apart from each other, are each refitted
together with the units that stayed. A refit that cannot overtake the best is abandoned after a
few steps. The least useful unit is tried first; a success starts a new pass.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpotri

from sklearn_nnrecover.networks.search.descent import Descent
from sklearn_nnrecover.networks.search.greedy_starts import (
    candidate_falls,
    refine_candidates,
)
from sklearn_nnrecover.networks.search.random_hyperplanes import random_hyperplanes
from sklearn_nnrecover.networks.search.variable_projection import Projection

# Replacements closer than this cosine lead to the same optimum.
SAME_DIRECTION = 0.9


def unit_usefulness(at: Projection) -> np.ndarray:
    """Rise of the loss when each unit is removed and only the output layer is refitted."""
    inverse, _ = dpotri(at.factor, lower=1)
    k = at.V.shape[1]
    scaled = at.coefficients[:k] * at.scale[:k, None]
    return np.einsum("ij,ij->i", scaled, scaled) / np.diagonal(inverse)[:k]


def apart(V: np.ndarray, order: np.ndarray, n_units: int) -> list[int]:
    """First columns of V, in a given order, of pairwise cosine below ``SAME_DIRECTION``."""
    chosen: list[int] = []
    for candidate in order:
        if np.all(V[:, chosen].T @ V[:, candidate] < SAME_DIRECTION):
            chosen.append(int(candidate))
            if len(chosen) == n_units:
                break
    return chosen


def split_units(V: np.ndarray, n_units: int, rng: np.random.RandomState) -> np.ndarray:
    """Neighbours of present units, at angles of about .03 to 1.

    Two nearly parallel units of opposite output weights act like the derivative of one; random
    hyperplanes hardly ever come near enough to find the second.
    """
    if V.shape[1] == 0:
        return V
    near = V[:, rng.randint(V.shape[1], size=n_units)]
    aside = rng.standard_normal(near.shape)
    aside *= 10 ** rng.uniform(-1.5, 0, n_units) / np.linalg.norm(aside, axis=0)
    moved = near / np.linalg.norm(near, axis=0) + aside
    return moved / np.linalg.norm(moved, axis=0)


def replace_units(
    descent: Descent,
    at: Projection,
    pool: np.ndarray,
    rng: np.random.RandomState,
    *,
    n_candidates: int = 150,
    n_refined: int = 10,
    n_trials: int = 2,
) -> Projection:
    """Replace units while that lowers the loss.

    Parameters
    ----------
    descent : Descent
        Problem and budget.
    at : Projection
        A local optimum.
    pool : ndarray of shape (p, q)
        Units found elsewhere; they and their mirror images are tried beside random ones.
    rng : RandomState
        Source of randomness.
    n_candidates : int, default=150
        Random hyperplanes scored per removed unit.
    n_refined : int, default=10
        Best of them that are refined on their own before the choice.
    n_trials : int, default=2
        Refits tried per removed unit.

    Returns
    -------
    Projection
    """
    problem = descent.problem
    pending = list(np.argsort(unit_usefulness(at)))
    while pending and not descent.exhausted:
        unit = pending.pop(0)
        kept = np.delete(at.V, unit, axis=1)
        removed = at.V[:, [unit]]
        without = problem.project(kept)
        candidates = np.hstack(
            [
                -removed,
                pool,
                -pool,
                split_units(kept, n_candidates // 4, rng),
                random_hyperplanes(problem.samples, n_candidates, rng),
            ]
        )
        candidates = candidates[:, removed[:, 0] @ candidates < 0.99]
        order = np.argsort(-candidate_falls(problem, without, candidates), kind="stable")
        candidates, falls = refine_candidates(
            problem, without, candidates[:, apart(candidates, order, n_refined)]
        )
        order = np.argsort(-falls, kind="stable")
        order = order[removed[:, 0] @ candidates[:, order] < 0.99]
        for candidate in apart(candidates, order, n_trials):
            trial = descent.run(np.column_stack([kept, candidates[:, candidate]]), beat=at.loss)
            if trial.loss < at.loss * (1 - descent.margin):
                at = trial
                pending = list(np.argsort(unit_usefulness(at)))
                break
    return at
