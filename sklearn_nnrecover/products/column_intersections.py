"""Sparse rows that share a hidden node agree, up to one factor, on that node's support.

Model: ``Y = C @ D`` with sparse ``C (n_rows, k)`` and sparse ``D (k, n_columns)``. Two rows of Y
that both use atom g are proportional to it wherever nothing else interferes, so the entries of
``y_i / y_j`` repeat one value on the support of ``d_g``. The repeated part is a *candidate* atom;
a true atom is proposed by every pair of its users, an accident by one pair.

In the notation of Neyshabur and Panigrahy (2013), whose samples are columns, these are
intersections of columns of Y.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.factor_gauge import row_gauge

RATIO_RTOL = 1e-8
_BYTES_PER_PAIR_ENTRY = 96.0


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
    left, right = A[rows_a], B[rows_b]
    # Multiplying by the other's pattern keeps both factors of each common entry, in one order.
    values = left.multiply(pattern(right)).tocsr()
    others = right.multiply(pattern(left)).tocsr()
    values.sort_indices()
    others.sort_indices()
    overlap = np.diff(values.indptr)
    pair = np.repeat(np.arange(n_pairs), overlap)
    quotient = values.data / others.data
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
    return PairAgreement(ratio, count, overlap, pair[kept], values.indices[kept], values.data[kept])


def correlated_pairs(
    Y: sp.csr_array, min_agreement: int, max_pairs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of rows ``i < j`` with ``|<sign y_i, sign y_j>| >= min_agreement``.

    The strongest ``max_pairs`` are kept (ties cut in order of i, j). The Gram matrix is formed in
    blocks of rows that fit the working memory.
    """
    signs = sign_matrix(Y)
    transposed = signs.T.tocsr()
    column_weight = np.diff(transposed.indptr)
    row_cost = signs.multiply(column_weight[None, :]).tocsr()
    row_cost.data = np.abs(row_cost.data)
    cost = row_cost.sum(axis=1)
    bytes_per_row = 32.0 * max(float(np.mean(cost)) if len(cost) else 1.0, 1.0)
    rows, columns, strength = [], [], []
    for block in row_blocks(Y.shape[0], bytes_per_row):
        gram = (signs[block] @ transposed).tocoo()
        first = gram.row + block.start
        keep = (np.abs(gram.data) >= min_agreement) & (first < gram.col)
        rows.append(first[keep])
        columns.append(gram.col[keep])
        strength.append(np.abs(gram.data[keep]))
    i, j, s = (np.concatenate(parts) for parts in (rows, columns, strength))
    if len(i) > max_pairs:
        chosen = np.lexsort((j, i, -s))[:max_pairs]
        i, j = i[chosen], j[chosen]
    return i.astype(np.intp), j.astype(np.intp)


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


def intersection_candidates(
    Y: sp.csr_array,
    rng: np.random.RandomState,
    *,
    min_agreement: int = 3,
    max_pairs: int = 500_000,
) -> tuple[sp.csr_array, np.ndarray]:
    """Propose atoms from the pairwise intersections of the rows of Y.

    Parameters
    ----------
    Y : csr_array of shape (n_rows, n_columns)
    rng : RandomState
    min_agreement : int
        Entries that two rows must share up to one factor.
    max_pairs : int
        Most pairs compared, the strongest first.

    Returns
    -------
    candidates : csr_array of shape (n_candidates, n_columns)
        In the row gauge: first non-zero positive, smallest magnitude one; distinct.
    votes : ndarray of shape (n_candidates,)
        Pairs that proposed each.
    """
    i, j = correlated_pairs(Y, min_agreement, max_pairs)
    mean_weight = max(Y.nnz / max(Y.shape[0], 1), 1.0)
    blocks = []
    for block in row_blocks(len(i), _BYTES_PER_PAIR_ENTRY * mean_weight):
        agreement = agreeing_entries(Y, i[block], Y, j[block])
        strong = agreement.agreeing >= min_agreement
        entry = strong[agreement.entry_pair]
        blocks.append(
            sp.csr_array(
                (
                    agreement.entry_value[entry],
                    (
                        (np.cumsum(strong) - 1)[agreement.entry_pair[entry]],
                        agreement.entry_column[entry],
                    ),
                ),
                shape=(int(strong.sum()), Y.shape[1]),
            )
        )
    if not blocks:
        return sp.csr_array((0, Y.shape[1])), np.empty(0, dtype=np.intp)
    found, _ = row_gauge(sp.vstack(blocks, format="csr"))
    groups = distinct_rows(found, rng)
    return found[groups.representative], groups.size
