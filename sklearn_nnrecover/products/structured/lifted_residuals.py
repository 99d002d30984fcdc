"""Residuals of a structured product through its lifting operator A.

* `CompressedResidual`: with A = Q R, ``|M_1 ... M_K - X|^2`` is ``|R P(h) - Q'X|^2`` plus a
  constant. One triangular matrix of order n_paths replaces X.
* `SparseResidual`: the same residual through a sparse A, its Jacobian a sparse product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.structured.damped_steps import (
    Stepper,
    damped_solver,
    normal_solver,
    split,
    triangularise,
)
from sklearn_nnrecover.products.structured.lifting import LiftingOperator

COMPRESSION_FLOPS = 4e9
ITERATIONS_PAID = 20
KERNEL_TOLERANCE = 1e-10


class CompressedResidual:
    """Residual in the coordinates of the lifting operator's range.

    Parameters
    ----------
    operator : LiftingOperator
        The lifting operator.
    matrix, data, scatter
        Its matrix and the data, equal rows merged by `merge_equal_rows`.

    Attributes
    ----------
    triangle : ndarray of shape (n_rows, n_paths)
        R of the operator.
    target : ndarray of shape (n_rows,)
        Q'X.
    out_of_range : float
        Norm of the part of X outside the operator's range, read off the factorisation of
        [A | X]: accurate to rounding, where the difference of two sums of squares is to its root.
    """

    def __init__(
        self, operator: LiftingOperator, matrix: Any, data: np.ndarray, scatter: float = 0.0
    ):
        self.sizes = operator.sizes
        self._operator = operator
        n_paths = operator.shape[1]

        def blocks() -> Iterator[np.ndarray]:
            for rows in row_blocks(len(data), 24.0 * (n_paths + 1)):
                block = matrix[rows]
                if sparse.issparse(block):
                    block = block.toarray()
                yield np.column_stack([block, data[rows]])

        triangle = triangularise(blocks())
        self.triangle = triangle[:n_paths, :n_paths]
        self.target = triangle[:n_paths, n_paths]
        left_over = abs(triangle[n_paths, n_paths]) if len(triangle) > n_paths else 0.0
        self.out_of_range = float(np.hypot(left_over, scatter))

    @property
    def has_full_rank(self) -> bool:
        """Whether the operator's kernel is {0}: one tensor fits best."""
        n_paths = self.triangle.shape[1]
        if len(self.triangle) < n_paths:
            return False
        singular = np.linalg.svd(self.triangle, compute_uv=False)
        return bool(singular[-1] > KERNEL_TOLERANCE * singular[0])

    def objective(self, theta: np.ndarray) -> float:
        """Return the squared residual."""
        tensor = self._operator.segre(split(theta, self.sizes))
        return float(np.sum((self.triangle @ tensor - self.target) ** 2)) + self.out_of_range**2

    def jacobian(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return Jacobian and residual in the coordinates of the operator's range."""
        parameters = split(theta, self.sizes)
        segre_jacobian = self._operator.segre_jacobian(parameters)
        difference = self.triangle @ self._operator.segre(parameters) - self.target
        return (segre_jacobian.T @ self.triangle.T).T, difference

    def linearise(self, theta: np.ndarray) -> Stepper:
        """Return the damped step as a function of the damping."""
        return damped_solver(*self.jacobian(theta))


class SparseResidual:
    """Residual through a sparse lifting operator: ``A P(h) - X``, its Jacobian sparse too.

    Steps solve the damped normal equations, whose matrix is a sparse product.

    Parameters
    ----------
    operator : LiftingOperator
        The lifting operator.
    matrix, data, scatter
        Its sparse matrix and the data, equal rows merged by `merge_equal_rows`.
    """

    def __init__(
        self, operator: LiftingOperator, matrix: Any, data: np.ndarray, scatter: float = 0.0
    ):
        self.sizes = operator.sizes
        self._operator = operator
        self._matrix, self._data, self._scatter = matrix, data, scatter

    def _difference(self, theta: np.ndarray) -> np.ndarray:
        return self._matrix @ self._operator.segre(split(theta, self.sizes)) - self._data

    def objective(self, theta: np.ndarray) -> float:
        """Return the squared residual."""
        return float(np.sum(self._difference(theta) ** 2)) + self._scatter**2

    def normal_equations(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``J'J`` and the gradient ``J'(A P(h) - X)``."""
        jacobian = self._matrix @ self._operator.segre_jacobian(split(theta, self.sizes))
        gram = (jacobian.T @ jacobian).toarray()
        return gram, jacobian.T @ self._difference(theta)

    def linearise(self, theta: np.ndarray) -> Stepper:
        """Return the damped step as a function of the damping."""
        return normal_solver(*self.normal_equations(theta))


def compression_pays(n_rows: int, n_paths: int, n_entries: int, n_parameters: int) -> bool:
    """Whether one triangle of order n_paths costs less than Jacobians of n_entries rows."""
    once = 2.0 * n_rows * n_paths**2
    per_iteration = 2.0 * n_entries * n_parameters**2
    return n_paths <= n_rows and once <= min(COMPRESSION_FLOPS, ITERATIONS_PAID * per_iteration)
