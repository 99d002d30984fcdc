"""Sparse rows that share a hidden node agree, up to one factor, on that node's support.

Model: ``Y = C @ D`` with sparse ``C (n_rows, k)`` and sparse ``D (k, n_columns)``. Two rows of Y
that both use atom g are proportional to it wherever nothing else interferes, so the entries of
``y_i / y_j`` repeat one value on the support of ``d_g``. The repeated part is a *candidate* atom;
a true atom is proposed by every pair of its users, an accident by one pair.

In the notation of Neyshabur and Panigrahy (2013), whose samples are columns, these are
intersections of columns of Y.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_agreement import agreeing_entries, distinct_rows, sign_matrix

_BYTES_PER_PAIR_ENTRY = 96.0


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
