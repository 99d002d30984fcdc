"""Pools of sparse vectors of one row space: distinct ones, and the lightest basis among them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.row_spaces.systematic_bases import RowSpace

INDEPENDENCE_TOL = 1e-6
"""Sine of the angle to a subspace below which a vector lies in it."""

VALUE_TOL = 1e-6
"""Entries closer than this to 1 or -1 are that."""


class SparseVectors(NamedTuple):
    """Distinct vectors in the row gauge, lightest first, and how often each was met."""

    vectors: sp.csr_array
    hits: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Number of non-zeros of each vector."""
        return np.diff(self.vectors.indptr)


def distinct_vectors(vectors: sp.csr_array, hits: np.ndarray) -> SparseVectors:
    """Merge equal rows (row gauge) and order them by weight."""
    n_columns = vectors.shape[1]
    # Two irrational projections tell vectors apart; equal ones agree to rounding.
    angles = np.arange(n_columns)[:, None] * np.sqrt([2.0, 3.0])
    weights = np.diff(vectors.indptr)
    values = vectors @ np.cos(1.0 + angles)
    order = np.lexsort((values[:, 0], weights))
    values = values[order]
    step = np.abs(np.diff(values, axis=0)) > 1e-6 * (1.0 + np.abs(values[1:]))
    new = np.r_[True, step.any(axis=1) | (np.diff(weights[order]) != 0)][: len(order)]
    first = np.flatnonzero(new)
    total = np.add.reduceat(hits[order], first) if len(first) else hits[:0]
    return SparseVectors(sp.csr_array(vectors[order[first]]), total)


def count_other_values(vectors: sp.csr_array) -> np.ndarray:
    """Entries of each row (row gauge) that are neither 1 nor -1."""
    other = (np.abs(np.abs(vectors.data) - 1.0) > VALUE_TOL).astype(float)
    counts = sp.csr_array((other, vectors.indices, vectors.indptr), shape=vectors.shape).sum(axis=1)
    return np.asarray(counts, dtype=int)


def lightest_independent(vectors: sp.csr_array, space: RowSpace) -> np.ndarray:
    """Greedy lightest independent subset: optimal, since independent vectors form a matroid.

    Ties of weight go to the vector of fewest entries other than 1 and -1 (a sum and a difference
    of two rows of signs can be as light as they are), then to that of least Mahalanobis norm
    ``x (Y' Y)^+ x'``: for Y = Z F with uncorrelated columns of Z it is 1 for a row of F and 3 for
    a sum of three of them.

    Parameters
    ----------
    vectors : csr_array of shape (n_vectors, n_columns)
        Vectors of the row space in the row gauge, lightest first.
    space : RowSpace

    Returns
    -------
    ndarray of int
        Rows of ``vectors``, lightest first.
    """
    weights = np.diff(vectors.indptr)
    coordinates = vectors @ space.basis.T
    mahalanobis = np.linalg.norm(coordinates / space.singular_values, axis=1)
    other_values = count_other_values(vectors)
    coordinates /= np.linalg.norm(coordinates, axis=1, keepdims=True)
    frame = np.zeros((0, space.rank))
    chosen: list[np.ndarray] = [np.zeros(0, dtype=int)]
    for weight in np.unique(weights):
        if len(frame) == space.rank:
            break
        rows = np.flatnonzero(weights == weight)
        rows = rows[np.lexsort((mahalanobis[rows], other_values[rows]))]
        outside, beyond = _outside(frame, coordinates[rows])
        rows = rows[outside]
        mine = np.zeros(len(rows), dtype=bool)
        open_rows = np.arange(len(rows))
        while len(open_rows):
            # In order, without pivoting: a vector spanned by those before it has a zero diagonal.
            # Its column of Q is noise that may hide a later vector, hence the second look.
            Q, R = np.linalg.qr(beyond.T)
            accepted = np.flatnonzero(np.abs(np.diagonal(R)) > INDEPENDENCE_TOL)
            mine[open_rows[accepted]] = True
            if len(accepted) < len(open_rows):
                Q = np.linalg.qr(beyond[accepted].T)[0]
            frame = np.vstack([frame, Q.T])
            if len(accepted) == len(open_rows) or len(frame) == space.rank:
                break
            outside, beyond = _outside(frame, coordinates[rows[open_rows]])
            open_rows = open_rows[outside]
        chosen.append(rows[mine])
    return np.concatenate(chosen)


def _outside(frame: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which unit vectors stick out of the span of an orthonormal frame, and the part that does."""
    part = vectors
    for _ in range(2):
        part = part - (part @ frame.T) @ frame
    outside = np.linalg.norm(part, axis=1) > INDEPENDENCE_TOL
    return outside, part[outside]
