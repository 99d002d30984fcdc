"""Linearised residuals of a structured product ``M_1(h_1) ... M_K(h_K) - X``.

Levenberg-Marquardt needs, at each point, the value of the residual and the damped step. Four
models provide them; `choose_residual` takes the cheapest.

* `CompressedResidual`: with A = Q R the lifting operator, ``|M_1 ... M_K - X|^2`` is
  ``|R P(h) - Q'X|^2`` plus a constant. One triangular matrix of order n_paths replaces X.
* `SparseResidual`: the same residual through a sparse A, its Jacobian a sparse product.
* `FactorResidual`: the Jacobian of the product itself, in blocks of rows of X, each reduced at
  once to a triangle of order n_parameters (a tall-skinny QR).
* `OperatorResidual`: products with the Jacobian and its transpose only, and LSMR for the step.

Parameters are concatenated in one vector `theta`; `split` cuts it into factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import scipy.linalg
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, lsmr

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.lifting import LiftingOperator, merge_equal_rows, qr_triangle

Stepper = Callable[[float], np.ndarray]

COMPRESSION_FLOPS = 4e9
ITERATIONS_PAID = 20
JACOBIAN_FLOPS = 2e10
NULL_SINGULAR_VALUE = 1e-11
DECOMPOSED_PARAMETERS = 100
LEAST_DAMPING = 1e-12
LSMR_ITERATIONS = 500


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


class FactorResidual:
    """Residual of the product itself, its Jacobian reduced to a triangle.

    Parameters
    ----------
    structures : list of structures
        Factors.
    X : ndarray of shape (m, n)
        Data.
    """

    def __init__(self, structures: list[Any], X: np.ndarray):
        self.structures = structures
        self.sizes = [structure.n_parameters for structure in structures]
        self._X = X
        self._bases = [_FactorBasis(structure) for structure in structures]

    def _factors(self, theta: np.ndarray) -> list[Any]:
        parts = split(theta, self.sizes)
        return [s.matrix(h) for s, h in zip(self.structures, parts, strict=True)]

    def objective(self, theta: np.ndarray) -> float:
        """Return the squared residual."""
        return float(np.sum((dense_product(self._factors(theta)) - self._X) ** 2))

    def jacobian(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(R, c)`` with ``|J step + residual|^2 = |R step + c|^2`` for every step."""
        triangle = self.triangle(theta)
        return triangle[:, :-1], triangle[:, -1]

    def triangle(self, theta: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
        """Return the triangle of ``[J | extra | residual]``.

        Parameters
        ----------
        theta : ndarray of shape (n_parameters,)
            Parameters.
        extra : ndarray of shape (m n, n_extra) or None
            More columns, over the entries of X row by row.
        """
        factors = self._factors(theta)
        suffixes: list[Any] = [None]
        for factor in factors[:0:-1]:
            suffixes.insert(0, _dense(factor if suffixes[0] is None else factor @ suffixes[0]))
        n_rows, n_columns = self._X.shape
        n_parameters = len(theta) + (0 if extra is None else extra.shape[1])
        widest = max(s.shape[1] * s.n_parameters for s in self.structures)
        bytes_per_row = 32.0 * n_columns * (n_parameters + 1) + 16.0 * widest

        def blocks() -> Iterator[np.ndarray]:
            for rows in row_blocks(n_rows, bytes_per_row):
                prefix: Any = None
                parts = []
                for factor, basis, suffix in zip(factors, self._bases, suffixes, strict=True):
                    parts.append(basis.between(prefix, suffix, rows))
                    prefix = _dense(factor[rows] if prefix is None else prefix @ factor)
                if extra is not None:
                    parts.append(extra[rows.start * n_columns : rows.stop * n_columns])
                yield np.hstack([*parts, (prefix - self._X[rows]).reshape(-1, 1)])

        return triangularise(blocks())

    def linearise(self, theta: np.ndarray) -> Stepper:
        """Return the damped step as a function of the damping."""
        return damped_solver(*self.jacobian(theta))


class OperatorResidual:
    """The same residual without its Jacobian: `matrix` and `adjoint` of the structures only."""

    def __init__(self, structures: list[Any], X: np.ndarray):
        self.structures = structures
        self.sizes = [structure.n_parameters for structure in structures]
        self._X = X

    def _factors(self, theta: np.ndarray) -> list[Any]:
        parts = split(theta, self.sizes)
        return [s.matrix(h) for s, h in zip(self.structures, parts, strict=True)]

    def objective(self, theta: np.ndarray) -> float:
        """Return the squared residual."""
        return float(np.sum((dense_product(self._factors(theta)) - self._X) ** 2))

    def linearise(self, theta: np.ndarray) -> Stepper:
        """Return the damped step, by LSMR, as a function of the damping."""
        factors = self._factors(theta)
        prefixes, suffixes = [factors[0]], [factors[-1]]
        for factor in factors[1:-1]:
            prefixes.append(prefixes[-1] @ factor)
        for factor in factors[-2:0:-1]:
            suffixes.insert(0, factor @ suffixes[0])

        def forward(step: np.ndarray) -> np.ndarray:
            total: Any = 0.0
            for k, (structure, h) in enumerate(
                zip(self.structures, split(np.ravel(step), self.sizes), strict=True)
            ):
                change = structure.matrix(h)
                if k:
                    change = prefixes[k - 1] @ change
                if k < len(factors) - 1:
                    change = change @ suffixes[k]
                total = total + _dense(change)
            return total.ravel()

        def backward(residual: np.ndarray) -> np.ndarray:
            R = residual.reshape(self._X.shape)
            gradients = []
            for k, structure in enumerate(self.structures):
                G = R if k == 0 else prefixes[k - 1].T @ R
                if k < len(factors) - 1:
                    G = (suffixes[k] @ G.T).T
                gradients.append(structure.adjoint(_dense(G)))
            return np.concatenate(gradients)

        jacobian = LinearOperator(
            (self._X.size, len(theta)), matvec=forward, rmatvec=backward, dtype=np.float64
        )
        residual = (dense_product(factors) - self._X).ravel()

        def step(mu: float) -> np.ndarray:
            return -lsmr(
                jacobian,
                residual,
                damp=np.sqrt(mu),
                atol=1e-14,
                btol=1e-14,
                maxiter=LSMR_ITERATIONS,
            )[0]

        return step


class _FactorBasis:
    """A basis arranged for ``prefix @ B_i @ suffix`` over all i at once."""

    def __init__(self, structure: Any):
        basis = structure.basis()
        self._shape = structure.shape
        self._size = structure.n_parameters
        self._entries: tuple[np.ndarray, ...] | None = None
        if sparse.issparse(basis):
            coo = sparse.coo_array(basis)
            row, column = np.divmod(coo.coords[0].astype(np.intp), structure.shape[1])
            if len(np.unique(coo.coords[1])) == coo.nnz:  # each parameter writes one entry
                weight = np.zeros(self._size)
                at_row, at_column = np.zeros((2, self._size), dtype=np.intp)
                parameter = coo.coords[1]
                weight[parameter], at_row[parameter], at_column[parameter] = coo.data, row, column
                self._entries = (weight, at_row, at_column)
                return
            stack = sparse.csr_array(
                (coo.data, (row, coo.coords[1].astype(np.intp) * structure.shape[1] + column)),
                shape=(structure.shape[0], self._size * structure.shape[1]),
            )
            self._stack: Any = stack
        else:
            self._stack = (
                basis.reshape(*structure.shape, -1)
                .transpose(0, 2, 1)
                .reshape(structure.shape[0], -1)
            )

    def between(self, prefix: Any, suffix: Any, rows: slice) -> np.ndarray:
        """Jacobian of some rows of the product: shape (n_rows n_columns, n_parameters)."""
        if self._entries is not None:
            weight, at_row, at_column = self._entries
            if prefix is None:
                left = (np.arange(rows.start, rows.stop)[:, None] == at_row) * weight
            else:
                left = prefix[:, at_row] * weight
            if suffix is None:
                right = (np.arange(self._shape[1])[:, None] == at_column) * 1.0
            else:
                right = suffix[at_column].T
            return (left[:, None, :] * right).reshape(-1, self._size)
        wide = _dense(self._stack[rows] if prefix is None else prefix @ self._stack)
        n_rows = len(wide)
        if suffix is not None:
            wide = wide.reshape(n_rows * self._size, -1) @ suffix
        return wide.reshape(n_rows, self._size, -1).transpose(0, 2, 1).reshape(-1, self._size)


def dense_product(factors: list[Any]) -> np.ndarray:
    """Multiply factors from the right, and return an array."""
    product = factors[-1]
    for factor in factors[-2::-1]:
        product = factor @ product
    return _dense(product)


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def compression_pays(n_rows: int, n_paths: int, n_entries: int, n_parameters: int) -> bool:
    """Whether one triangle of order n_paths costs less than Jacobians of n_entries rows."""
    once = 2.0 * n_rows * n_paths**2
    per_iteration = 2.0 * n_entries * n_parameters**2
    return n_paths <= n_rows and once <= min(COMPRESSION_FLOPS, ITERATIONS_PAID * per_iteration)


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
