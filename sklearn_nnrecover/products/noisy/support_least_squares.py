"""All non-zeros of a sparse product by least squares, and their standard errors.

The supports of ``X = F[0] @ F[1] @ ... @ F[L-1] + noise`` are known. The gauge is that of the
estimator: in every row of ``F[1:]`` the entry of smallest magnitude is 1, a convention and no
estimate. All other entries are parameters. A row of codes touches one row of X only, so the codes
are eliminated block by block and one dense matrix remains, the Schur complement of the layers:

    S = H'H - H'K (K'K)^-1 K'H,    K, H the Jacobians by codes and by layers,

whose inverse holds the variances of the layers; the codes inherit ``(K'K)^-1 + W S^-1 W'`` with
``W = (K'K)^-1 K'H``. The reference entries are constants of this parametrisation: what they would
have varied appears in the other entries of their rows and in the codes, as the delta method has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack, solve_triangular
from scipy.sparse.linalg import lsmr

from sklearn_nnrecover.linalg.blocks import row_blocks, working_memory_bytes
from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.noisy.product_jacobian import product_jacobian

LARGEST_SCHUR_COMPLEMENT = 6000
"""Most free entries of the layers for which standard errors are computed."""

MAX_STEPS = 30
"""Steps with one factorisation of the normal matrix."""

RANK_TOLERANCE = 1e-9
"""Relative pivot below which a direction counts as free: normal matrices square the condition."""

SHORTEST_STEP = 1e-3
"""Fraction of a Gauss-Newton step below which no decrease is rounding."""

LSMR_ITERATIONS = 300

_CONVERGED = 1e-13


class SupportFit(NamedTuple):
    """Least squares on given supports.

    ``standard_errors`` are arrays like the data of ``factors``: 0 for the reference entries, inf
    where the data leave an entry free, nan where the normal matrix was too large. ``n_free`` counts
    the estimated parameters.
    """

    factors: list[sp.csr_array]
    standard_errors: list[np.ndarray]
    noise_std: float
    n_free: int


class BlockInverse(NamedTuple):
    """Pseudo-inverse of a block-diagonal matrix, and the parameters in its null space."""

    matrix: sp.csr_array
    free: np.ndarray


def block_inverse(gram: sp.csr_array, starts: np.ndarray) -> BlockInverse:
    """Invert a symmetric matrix block by block, blocks of one size at once.

    Directions count as free relative to the diagonal, whatever the units of the parameters.

    Parameters
    ----------
    gram : csr_array of shape (n, n)
        Block-diagonal.
    starts : ndarray of shape (n_blocks + 1,)
        Block b spans ``starts[b]:starts[b + 1]``.
    """
    diagonal = gram.diagonal()
    unit = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    gram = sp.coo_array(sp.diags_array(unit) @ gram @ sp.diags_array(unit))
    sizes = np.diff(starts)
    block_of = np.repeat(np.arange(len(sizes)), sizes)
    rank_in_size = np.zeros(len(sizes), dtype=np.intp)
    row, column = gram.coords
    rows, columns, values = [], [], []
    free = np.zeros(gram.shape[0], dtype=bool)
    for size in np.unique(sizes[sizes > 0]):
        members = np.flatnonzero(sizes == size)
        rank_in_size[members] = np.arange(len(members))
        inside = np.flatnonzero(sizes[block_of[row]] == size)
        blocks = np.zeros((len(members), size, size))
        owner = block_of[row[inside]]
        first = starts[owner]
        blocks[rank_in_size[owner], row[inside] - first, column[inside] - first] = gram.data[inside]
        squares, vectors = np.linalg.eigh(blocks)
        kept = squares > RANK_TOLERANCE * squares[:, -1:]
        inverse = np.where(kept, 1 / np.where(kept, squares, 1.0), 0.0)
        values.append(((vectors * inverse[:, None, :]) @ vectors.swapaxes(1, 2)).ravel())
        at = starts[members][:, None] + np.arange(size)
        rows.append(np.repeat(at, size, axis=1).ravel())
        columns.append(np.tile(at, (1, size)).ravel())
        free[at] = np.sum(np.where(kept[:, None, :], 0.0, vectors) ** 2, axis=2) > 1e-6
    if not rows:
        return BlockInverse(sp.csr_array(gram.shape), free)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    inverse = sp.csr_array(entries, shape=gram.shape)
    return BlockInverse(sp.csr_array(sp.diags_array(unit) @ inverse @ sp.diags_array(unit)), free)


def codes_by_least_squares(
    X: np.ndarray, codes: sp.csr_array, layer: sp.csr_array, keep: np.ndarray | None = None
) -> tuple[sp.csr_array, np.ndarray]:
    """Fit the entries of ``codes`` on their support, ``X ~ codes @ layer``.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    codes : csr_array of shape (n_rows, k)
        Support; the values are replaced.
    layer : csr_array of shape (k, n_columns)
    keep : ndarray of bool like X, or None
        Cells that count; None for all.

    Returns
    -------
    codes : csr_array
    precision : ndarray of shape (codes.nnz,)
        Standard errors per unit of noise.
    """
    cells, (by_code, _) = product_jacobian([codes, layer])
    target = X.ravel()[cells]
    if keep is not None:
        counts = keep.ravel()[cells].astype(np.float64)
        by_code, target = sp.csr_array(sp.diags_array(counts) @ by_code), target * counts
    inverse = block_inverse(sp.csr_array(by_code.T @ by_code), codes.indptr)
    precision = np.sqrt(inverse.matrix.diagonal())
    precision[inverse.free] = np.inf
    fitted = sp.csr_array(
        (inverse.matrix @ (by_code.T @ target), codes.indices, codes.indptr), shape=codes.shape
    )
    return fitted, precision


class _Linearised(NamedTuple):
    """Derivatives at one point by the codes and by the free entries of the layers."""

    cells: np.ndarray
    by_code: sp.csr_array
    by_layer: sp.csr_array


def _linearise(factors: list[sp.csr_array], free_entries: list[np.ndarray]) -> _Linearised:
    cells, layers = product_jacobian(factors)
    free = [layer[:, entries] for layer, entries in zip(layers[1:], free_entries, strict=True)]
    return _Linearised(cells, layers[0], sp.csr_array(sp.hstack(free, format="csr")))


class _Normal:
    """The normal matrix at one point, factorised: codes eliminated, layers dense."""

    def __init__(self, at: _Linearised, starts: np.ndarray) -> None:
        by_code, by_layer = at.by_code, at.by_layer
        self.codes = block_inverse(sp.csr_array(by_code.T @ by_code), starts)
        coupling = sp.csr_array(by_code.T @ by_layer)
        self.follow = sp.csr_array(self.codes.matrix @ coupling)
        schur = sp.csr_array(by_layer.T @ by_layer) - sp.csr_array(coupling.T @ self.follow)
        dense = schur.toarray()
        self.scale = np.sqrt(np.maximum(by_layer.power(2).sum(axis=0), 1e-300))
        dense /= self.scale
        dense /= self.scale[:, None]
        # Pivoted Cholesky: what is left when the pivots vanish is free.
        self.triangle, pivots, self.rank, _ = lapack.dpstrf(dense, lower=0, tol=RANK_TOLERANCE)
        self.order = pivots - 1

    def step(self, at: _Linearised, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Change of codes and layers against the gradient at another point."""
        by_code = at.by_code.T @ residual
        gradient = at.by_layer.T @ residual - self.follow.T @ by_code
        kept = self.order[: self.rank]
        R = self.triangle[: self.rank, : self.rank]
        layers = np.zeros(len(gradient))
        half = solve_triangular(R, (gradient / self.scale)[kept], trans="T", check_finite=False)
        layers[kept] = solve_triangular(R, half, check_finite=False)
        layers /= self.scale
        return self.codes.matrix @ by_code - self.follow @ layers, layers

    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Variances of codes and layers for noise of variance 1; inf where they are free."""
        size = len(self.order)
        inverse = np.zeros((size, size))
        kept = self.order[: self.rank]
        if self.rank:
            part, _ = lapack.dpotri(self.triangle[: self.rank, : self.rank], lower=0)
            part = np.triu(part) + np.triu(part, 1).T
            inverse[np.ix_(kept, kept)] = part / self.scale[kept] / self.scale[kept][:, None]
        layers = inverse.diagonal().copy()
        codes = self.codes.matrix.diagonal().copy()
        for block in row_blocks(len(codes), 24.0 * size):
            follow = self.follow[block]
            codes[block] += np.asarray(follow.multiply(follow @ inverse).sum(axis=1)).ravel()
        codes[self.codes.free] = np.inf
        if self.rank < size:
            left = self.order[self.rank :]
            R = self.triangle[: self.rank, : self.rank]
            null = np.zeros((size, len(left)))
            null[kept] = -solve_triangular(R, self.triangle[: self.rank, self.rank :])
            null[left] = np.eye(len(left))
            null /= self.scale[:, None]
            null /= np.linalg.norm(null, axis=0)
            layers[np.abs(null).max(axis=1) > 1e-6] = np.inf
            codes[np.abs(self.follow @ null).max(axis=1) > 1e-6] = np.inf
        return codes, layers


class _IterativeNormal:
    """Least-squares steps of layers too large for their Schur complement, by LSMR."""

    def step(self, at: _Linearised, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        jacobian = sp.csr_array(sp.hstack([at.by_code, at.by_layer], format="csr"))
        scale = np.sqrt(np.maximum(jacobian.power(2).sum(axis=0), 1e-300))
        scaled = sp.csr_array(jacobian @ sp.diags_array(1 / scale))
        change = lsmr(scaled, residual, atol=1e-10, btol=1e-10, maxiter=LSMR_ITERATIONS)[0] / scale
        return change[: at.by_code.shape[1]], change[at.by_code.shape[1] :]


def _all_but_smallest(sizes: np.ndarray, factor: sp.csr_array) -> np.ndarray:
    """Entries of a layer that are estimated: all but the reference, of least size in each row."""
    free = np.ones(factor.nnz, dtype=bool)
    rows = np.repeat(np.arange(factor.shape[0]), np.diff(factor.indptr))
    order = np.lexsort((sizes, rows))
    free[order[np.append(True, np.diff(rows[order]) > 0)[: len(order)]]] = False
    return np.flatnonzero(free)


def fit_supports(X: np.ndarray, factors: Sequence[sp.csr_array]) -> SupportFit:
    """Fit all entries of a product on fixed supports by least squares, from a start nearby.

    Gauss-Newton steps share one factorisation of the normal matrix, which the small noise barely
    moves, as long as they help; the standard errors come from another one at the solution.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Data.
    factors : sequence of at least two csr_array
        Supports and starting values. The last ones are brought to the gauge.

    Returns
    -------
    SupportFit

    Raises
    ------
    MemoryError
        If the derivatives exceed scikit-learn's ``working_memory``.
    """
    chain = in_gauge(factors)
    n_parameters = sum(F.nnz for F in chain) - sum(
        int(np.sum(np.diff(F.indptr) > 0)) for F in chain[1:]
    )
    n_layers = n_parameters - chain[0].nnz
    dense = n_layers <= LARGEST_SCHUR_COMPLEMENT and 16.0 * n_layers**2 <= working_memory_bytes()
    chain = _descend(X, chain, dense=dense)
    if not dense:
        unknown = [np.full(F.nnz, np.nan) for F in chain]
        return SupportFit(chain, unknown, _noise_std(X, chain, n_parameters), n_parameters)
    free_entries = [_all_but_smallest(np.abs(factor.data), factor) for factor in chain[1:]]
    normal = _Normal(_linearise(chain, free_entries), chain[0].indptr)
    n_free = chain[0].nnz - int(normal.codes.free.sum()) + normal.rank
    noise_std = _noise_std(X, chain, n_free)
    codes, layers = normal.variances()
    errors = [noise_std * np.sqrt(codes)]
    ends = np.cumsum([len(free) for free in free_entries])[:-1]
    for factor, free, variance in zip(chain[1:], free_entries, np.split(layers, ends), strict=True):
        error = np.zeros(factor.nnz)
        error[free] = noise_std * np.sqrt(variance)
        errors.append(error)
    return SupportFit(chain, errors, noise_std, n_free)


def _descend(X: np.ndarray, chain: list[sp.csr_array], *, dense: bool) -> list[sp.csr_array]:
    """Take steps with one normal matrix while they shorten the residual, then with a new one.

    The largest entries keep their values: relative to one below the noise, as the gauge may have
    it, all others of its row would change beyond measure.
    """
    free_entries = [_all_but_smallest(-np.abs(factor.data), factor) for factor in chain[1:]]
    at = _linearise(chain, free_entries)
    target = X.ravel()[at.cells]
    residual = target - _at(chain, at.cells)
    size = float(np.linalg.norm(residual))
    normal: _Normal | _IterativeNormal | None = None
    length = 1.0
    for _ in range(MAX_STEPS):
        is_fresh = normal is None or not dense
        if normal is None:
            normal = _Normal(at, chain[0].indptr) if dense else _IterativeNormal()
        codes, layers = normal.step(at, residual)
        trial = _moved(chain, free_entries, length * codes, length * layers)
        left = target - _at(trial, at.cells)
        trial_size = float(np.linalg.norm(left))
        saved = size - trial_size
        if saved > 0:
            chain, residual, size, length = trial, left, trial_size, 1.0
            at = _linearise(chain, free_entries)
        elif is_fresh:
            length /= 4
        if saved <= _CONVERGED * size:
            if is_fresh and (saved > 0 or length < SHORTEST_STEP):
                break
            if not is_fresh:
                normal = None
    return in_gauge(chain)


def _moved(
    chain: list[sp.csr_array], free_entries: list[np.ndarray], codes: np.ndarray, layers: np.ndarray
) -> list[sp.csr_array]:
    changes = np.split(layers, np.cumsum([len(free) for free in free_entries])[:-1])
    moved = [_with_data(chain[0], chain[0].data + codes)]
    for factor, free, change in zip(chain[1:], free_entries, changes, strict=True):
        data = factor.data.copy()
        data[free] += change
        moved.append(_with_data(factor, data))
    return moved


def _with_data(factor: sp.csr_array, data: np.ndarray) -> sp.csr_array:
    return sp.csr_array((data, factor.indices, factor.indptr), shape=factor.shape)


def _at(chain: Sequence[sp.csr_array], cells: np.ndarray) -> np.ndarray:
    """Entries of the product at flat indices that include all its non-zeros."""
    product = chain_product(chain)
    product.sort_indices()
    rows = np.repeat(np.arange(product.shape[0], dtype=np.int64), np.diff(product.indptr))
    values = np.zeros(len(cells))
    values[np.searchsorted(cells, rows * product.shape[1] + product.indices)] = product.data
    return values


def _noise_std(X: np.ndarray, chain: Sequence[sp.csr_array], n_free: int) -> float:
    degrees = X.size - n_free
    residual = X - chain_product(chain).toarray()
    return float(np.linalg.norm(residual) / np.sqrt(degrees)) if degrees > 0 else np.inf


def in_gauge(factors: Sequence[sp.csr_array]) -> list[sp.csr_array]:
    """Smallest magnitude 1 and first non-zero positive in each row of all factors but the first."""
    chain = [sp.csr_array(F, dtype=np.float64) for F in factors]
    for layer in range(len(chain) - 1, 0, -1):
        chain[layer], scales = row_gauge(chain[layer])
        chain[layer - 1] = sp.csr_array(chain[layer - 1] @ sp.diags_array(scales))
    chain[0].sort_indices()
    return chain
