"""Derivatives of a product of sparse factors by all of its entries, as sparse matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import require_memory, working_memory_bytes


class Jacobian(NamedTuple):
    """Derivatives of the cells of a product that its supports reach.

    ``cells`` are flat indices into X, ``layers[k]`` has one row a cell and one column a stored
    entry of factor k.
    """

    cells: np.ndarray
    layers: list[sp.csr_array]


def product_jacobian(factors: Sequence[sp.csr_array]) -> Jacobian:
    """Differentiate a product of sparse factors by all of its stored entries.

    Parameters
    ----------
    factors : sequence of csr_array
        Canonical, shapes that chain.

    Raises
    ------
    MemoryError
        If the derivatives exceed scikit-learn's ``working_memory``.
    """
    chain = list(factors)
    before: list[sp.csr_array] = [sp.csr_array(sp.eye_array(chain[0].shape[0], format="csr"))]
    for factor in chain[:-1]:
        before.append(sp.csr_array(before[-1] @ factor))
    after: list[sp.csr_array] = [sp.csr_array(sp.eye_array(chain[-1].shape[1], format="csr"))]
    for factor in chain[:0:-1]:
        after.insert(0, sp.csr_array(factor @ after[0]))
    n_columns = chain[-1].shape[1]
    parts = [
        _derivatives(prefix, factor, suffix)
        for prefix, factor, suffix in zip(before, chain, after, strict=True)
    ]
    cells, position = np.unique(
        np.concatenate([row * n_columns + column for row, column, _, _ in parts]),
        return_inverse=True,
    )
    ends = np.cumsum([len(entry) for _, _, entry, _ in parts])[:-1]
    layers = [
        sp.csr_array((value, (where, entry)), shape=(len(cells), factor.nnz))
        for (_, _, entry, value), where, factor in zip(
            parts, np.split(position, ends), chain, strict=True
        )
    ]
    return Jacobian(cells, layers)


def _derivatives(
    before: sp.csr_array, factor: sp.csr_array, after: sp.csr_array
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, column, entry and value of ``before[row, g] * after[j, column]``, (g, j) the entries."""
    left = before.T.tocsr()
    nodes = np.repeat(np.arange(factor.shape[0]), np.diff(factor.indptr))
    n_left, n_right = np.diff(left.indptr)[nodes], np.diff(after.indptr)[factor.indices]
    counts = n_left * n_right
    require_memory(
        48.0 * float(counts.sum()),
        working_memory_bytes(),
        "the derivatives of a product by its entries",
        "raise working_memory to fit all entries together.",
    )
    entry = np.repeat(np.arange(factor.nnz), counts)
    offset = np.arange(len(entry)) - np.repeat(np.cumsum(counts) - counts, counts)
    at_left = left.indptr[nodes[entry]] + offset // n_right[entry]
    at_right = after.indptr[factor.indices[entry]] + offset % n_right[entry]
    return (
        left.indices[at_left].astype(np.int64),
        after.indices[at_right].astype(np.int64),
        entry,
        left.data[at_left] * after.data[at_right],
    )
