"""The lifting operator: a deep product is linear in the tensor of its parameters.

``M_1(h_1) ... M_K(h_K) = A P(h)``, where ``P(h)[i_1, ..., i_K] = h_1[i_1] ... h_K[i_K]`` (the Segre
embedding) and column (i_1, ..., i_K) of A is the product of the basis matrices chosen by the index
tuple, row by row. A tuple whose product is zero is no *feasible path* and has no column; P is
restricted to feasible paths accordingly.

A is stored (dense or sparse) as long as it is small enough, and applied by contracting one factor
after the other beyond. References: [1]_, section I.

References
----------
.. [1] F. Malgouyres, J. Landsberg, "Stable recovery of the factors from a deep matrix product",
   SPARS 2017, hal-01417943.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from sklearn_nnrecover.linalg.blocks import MEBIBYTE, require_memory, working_memory_bytes
from sklearn_nnrecover.products.structures import check_structures
from sklearn_nnrecover.products.structures.checks import written_entries

DENSE_FILL = 0.2
CANCELLED = 1e-13


class LiftingOperator(LinearOperator):
    """The linear map A from tensors on feasible paths to products, row by row.

    Attributes
    ----------
    shape : tuple of (int, int)
        ``(m n, n_paths)`` for products of shape (m, n).
    structures : list of structures
        The factors.
    paths : ndarray of int of shape (n_paths, K)
        Index of the parameter of each factor, path by path in lexicographic order.
    matrix : ndarray, scipy.sparse.csc_array or None
        The operator as a matrix; None when it is applied by contractions.
    complete : bool
        Whether every tuple of indices is feasible.
    """

    def __init__(self, structures: list[Any], paths: np.ndarray, matrix: Any):
        self.structures = structures
        self.paths = paths
        self.matrix = matrix
        self.sizes = [structure.n_parameters for structure in structures]
        self.complete = len(paths) == math.prod(self.sizes)
        if matrix is None:
            self._stacks = [_dense_stack(structure) for structure in structures]
        n_rows = structures[0].shape[0] * structures[-1].shape[1]
        super().__init__(np.dtype(np.float64), (n_rows, len(paths)))

    def segre(self, parameters: Sequence[np.ndarray]) -> np.ndarray:
        """Return P(h) on the feasible paths.

        Parameters
        ----------
        parameters : sequence of K ndarrays
            Parameters, factor by factor.
        """
        tensor = np.ones(len(self.paths))
        for h, index in zip(parameters, self.paths.T, strict=True):
            tensor *= np.asarray(h)[index]
        return tensor

    def segre_jacobian(self, parameters: Sequence[np.ndarray]) -> sparse.csr_array:
        """Return the derivative of P, shape (n_paths, n_parameters): K entries a path.

        Parameters
        ----------
        parameters : sequence of K ndarrays
            Parameters, factor by factor.
        """
        chosen = [np.asarray(h)[i] for h, i in zip(parameters, self.paths.T, strict=True)]
        # Product of all the other parameters of the path: prefix times suffix, safe with zeros.
        others = np.ones(self.paths.shape)
        for k in range(1, len(chosen)):
            others[:, k] = others[:, k - 1] * chosen[k - 1]
        suffix = np.ones(len(self.paths))
        for k in range(len(chosen) - 1, 0, -1):
            suffix = suffix * chosen[k]
            others[:, k - 1] *= suffix
        columns = self.paths + np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        starts = np.arange(len(self.paths) + 1) * len(chosen)
        return sparse.csr_array(
            (others.ravel(), columns.ravel(), starts),
            shape=(len(self.paths), int(np.sum(self.sizes))),
        )

    def tensor(self, values: np.ndarray) -> np.ndarray:
        """Return values on paths as a full array of K axes, zero elsewhere.

        Parameters
        ----------
        values : ndarray of shape (n_paths,)
            Values on the feasible paths.
        """
        full = np.zeros(self.sizes)
        full[tuple(self.paths.T)] = values
        return full

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x).ravel()
        if self.matrix is not None:
            return self.matrix @ x
        partial = x.reshape(-1, self.sizes[-1]) @ self._stacks[-1].reshape(self.sizes[-1], -1)
        n_columns = self.structures[-1].shape[1]
        for structure, stack in zip(self.structures[-2::-1], self._stacks[-2::-1], strict=True):
            wide = stack.transpose(1, 0, 2).reshape(structure.shape[0], -1)
            partial = wide @ partial.reshape(-1, wide.shape[1], n_columns)
        return partial.ravel()

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x).ravel()
        if self.matrix is not None:
            return self.matrix.T @ x
        n_columns = self.structures[-1].shape[1]
        partial = x.reshape(1, -1, n_columns)
        for structure, stack in zip(self.structures[:-1], self._stacks[:-1], strict=True):
            wide = stack.transpose(1, 0, 2).reshape(structure.shape[0], -1)
            partial = (wide.T @ partial).reshape(-1, structure.shape[1], n_columns)
        last = self._stacks[-1].reshape(self.sizes[-1], -1)
        return (partial.reshape(-1, last.shape[1]) @ last.T).ravel()


def lifting_operator(
    structures: Sequence[Any], *, explicit: bool | None = None, max_bytes: float | None = None
) -> LiftingOperator:
    """Return the lifting operator of a product of structures, over its feasible paths.

    Parameters
    ----------
    structures : sequence of structures
        Factors from left to right.
    explicit : bool or None, default=None
        Store the operator as a matrix. None stores it when it fits the memory and falls back on
        contractions when every tuple of indices may be feasible.
    max_bytes : float or None, default=None
        Memory for the operator; None takes scikit-learn's ``working_memory``.

    Returns
    -------
    LiftingOperator
        A :class:`scipy.sparse.linalg.LinearOperator` that also knows its feasible `paths`, its
        `matrix` where it is stored, and the tensor `segre(parameters)` that it acts on.

    Raises
    ------
    ValueError
        If the structures do not form a chain.
    MemoryError
        If neither form fits the memory; the message holds the estimate.
    """
    structures = check_structures(structures)
    limit = working_memory_bytes() if max_bytes is None else max_bytes
    if explicit is not False:
        try:
            return _explicit_operator(structures, limit)
        except MemoryError:
            if explicit:
                raise
    # Contractions need no list of feasible paths, but they visit all tuples of indices.
    sizes = [structure.n_parameters for structure in structures]
    inner = max(s.shape[0] for s in structures[1:]) if len(structures) > 1 else 1
    n_columns = structures[-1].shape[1]
    n_bytes = 16.0 * math.prod(sizes[:-1]) * inner * n_columns + 8.0 * math.prod(sizes) * (
        len(sizes) + 1
    )
    n_bytes += 8.0 * sum(s.n_parameters * s.shape[0] * s.shape[1] for s in structures)
    require_memory(
        n_bytes,
        limit,
        f"the lifting operator of {' x '.join(map(str, sizes))} parameters",
        "use structures with fewer parameters, or raise scikit-learn's working_memory.",
    )
    paths = np.indices(sizes).reshape(len(sizes), -1).T
    return LiftingOperator(structures, np.ascontiguousarray(paths), None)


def _explicit_operator(structures: list[Any], limit: float) -> LiftingOperator:
    """Grow paths factor by factor: partial products of all feasible prefixes, stacked."""
    n_rows = structures[0].shape[0]
    alive = _columns_that_reach_the_end(structures)
    partial: Any = None
    for k, structure in enumerate(structures):
        stack = _horizontal_stack(structure, alive[k])
        size, width = structure.n_parameters, structure.shape[1]
        if partial is None:
            partial, paths = stack, np.zeros((1, 0), dtype=np.intp)
        else:
            _require_product_memory(partial, stack, limit, k)
            partial = partial @ stack
        # Row (prefix, row), column (parameter, column)  ->  row (prefix, parameter, row), column.
        if sparse.issparse(partial):
            partial, paths = _append_sparse(sparse.coo_array(partial), paths, n_rows, size, width)
        else:
            partial, paths = _append_dense(partial, paths, n_rows, size, width)
    n_paths, shape = len(paths), (n_rows, structures[-1].shape[1])
    if sparse.issparse(partial):
        entries = sparse.coo_array(partial)
        path, row = np.divmod(entries.coords[0].astype(np.int64), n_rows)
        flat = row * shape[1] + entries.coords[1]
        matrix: Any = sparse.csc_array(
            (entries.data, (flat, path)), shape=(shape[0] * shape[1], n_paths)
        )
        if matrix.nnz > DENSE_FILL * matrix.shape[0] * n_paths:
            matrix = matrix.toarray()
    else:
        matrix = partial.reshape(n_paths, -1).T
    return LiftingOperator(structures, paths, matrix)


def _append_sparse(
    product: sparse.coo_array, paths: np.ndarray, n_rows: int, size: int, width: int
) -> tuple[sparse.csr_array, np.ndarray]:
    keep = np.abs(product.data) > CANCELLED * np.abs(product.data).max(initial=0.0)
    prefix, row = np.divmod(product.coords[0][keep].astype(np.int64), n_rows)
    parameter, column = np.divmod(product.coords[1][keep].astype(np.int64), width)
    feasible, index = np.unique(prefix * size + parameter, return_inverse=True)
    stacked = sparse.csr_array(
        (product.data[keep], (index * n_rows + row, column)),
        shape=(len(feasible) * n_rows, width),
    )
    return stacked, np.column_stack([paths[feasible // size], feasible % size])


def _append_dense(
    product: np.ndarray, paths: np.ndarray, n_rows: int, size: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    by_path = product.reshape(len(paths), n_rows, size, width).transpose(0, 2, 1, 3)
    stacked = by_path.reshape(len(paths) * size, n_rows, width)
    largest = np.abs(stacked).max(axis=(1, 2))
    feasible = np.flatnonzero(largest > CANCELLED * largest.max())
    if len(feasible) < len(stacked):
        stacked = stacked[feasible]
    return (
        stacked.reshape(len(feasible) * n_rows, width),
        np.column_stack([paths[feasible // size], feasible % size]),
    )


def _columns_that_reach_the_end(structures: list[Any]) -> list[np.ndarray]:
    """For each factor, the columns from which some later choice of entries leads to the product."""
    alive = [np.ones(structures[-1].shape[1], dtype=bool)]
    for structure in structures[:0:-1]:
        rows, columns = written_entries(structure)
        reached = np.zeros(structure.shape[0], dtype=bool)
        reached[rows[alive[0][columns]]] = True
        alive.insert(0, reached)
    return alive


def _horizontal_stack(structure: Any, alive: np.ndarray) -> Any:
    """Return ``[B_1 | B_2 | ...]`` with dead columns set to zero; CSR, or dense for dense bases."""
    n_rows, width = structure.shape
    basis = structure.basis()
    if not sparse.issparse(basis):
        stack = basis.reshape(n_rows, width, -1).transpose(0, 2, 1) * alive
        return stack.reshape(n_rows, -1)
    entries = sparse.coo_array(basis)
    row, column = np.divmod(entries.coords[0].astype(np.int64), width)
    keep = alive[column] & (entries.data != 0)
    return sparse.csr_array(
        (
            entries.data[keep],
            (row[keep], entries.coords[1][keep].astype(np.int64) * width + column[keep]),
        ),
        shape=(n_rows, structure.n_parameters * width),
    )


def _dense_stack(structure: Any) -> np.ndarray:
    """Return the basis as an array of shape (n_parameters, n_rows, n_columns)."""
    basis = structure.basis()
    basis = basis.toarray() if sparse.issparse(basis) else basis
    return np.ascontiguousarray(basis.T).reshape(structure.n_parameters, *structure.shape)


def _require_product_memory(partial: Any, stack: Any, limit: float, k: int) -> None:
    if sparse.issparse(partial) and sparse.issparse(stack):
        # Multiplications of a sparse product bound its entries; triplets take 40 bytes each.
        per_row = np.diff(stack.indptr)
        n_bytes = 40.0 * float(np.sum(per_row[partial.indices]))
    else:
        n_bytes = 16.0 * partial.shape[0] * stack.shape[1]
    require_memory(
        n_bytes,
        limit,
        f"the lifting operator, when structures[{k}] is appended,",
        f"use structures with fewer parameters, or raise scikit-learn's working_memory above "
        f"{n_bytes / MEBIBYTE:,.0f} MiB.",
    )


def merge_equal_rows(matrix: Any, data: np.ndarray) -> tuple[Any, np.ndarray, float]:
    """Merge equal rows of a sparse matrix, which weight sharing makes in numbers.

    q equal rows a count as one row ``sqrt(q) a`` with data ``sqrt(q) mean``.

    Parameters
    ----------
    matrix : ndarray or sparse of shape (n_rows, n_columns)
        Left-hand side; dense matrices are returned as they are.
    data : ndarray of shape (n_rows,)
        Right-hand side.

    Returns
    -------
    matrix : ndarray or csr_array of shape (n_distinct, n_columns)
        Distinct rows.
    data : ndarray of shape (n_distinct,)
        Their data.
    scatter : float
        Norm of the data minus the means of their groups.
    """
    if not sparse.issparse(matrix):
        return matrix, data, 0.0
    matrix = sparse.csr_array(matrix)
    # Equal rows have equal products, bit for bit; others do with probability zero.
    probe = np.random.RandomState(0).standard_normal(matrix.shape[1])
    _, first, group = np.unique(matrix @ probe, return_index=True, return_inverse=True)
    count = np.bincount(group)
    mean = np.bincount(group, weights=data) / count
    scatter = float(np.linalg.norm(data - mean[group]))
    root = np.sqrt(count)
    return sparse.csr_array(matrix[first].multiply(root[:, None])), mean * root, scatter


def qr_triangle(matrix: np.ndarray) -> np.ndarray:
    """Return R of a QR factorisation."""
    return np.asarray(np.linalg.qr(matrix, mode="r"))
