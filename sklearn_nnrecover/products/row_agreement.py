"""How sparse rows agree: common entries, where they repeat one ratio, and which rows are equal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

RATIO_RTOL = 1e-8


class PairAgreement(NamedTuple):
    """The ratio that two sparse rows repeat most often, for many pairs of rows at once.

    ``ratio[p]`` is the most frequent value of ``a[rows_a[p], j] / b[rows_b[p], j]`` over the
    columns j where both are non-zero (nan if there is none), ``agreeing[p]`` how often it occurs,
    and ``overlap[p]`` the number of common columns. ``entry_pair``, ``entry_column`` and
    ``entry_value`` list the agreeing entries (values of ``a``) in COO form.
    """

    ratio: np.ndarray
    agreeing: np.ndarray
    overlap: np.ndarray
    entry_pair: np.ndarray
    entry_column: np.ndarray
    entry_value: np.ndarray


def pattern(A: sp.csr_array) -> sp.csr_array:
    """Return the 0/1 matrix of the non-zeros of A."""
    return sp.csr_array((np.ones(A.nnz), A.indices, A.indptr), shape=A.shape)


def sign_matrix(A: sp.csr_array) -> sp.csr_array:
    """Return the matrix of the signs of A."""
    return sp.csr_array((np.sign(A.data), A.indices, A.indptr), shape=A.shape)


def entries_at(A: sp.csr_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return ``A[rows[p], columns[p]]`` for every p; A is canonical."""
    stored = (
        np.repeat(np.arange(A.shape[0], dtype=np.int64), np.diff(A.indptr)) * A.shape[1] + A.indices
    )
    wanted = rows.astype(np.int64) * A.shape[1] + columns
    if not len(stored):
        return np.zeros(len(wanted))
    position = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
    return np.where(stored[position] == wanted, A.data[position], 0.0)


class CommonEntries(NamedTuple):
    """Columns where both rows of a pair are non-zero: pair, column, and both values."""

    pair: np.ndarray
    column: np.ndarray
    left: np.ndarray
    right: np.ndarray
    overlap: np.ndarray


def common_entries(
    A: sp.csr_array, rows_a: np.ndarray, B: sp.csr_array, rows_b: np.ndarray
) -> CommonEntries:
    """List the common entries of row ``rows_a[p]`` of A and row ``rows_b[p]`` of B for every p."""
    left, right = A[rows_a], B[rows_b]
    # Multiplying by the other's pattern keeps both factors of each common entry, in one order.
    ours = left.multiply(pattern(right)).tocsr()
    others = right.multiply(pattern(left)).tocsr()
    ours.sort_indices()
    others.sort_indices()
    overlap = np.diff(ours.indptr)
    pair = np.repeat(np.arange(len(rows_a)), overlap)
    return CommonEntries(pair, ours.indices, ours.data, others.data, overlap)


def agreeing_entries(
    A: sp.csr_array,
    rows_a: np.ndarray,
    B: sp.csr_array,
    rows_b: np.ndarray,
    rtol: float = RATIO_RTOL,
) -> PairAgreement:
    """Compare row ``rows_a[p]`` of A with row ``rows_b[p]`` of B for every pair p.

    Parameters
    ----------
    A, B : csr_array with the same number of columns, canonical
    rows_a, rows_b : ndarray of int, shape (n_pairs,)
    rtol : float
        Two ratios are the same value when they differ relatively by less.

    Returns
    -------
    PairAgreement
    """
    n_pairs = len(rows_a)
    pair, column, values, others, overlap = common_entries(A, rows_a, B, rows_b)
    quotient = values / others
    order = np.lexsort((quotient, pair))
    pair_sorted, quotient_sorted = pair[order], quotient[order]
    ratio = np.full(n_pairs, np.nan)
    count = np.zeros(n_pairs, dtype=np.intp)
    if not len(order):
        empty = np.empty(0, dtype=np.intp)
        return PairAgreement(ratio, count, overlap, empty, empty, np.empty(0))
    gap = np.abs(np.diff(quotient_sorted)) > rtol * np.abs(quotient_sorted[1:])
    new_run = np.concatenate(([True], gap | (np.diff(pair_sorted) > 0)))
    starts = np.flatnonzero(new_run)
    lengths = np.diff(np.append(starts, len(order)))
    run_pair = pair_sorted[starts]
    # The longest run of each pair: runs are grouped by pair, so sort by (pair, length) and take
    # the last.
    by_length = np.lexsort((lengths, run_pair))
    last = np.flatnonzero(np.append(np.diff(run_pair[by_length]) > 0, True))
    best_run = by_length[last]
    ratio[run_pair[best_run]] = quotient_sorted[starts[best_run]]
    count[run_pair[best_run]] = lengths[best_run]
    is_best = np.zeros(len(starts), dtype=bool)
    is_best[best_run] = True
    kept = order[np.repeat(is_best, lengths)]
    kept.sort()
    return PairAgreement(ratio, count, overlap, pair[kept], column[kept], values[kept])


class RowGroups(NamedTuple):
    """Equal rows: the group of each row, one row of each group, and the size of each group."""

    label: np.ndarray
    representative: np.ndarray
    size: np.ndarray

    @property
    def n_groups(self) -> int:
        """Number of distinct rows."""
        return len(self.size)


def distinct_rows(A: sp.csr_array, rng: np.random.RandomState) -> RowGroups:
    """Group equal rows of A (to about nine digits) by sorting two random projections."""
    key = A @ rng.uniform(0.5, 1.5, size=(A.shape[1], 2))
    # Quantities near a rounding boundary would split: compare neighbours after sorting instead.
    order = np.lexsort((key[:, 1], np.round(key[:, 0] / np.abs(key).max(initial=1.0), 9)))
    steps = np.abs(np.diff(key[order], axis=0)).max(axis=1, initial=0.0)
    new = np.concatenate(([True], steps > 1e-9 * np.abs(key).max(initial=1.0)))[: len(order)]
    label = np.empty(len(order), dtype=np.intp)
    label[order] = np.cumsum(new) - 1
    return RowGroups(label, order[new], np.bincount(label))


def equal_rows(A: sp.csr_array, B: sp.csr_array, rng: np.random.RandomState) -> np.ndarray:
    """Return, for each row of B, the index of a row of A that equals it, -1 if none does."""
    label = distinct_rows(sp.csr_array(sp.vstack([A, B], format="csr")), rng).label
    owner = np.full(label.max(initial=0) + 1, -1)
    owner[label[: A.shape[0]]] = np.arange(A.shape[0])
    return owner[label[A.shape[0] :]]
