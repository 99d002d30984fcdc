"""Linearised residuals of a structured product ``M_1(h_1) ... M_K(h_K) - X``.

Levenberg-Marquardt needs, at each point, the value of the residual and the damped step. Four
models provide them, two through the lifting operator (`lifted_residuals`) and two from the factors
(`factor_residuals`); `choose_residual` takes the cheapest. Parameters are concatenated in one
vector `theta`; `damped_steps.split` cuts it into factors.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from sklearn_nnrecover.products.structured.damped_steps import Stepper
from sklearn_nnrecover.products.structured.factor_residuals import FactorResidual, OperatorResidual
from sklearn_nnrecover.products.structured.lifted_residuals import (
    CompressedResidual,
    SparseResidual,
    compression_pays,
)
from sklearn_nnrecover.products.structured.lifting import LiftingOperator, merge_equal_rows

JACOBIAN_FLOPS = 2e10


class Residual(Protocol):
    """What Levenberg-Marquardt needs to know about the data."""

    sizes: list[int]

    def objective(self, theta: np.ndarray) -> float:
        """Return ``|M_1 ... M_K - X|^2``."""
        ...

    def linearise(self, theta: np.ndarray) -> Stepper:
        """Return the function from a damping mu to its step.

        The step minimises ``|residual + J step|^2 + mu |step|^2``.
        """
        ...


def choose_residual(
    structures: list[Any], X: np.ndarray, operator: LiftingOperator | None
) -> Residual:
    """Return the cheapest model of the residual for these sizes.

    Parameters
    ----------
    structures : list of structures
        Factors.
    X : ndarray of shape (m, n)
        Data.
    operator : LiftingOperator or None
        The lifting operator where it could be built.
    """
    n_parameters = sum(structure.n_parameters for structure in structures)
    per_iteration = 2.0 * X.size * n_parameters**2
    if operator is not None and operator.matrix is not None:
        matrix, data, scatter = merge_equal_rows(operator.matrix, X.ravel())
        if compression_pays(len(data), operator.shape[1], X.size, n_parameters):
            return CompressedResidual(operator, matrix, data, scatter)
        sparse_flops = 2.0 * getattr(matrix, "nnz", np.inf) * len(operator.sizes) ** 2
        if sparse_flops + n_parameters**3 / 3 < 0.1 * per_iteration:
            return SparseResidual(operator, matrix, data, scatter)
    if per_iteration <= JACOBIAN_FLOPS:
        return FactorResidual(structures, X)
    return OperatorResidual(structures, X)
