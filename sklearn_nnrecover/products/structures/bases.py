"""Arbitrary bases, subspaces and restrictions of other structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_nnrecover.products.structures.base import EntrywiseStructure, Structure


class Basis(Structure):
    """Any linear structure, given by its basis matrices.

    Parameters
    ----------
    matrices : array-like of shape (n_parameters, n_rows, n_columns), or sequence of sparse
        The basis matrices ``B_i``.
    """

    def __init__(self, matrices: Any):
        if not isinstance(matrices, np.ndarray):
            matrices = list(matrices)
        if not len(matrices):
            raise ValueError("Basis has an empty support: give at least one basis matrix.")
        shapes = {np.shape(matrix) for matrix in matrices}
        if len(shapes) > 1 or len(next(iter(shapes))) != 2:
            raise ValueError(f"basis matrices must be 2-d of one shape, got {sorted(shapes)}.")
        super().__init__(next(iter(shapes)), len(matrices))
        if any(sparse.issparse(matrix) for matrix in matrices):
            columns = [sparse.csc_array(sparse.coo_array(m).reshape(-1, 1)) for m in matrices]
            self._basis: Any = sparse.hstack(columns, format="csc").astype(np.float64)
            rows, n_columns = self._basis.indices, self.shape[1]
            parameter = np.repeat(np.arange(self.n_parameters), np.diff(self._basis.indptr))
            self._entries: EntrywiseStructure | None = EntrywiseStructure(
                self.shape,
                rows // n_columns,
                rows % n_columns,
                parameter,
                self._basis.data,
                self.n_parameters,
            )
        else:
            stack = np.array(matrices, dtype=np.float64).reshape(self.n_parameters, -1)
            self._basis, self._entries = stack.T, None
        values = self._basis.data if sparse.issparse(self._basis) else self._basis
        if not np.isfinite(values).all():
            raise ValueError("basis matrices hold NaN or infinite values.")
        if not np.any(values):
            raise ValueError("Basis has an empty support: every basis matrix is zero.")

    def matrix(self, h: np.ndarray) -> Any:
        """Return M(h): CSR for sparse basis matrices, else an array."""
        if self._entries is not None:
            return self._entries.matrix(h)
        return (self._basis @ np.asarray(h, dtype=np.float64)).reshape(self.shape)

    def adjoint(self, G: np.ndarray) -> np.ndarray:
        """Return the inner products ``<B_i, G>``."""
        return np.asarray(self._basis.T @ np.asarray(G).ravel())

    def basis(self) -> Any:
        """Return the basis, one column a parameter."""
        return self._basis


class Subspace(Basis):
    """A column vector in a known subspace, ``basis @ h``: the last factor of a bilinear model.

    Parameters
    ----------
    basis : array-like of shape (n, n_parameters)
        Basis of the subspace.
    """

    def __init__(self, basis: Any):
        B = np.asarray(basis, dtype=np.float64)
        if B.ndim != 2:
            raise ValueError(f"basis must be a 2-d array, got {B.ndim}-d.")
        super().__init__(np.ascontiguousarray(B.T)[:, :, None])


class Restricted(Structure):
    """A structure of which only some parameters may be non-zero.

    Parameters
    ----------
    structure : structure
        The full one.
    support : sequence of int
        Parameters that stay.
    """

    def __init__(self, structure: Any, support: Sequence[int]):
        self.structure = structure
        self.support = np.asarray(support, dtype=np.intp)
        if not self.support.size:
            raise ValueError("Restricted has an empty support: keep at least one parameter.")
        super().__init__(structure.shape, len(self.support))

    def embed(self, h: np.ndarray) -> np.ndarray:
        """Return the parameters of the full structure, zero outside the support.

        Parameters
        ----------
        h : ndarray of shape (n_parameters,)
            Parameters on the support.
        """
        full = np.zeros(self.structure.n_parameters)
        full[self.support] = h
        return full

    def matrix(self, h: np.ndarray) -> Any:
        """Return M(h)."""
        return self.structure.matrix(self.embed(h))

    def adjoint(self, G: np.ndarray) -> np.ndarray:
        """Return the inner products ``<B_i, G>``."""
        return self.structure.adjoint(G)[self.support]

    def basis(self) -> Any:
        """Return the basis, one column a parameter."""
        return self.structure.basis()[:, self.support]
