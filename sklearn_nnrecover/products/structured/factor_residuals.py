"""Residuals of a structured product from its factors, where lifting it would be too large.

* `FactorResidual`: the Jacobian of the product itself, in blocks of rows of X, each reduced at
  once to a triangle of order n_parameters (a tall-skinny QR).
* `OperatorResidual`: products with the Jacobian and its transpose only, and LSMR for the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, lsmr

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.structured.damped_steps import (
    Stepper,
    damped_solver,
    split,
    triangularise,
)

LSMR_ITERATIONS = 500


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
