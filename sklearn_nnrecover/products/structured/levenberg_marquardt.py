"""Levenberg-Marquardt for structured products, and the geometry of its solution.

Each layer's scale is free: after every accepted step the layers are brought to equal norms, which
keeps the Jacobian well scaled. The damping is a multiple of the residual's norm, so that the
iteration ends quadratically although the gauge makes the Jacobian singular.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.structured.damped_steps import split
from sklearn_nnrecover.products.structured.factor_residuals import FactorResidual
from sklearn_nnrecover.products.structured.lifted_residuals import (
    CompressedResidual,
    SparseResidual,
)
from sklearn_nnrecover.products.structured.structured_residuals import Residual

DAMPING_TRIALS = 12
SMALLEST_OBJECTIVE = 1e-31
RANK_TOLERANCE = 1e-10
GRAM_RANK_TOLERANCE = 1e-7


class Ending(NamedTuple):
    """Where a start ended.

    Attributes
    ----------
    theta : ndarray of shape (n_parameters,)
        Parameters, layers of equal norms.
    objective : float
        Squared residual.
    converged : bool
        Whether the iteration ended before its budget.
    n_iter : int
        Iterations.
    start : str
        Name of the start.
    """

    theta: np.ndarray
    objective: float
    converged: bool
    n_iter: int
    start: str


def levenberg_marquardt(
    residual: Residual,
    theta: np.ndarray,
    *,
    max_iter: int = 200,
    tol: float = 1e-10,
    start: str = "given",
) -> Steps[Ending]:
    """Minimise the residual of a structured product from one start.

    The damping is a multiple of the residual's norm, raised until the objective decreases: the
    iteration ends quadratically although the gauge makes the Jacobian singular.

    Parameters
    ----------
    residual : Residual
        Model of the residual, of data of norm 1.
    theta : ndarray of shape (n_parameters,)
        Start.
    max_iter : int, default=200
        Largest number of iterations.
    tol : float, default=1e-10
        Relative decrease of the objective below which the iteration ends.
    start : str
        Name of the start, passed through.

    Yields
    ------
    Step
        Norm of the residual and relative length of the step.
    """
    theta = equal_norms(theta, residual.sizes)
    objective = residual.objective(theta)
    damping = 1e-2
    converged = False
    n_iter = 0
    while n_iter < max_iter and not converged:
        n_iter += 1
        solve = residual.linearise(theta)
        decreased = False
        length = 0.0
        for _ in range(DAMPING_TRIALS):
            step = solve(damping * np.sqrt(objective))
            length = float(np.linalg.norm(step) / np.linalg.norm(theta))
            candidate = theta + step
            value = residual.objective(candidate)
            if value < objective:
                decreased = True
                break
            if length < 1e-15:
                break
            damping *= 8.0
        if not decreased:
            converged = True
            break
        change = (objective - value) / objective
        theta, objective = equal_norms(candidate, residual.sizes), value
        damping = max(damping / 8.0, 1e-18)
        yield Step(float(np.sqrt(objective)), length)
        if change < tol or objective < SMALLEST_OBJECTIVE:
            converged = True
            break
    return Ending(theta, objective, converged, max(n_iter, 1), start)


def equal_norms(theta: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Rescale layers to equal norms, their product unchanged."""
    parts = split(theta, sizes)
    norms = np.array([np.linalg.norm(part) for part in parts])
    if not norms.all():
        return theta
    common = np.exp(np.mean(np.log(norms)))
    return np.concatenate([part * (common / n) for part, n in zip(parts, norms, strict=True)])


def local_geometry(residual: Residual, theta: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Rank of the Jacobian, its null space, and the diagonal of ``(J'J)^+``.

    Parameters
    ----------
    residual : Residual
        Model of the residual.
    theta : ndarray of shape (n_parameters,)
        Parameters.

    Returns
    -------
    rank : int
        The rank; -1 when the Jacobian is too large to decompose.
    null_space : ndarray of shape (n_parameters, n_parameters - rank)
        Orthonormal basis.
    variance : ndarray of shape (n_parameters,)
        Variances of the parameters for noise of variance 1, across the null space.
    """
    if isinstance(residual, SparseResidual):
        squares, vectors = np.linalg.eigh(residual.normal_equations(theta)[0])
        kept = squares > GRAM_RANK_TOLERANCE**2 * squares[-1]
        variance = np.sum(vectors[:, kept] ** 2 / squares[kept], axis=1)
        return int(np.sum(kept)), vectors[:, ~kept], variance
    if not isinstance(residual, CompressedResidual | FactorResidual):
        return -1, np.zeros((len(theta), 0)), np.full(len(theta), np.inf)
    _, singular, right = np.linalg.svd(residual.jacobian(theta)[0])
    rank = int(np.sum(singular > RANK_TOLERANCE * singular[0]))
    variance = np.sum((right[:rank] / singular[:rank, None]) ** 2, axis=0)
    return rank, right[rank:].T, variance
