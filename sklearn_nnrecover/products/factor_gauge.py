"""The gauge of a product of sparse factors, and its canonical form.

``scale * F[0] @ F[1] @ ... @ F[L-1]`` does not change when a hidden node is rescaled (its row in
one factor up, its column in the factor before down) or when the nodes of a layer are permuted. The
canonical form fixes both: in every factor but the first each row has its first non-zero positive
and its smallest magnitude equal to one; the nodes of a layer are ordered by the first non-zero
column of their row, then lexicographically.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp


def row_gauge(F: sp.csr_array) -> tuple[sp.csr_array, np.ndarray]:
    """Rescale each row to first non-zero positive, smallest magnitude one.

    Parameters
    ----------
    F : csr_array
        Explicit zeros are removed.

    Returns
    -------
    rescaled : csr_array
    scales : ndarray of shape (n_rows,)
        ``F = diag(scales) @ rescaled``; one for a row of zeros.
    """
    F = sp.csr_array(F, copy=True)
    F.eliminate_zeros()
    F.sort_indices()
    weights = np.diff(F.indptr)
    filled = np.flatnonzero(weights)
    scales = np.ones(F.shape[0])
    if len(filled):
        starts = F.indptr[filled]
        smallest = np.minimum.reduceat(np.abs(F.data), starts)
        scales[filled] = smallest * np.sign(F.data[starts])
        F.data /= np.repeat(scales, weights)
    return F, scales


def canonical_order(F: sp.csr_array) -> np.ndarray:
    """Return the order of the rows of F: by first non-zero column, then lexicographically.

    "Lexicographically" compares the columns of the non-zeros in turn, then their values; rows of
    zeros come last.
    """
    F = sp.csr_array(F, copy=True)
    F.sort_indices()
    n_rows, n_columns = F.shape
    weights = np.diff(F.indptr)
    order = np.arange(n_rows)
    depth = int(weights.max(initial=0))
    # A stable sort by the least significant key first: values, then columns, from the last to the
    # first.
    for keys, missing in ((F.data, -np.inf), (F.indices, n_columns)):
        for position in range(depth - 1, -1, -1):
            key = np.full(n_rows, missing, dtype=np.float64)
            present = weights > position
            key[present] = keys[F.indptr[:-1][present] + position]
            order = order[np.argsort(key[order], kind="stable")]
    return order


def normalize_chain(
    factors: Sequence[sp.csr_array],
) -> tuple[list[sp.csr_array], list[np.ndarray]]:
    """Bring a chain into the canonical gauge without changing its product.

    Parameters
    ----------
    factors : sequence of csr_array
        Factors whose shapes chain.

    Returns
    -------
    normalized : list of csr_array
        The same product; every factor but the first in the canonical gauge.
    orders : list of ndarray
        For each factor but the first, the permutation applied to its rows.
    """
    chain = [sp.csr_array(F).astype(np.float64) for F in factors]
    orders: list[np.ndarray] = []
    for layer in range(len(chain) - 1, 0, -1):
        rescaled, scales = row_gauge(chain[layer])
        order = canonical_order(rescaled)
        chain[layer] = rescaled[order]
        before = sp.csr_array(chain[layer - 1] @ sp.diags_array(scales))[:, order]
        before.eliminate_zeros()
        before.sort_indices()
        chain[layer - 1] = before
        orders.insert(0, order)
    return chain, orders
