"""Kernel and extreme singular values of the lifting operator.

A sparse operator falls apart into blocks of columns that share no row (a butterfly's blocks are
single columns); each block is decomposed on its own. A dense block is reduced to a triangle by QR.
Small triangles get all their singular values. A large one that is not singular needs only its
extreme ones, by Lanczos iterations with the triangle's inverse; a large singular one, the
eigenvalues of its Gram matrix, which tell a kernel from singular values above
``1e-7 sigma_max`` only. Beyond `max_columns` nothing is decomposed: Lanczos iterations with the
operator itself either converge within their budget or leave the question open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from sklearn_nnrecover.products.structured.lifting import (
    LiftingOperator,
    merge_equal_rows,
    qr_triangle,
)

ALL_SINGULAR_VALUES = 1000
GRAM_RESOLUTION = 1e-7
SMALLEST_RATIO = 1e-12
LANCZOS_RESTARTS = 30


class LiftedSpectrum(NamedTuple):
    """What is known about the singular values of a lifting operator.

    Attributes
    ----------
    kernel_dimension : int or None
        Dimension of the kernel; None when the budget did not suffice to tell.
    sigma_min : float
        Smallest non-zero singular value; nan when unknown.
    sigma_max : float
        Largest singular value; nan when unknown.
    resolution : float
        Singular values below ``resolution * sigma_max`` were counted as zero.
    method : str
        ``"decomposition"``, ``"inverse Lanczos"``, ``"Gram matrix"`` or ``"Lanczos"``.
    """

    kernel_dimension: int | None
    sigma_min: float
    sigma_max: float
    resolution: float
    method: str


def lifted_spectrum(
    operator: LiftingOperator,
    *,
    max_columns: int = 4096,
    rng: np.random.RandomState | None = None,
) -> LiftedSpectrum:
    """Return kernel dimension and extreme singular values of a lifting operator.

    Parameters
    ----------
    operator : LiftingOperator
        The operator.
    max_columns : int, default=4096
        Largest block of columns that is decomposed.
    rng : RandomState or None, default=None
        Source of the iterations' starting vectors; None takes seed 0.
    """
    rng = np.random.RandomState(0) if rng is None else rng
    if operator.matrix is None:
        if operator.shape[1] <= max_columns:
            operator = LiftingOperator(
                operator.structures, operator.paths, operator @ np.eye(operator.shape[1])
            )
            return lifted_spectrum(operator, max_columns=max_columns, rng=rng)
        return _lanczos(operator, rng)
    return matrix_spectrum(operator.matrix, max_columns=max_columns, rng=rng)


def matrix_spectrum(
    matrix: Any, *, max_columns: int = 4096, rng: np.random.RandomState | None = None
) -> LiftedSpectrum:
    """Return kernel dimension and extreme singular values of a dense or sparse matrix.

    Parameters
    ----------
    matrix : ndarray or sparse of shape (n_rows, n_columns)
        Any matrix.
    max_columns : int, default=4096
        Largest block of columns that is decomposed.
    rng : RandomState or None, default=None
        Source of the iterations' starting vectors; None takes seed 0.
    """
    rng = np.random.RandomState(0) if rng is None else rng
    if not sparse.issparse(matrix):
        return _block_spectrum(matrix, max_columns, rng)
    singles, blocks = independent_blocks(matrix)
    spectra = [_block_spectrum(block, max_columns, rng) for block in blocks]
    sigma_max = max([float(singles.max(initial=0.0)), *(s.sigma_max for s in spectra)])
    resolution = _resolution(matrix.shape)
    if any(s.kernel_dimension is None for s in spectra):
        return LiftedSpectrum(None, np.nan, sigma_max, resolution, "Lanczos")
    zeros = int(np.sum(singles <= resolution * sigma_max))
    nonzero = singles[singles > resolution * sigma_max]
    return LiftedSpectrum(
        zeros + sum(s.kernel_dimension or 0 for s in spectra),
        min([float(nonzero.min(initial=np.inf)), *(s.sigma_min for s in spectra)]),
        sigma_max,
        max([resolution, *(s.resolution for s in spectra)]),
        max([s.method for s in spectra], default="decomposition"),
    )


def _resolution(shape: tuple[int, int]) -> float:
    """Relative size below which a singular value is zero: no parameter survives the division."""
    return max(SMALLEST_RATIO, min(max(shape), 10000) * float(np.finfo(float).eps))


def independent_blocks(matrix: Any) -> tuple[np.ndarray, Iterator[Any]]:
    """Split a sparse matrix into blocks of columns without a common row.

    Returns
    -------
    singles : ndarray
        Norms of the columns that share no row with any other: singular values.
    blocks : iterator of ndarray or csc_array
        The other blocks, without their empty rows.
    """
    matrix = sparse.csc_array(matrix)
    rows = sparse.csr_array(matrix)
    pattern = sparse.csr_array((np.ones(rows.nnz), rows.indices, rows.indptr), shape=rows.shape)
    # A column is joined to the first column of each of its rows: linear in the entries.
    occupied = np.flatnonzero(np.diff(rows.indptr))
    first = rows.indices[rows.indptr[occupied]]
    links = sparse.csr_array(
        (np.ones(len(occupied)), (first, np.arange(len(occupied)))),
        shape=(matrix.shape[1], len(occupied)),
    )
    n_blocks, label = connected_components(links @ pattern[occupied], directed=False)
    size = np.bincount(label, minlength=n_blocks)
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0))).ravel()
    alone = size[label] == 1
    order = np.argsort(label, kind="stable")
    ends = np.cumsum(size)

    def blocks() -> Iterator[Any]:
        for block in np.flatnonzero(size > 1):
            columns = order[ends[block] - size[block] : ends[block]]
            part = matrix[:, columns]
            part = sparse.csr_array(part)
            part = part[np.flatnonzero(np.diff(part.indptr))]
            yield part.tocsc()

    return norms[alone], blocks()


def _block_spectrum(block: Any, max_columns: int, rng: np.random.RandomState) -> LiftedSpectrum:
    n_rows, n_columns = block.shape
    if min(n_rows, n_columns) > max_columns:
        return _lanczos(sparse.linalg.aslinearoperator(block), rng)
    if sparse.issparse(block):
        triangle = _sparse_triangle(block)
    else:
        tall = block if n_rows >= n_columns else block.T
        triangle = tall if tall.shape[0] == tall.shape[1] else qr_triangle(tall)
    order = len(triangle)
    eps = _resolution(block.shape)
    beyond = n_columns - order
    if order <= ALL_SINGULAR_VALUES:
        singular = scipy.linalg.svdvals(triangle)
        rank = int(np.sum(singular > eps * singular[0]))
        return LiftedSpectrum(
            beyond + order - rank,
            float(singular[rank - 1]),
            float(singular[0]),
            eps,
            "decomposition",
        )
    return _large_triangle(triangle, beyond, eps, rng)


def _sparse_triangle(block: Any) -> np.ndarray:
    """Triangle of a sparse block, rows that repeat merged first."""
    merged, _, _ = merge_equal_rows(block, np.zeros(block.shape[0]))
    dense = merged.toarray()
    return qr_triangle(dense if len(dense) >= dense.shape[1] else dense.T)


def _large_triangle(
    matrix: np.ndarray, beyond: int, eps: float, rng: np.random.RandomState
) -> LiftedSpectrum:
    """Extreme singular values of a large square matrix from one factorisation."""
    order = len(matrix)
    v0 = rng.standard_normal(order)
    gram = LinearOperator(matrix.shape, matvec=lambda x: matrix.T @ (matrix @ x), dtype=float)
    sigma_max = float(np.sqrt(eigsh(gram, k=1, v0=v0, tol=1e-8, return_eigenvectors=False)[0]))
    getrf, getrs = scipy.linalg.get_lapack_funcs(("getrf", "getrs"), (matrix,))
    factors, pivots, _ = getrf(matrix)
    smallest_pivot = float(np.abs(np.diag(factors)).min())
    if smallest_pivot > eps * sigma_max:

        def inverse_gram(x: np.ndarray) -> np.ndarray:
            y = getrs(factors, pivots, x, trans=1)[0]
            return getrs(factors, pivots, y)[0]

        inverse = LinearOperator(matrix.shape, matvec=inverse_gram, dtype=float)
        try:
            largest = eigsh(inverse, k=1, v0=v0, tol=1e-6, return_eigenvectors=False)[0]
        except ArpackNoConvergence:
            largest = np.inf
        sigma_min = float(1 / np.sqrt(largest))
        if sigma_min > 10 * eps * sigma_max:
            return LiftedSpectrum(beyond, sigma_min, sigma_max, eps, "inverse Lanczos")
    eigenvalues = scipy.linalg.eigvalsh(matrix.T @ matrix, overwrite_a=True, check_finite=False)
    kept = eigenvalues > GRAM_RESOLUTION**2 * eigenvalues[-1]
    return LiftedSpectrum(
        beyond + int(np.sum(~kept)),
        float(np.sqrt(eigenvalues[kept][0])),
        sigma_max,
        GRAM_RESOLUTION,
        "Gram matrix",
    )


def _lanczos(operator: LinearOperator, rng: np.random.RandomState) -> LiftedSpectrum:
    """Extreme singular values from products with the operator alone, within a budget."""
    n_rows, n_columns = operator.shape
    gram = LinearOperator(
        (n_columns, n_columns), matvec=lambda x: operator.rmatvec(operator.matvec(x)), dtype=float
    )
    v0 = rng.standard_normal(n_columns)
    largest = eigsh(gram, k=1, v0=v0, tol=1e-6, return_eigenvectors=False)[0]
    sigma_max = float(np.sqrt(largest))
    if n_rows < n_columns:  # there is a kernel; how large stays open
        return LiftedSpectrum(None, np.nan, sigma_max, GRAM_RESOLUTION, "Lanczos")
    # The small end of largest I - A'A converges fast when A is well conditioned.
    shifted = LinearOperator(
        gram.shape, matvec=lambda x: largest * np.ravel(x) - gram.matvec(x), dtype=float
    )
    try:
        top = eigsh(
            shifted, k=1, which="LA", v0=v0, tol=1e-8, maxiter=LANCZOS_RESTARTS,
            return_eigenvectors=False,
        )[0]  # fmt: skip
    except ArpackNoConvergence:
        return LiftedSpectrum(None, np.nan, sigma_max, GRAM_RESOLUTION, "Lanczos")
    smallest = largest - top
    if smallest <= GRAM_RESOLUTION * largest:
        return LiftedSpectrum(None, np.nan, sigma_max, GRAM_RESOLUTION, "Lanczos")
    return LiftedSpectrum(0, float(np.sqrt(smallest)), sigma_max, GRAM_RESOLUTION, "Lanczos")


def kernel_basis(operator: LiftingOperator, *, max_columns: int = 4096) -> np.ndarray:
    """Orthonormal basis of the kernel of a lifting operator.

    Parameters
    ----------
    operator : LiftingOperator
        The operator.
    max_columns : int, default=4096
        Largest number of columns accepted.

    Returns
    -------
    ndarray of shape (n_paths, kernel_dimension)
        One basis vector a column.

    Raises
    ------
    ValueError
        If there are more columns than `max_columns`.
    """
    n_columns = operator.shape[1]
    if n_columns > max_columns:
        raise ValueError(
            f"the kernel of a lifting operator of {n_columns} columns is not computed: the limit "
            f"is max_columns={max_columns} (a singular value decomposition of that order)."
        )
    matrix = operator.matrix if operator.matrix is not None else operator @ np.eye(n_columns)
    if sparse.issparse(matrix):
        matrix = merge_equal_rows(matrix, np.zeros(matrix.shape[0]))[0].toarray()
    if len(matrix) > n_columns:
        matrix = qr_triangle(matrix)
    _, singular, right = np.linalg.svd(matrix, full_matrices=True)
    rank = int(np.sum(singular > _resolution(operator.shape) * singular[0]))
    return right[rank:].T
