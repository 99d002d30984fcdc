"""Damped least-squares steps of a linearised residual, and the triangle it is reduced to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg

from sklearn_nnrecover.products.structured.lifting import qr_triangle

Stepper = Callable[[float], np.ndarray]
"""Function from a damping mu to the step that minimises ``|residual + J step|^2 + mu |step|^2``."""

NULL_SINGULAR_VALUE = 1e-11
DECOMPOSED_PARAMETERS = 100
LEAST_DAMPING = 1e-12


def split(theta: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Cut a vector of parameters into those of each factor."""
    return np.split(theta, np.cumsum(sizes)[:-1])


def triangularise(blocks: Iterator[np.ndarray]) -> np.ndarray:
    """Return the triangle of a tall-skinny QR of the stacked blocks, bounded by one block."""
    triangle: np.ndarray | None = None
    for block in blocks:
        stacked = block if triangle is None else np.vstack([triangle, block])
        triangle = qr_triangle(stacked)
    if triangle is None:
        raise ValueError("there is no block to triangularise.")
    return triangle


def damped_solver(jacobian: np.ndarray, residual: np.ndarray) -> Stepper:
    """Steps for any damping from one singular value decomposition.

    Null directions of the Jacobian (the gauge) are left out, so that the step stays finite as the
    damping vanishes. Many parameters get a Cholesky factorisation for each damping instead, and a
    least damping in place of the cut.
    """
    if jacobian.shape[1] > DECOMPOSED_PARAMETERS:
        return normal_solver(jacobian.T @ jacobian, jacobian.T @ residual)
    left, singular, right = np.linalg.svd(jacobian, full_matrices=False)
    kept = singular > NULL_SINGULAR_VALUE * singular[0]
    singular, right = singular[kept], right[kept]
    projected = left.T[kept] @ residual

    def step(mu: float) -> np.ndarray:
        return -(right.T @ (singular / (singular**2 + mu) * projected))

    return step


def normal_solver(gram: np.ndarray, gradient: np.ndarray) -> Stepper:
    """Steps from the normal equations, with a least damping that keeps them solvable."""
    least = LEAST_DAMPING * float(np.trace(gram)) / len(gram)

    def step(mu: float) -> np.ndarray:
        damped = gram + max(mu, least) * np.eye(len(gram))
        return -scipy.linalg.solve(damped, gradient, assume_a="pos", check_finite=False)

    return step
