"""The base class of structures, and sparse ones held by their entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from scipy import sparse


class Structure(ABC):
    """Base of all structures: `adjoint` and `basis` by way of `matrix`.

    Parameters
    ----------
    shape : tuple of (int, int)
        Shape of the factor.
    n_parameters : int
        Number of parameters.
    """

    def __init__(self, shape: tuple[int, int], n_parameters: int):
        self.shape = (int(shape[0]), int(shape[1]))
        self.n_parameters = int(n_parameters)
        if min(self.shape) < 1 or self.n_parameters < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one row, one column and one parameter, got "
                f"shape {self.shape} and {self.n_parameters} parameters."
            )

    @abstractmethod
    def matrix(self, h: np.ndarray) -> Any:
        """Return M(h), dense or sparse.

        Parameters
        ----------
        h : ndarray of shape (n_parameters,)
            Parameters.
        """

    def basis(self) -> Any:
        """Return the matrix (n_rows n_columns, n_parameters) whose column i is B_i, row by row."""
        columns = []
        for unit in np.eye(self.n_parameters):
            element = self.matrix(unit)
            if not sparse.issparse(element):
                element = np.asarray(element)
            columns.append(sparse.csc_array(element.reshape(-1, 1)))
        return sparse.hstack(columns, format="csc")

    def adjoint(self, G: np.ndarray) -> np.ndarray:
        """Return the inner products ``<B_i, G>``.

        Parameters
        ----------
        G : ndarray of shape ``shape``
            Any matrix, for example a gradient with respect to the factor.
        """
        return np.asarray(self.basis().T @ np.asarray(G).ravel())

    def __repr__(self) -> str:
        shape = f"{self.shape[0]} x {self.shape[1]}"
        return f"{type(self).__name__}({shape}, n_parameters={self.n_parameters})"


class EntrywiseStructure(Structure):
    """A sparse structure, held as the entries that each parameter writes to.

    Parameters
    ----------
    shape : tuple of (int, int)
        Shape of the factor.
    rows, columns, parameter : array-like of int of shape (n_entries,)
        Entry (rows[e], columns[e]) receives ``weight[e] * h[parameter[e]]``; contributions to the
        same entry add up.
    weight : array-like of shape (n_entries,), default=1
        Weights.
    n_parameters : int or None, default=None
        Number of parameters; by default the largest index plus one.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        rows: Any,
        columns: Any,
        parameter: Any,
        weight: Any = 1.0,
        n_parameters: int | None = None,
    ):
        rows, columns, parameter = (
            np.asarray(a, dtype=np.intp).ravel() for a in (rows, columns, parameter)
        )
        if not rows.size:
            raise ValueError(
                f"{type(self).__name__} has an empty support: no entry can be non-zero."
            )
        if n_parameters is None:
            n_parameters = int(parameter.max()) + 1
        super().__init__(shape, n_parameters)
        n_columns = self.shape[1]
        flat, position = np.unique(rows * n_columns + columns, return_inverse=True)
        weight = np.broadcast_to(np.asarray(weight, dtype=np.float64), parameter.shape)
        self._rows, self._columns = np.divmod(flat, n_columns)
        self._indptr = np.searchsorted(self._rows, np.arange(self.shape[0] + 1))
        self._values = sparse.csr_array(
            (weight, (position, parameter)), shape=(len(flat), self.n_parameters)
        )

    def matrix(self, h: np.ndarray) -> sparse.csr_array:
        """Return M(h) in CSR format."""
        h = np.asarray(h, dtype=np.float64)
        return sparse.csr_array((self._values @ h, self._columns, self._indptr), shape=self.shape)

    def adjoint(self, G: Any) -> np.ndarray:
        """Return the inner products ``<B_i, G>``; only the entries of the support are read."""
        return self._values.T @ np.asarray(G[self._rows, self._columns]).ravel()

    def basis(self) -> sparse.csc_array:
        """Return the basis, one column a parameter."""
        entries = self._values.tocoo()
        flat = self._rows * self.shape[1] + self._columns
        return sparse.csc_array(
            (entries.data, (flat[entries.coords[0]], entries.coords[1])),
            shape=(self.shape[0] * self.shape[1], self.n_parameters),
        )
