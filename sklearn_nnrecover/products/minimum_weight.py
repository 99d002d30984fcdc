"""Proof that the sparse vectors in hand are all there are: a bound on the weight of any other.

Take m information sets that together use column j ``c_j`` times, and list every vector of the row
space with at most t non-zeros on one of them. A vector that is not listed has t + 1 non-zeros or
more on each set, so the ``c_j`` over its support sum to ``m (t + 1)`` at least: if the w largest
``c_j`` sum to less, every vector of weight w or below is listed (Brouwer and Zimmermann's bound,
for real coefficients). One non-zero is free: the rows of the systematic basis. Two non-zeros are
pairs of rows with one ratio on the columns where the vector vanishes; among q disjoint windows of
columns off the pivots, a vector of weight w vanishes on ``q - (w - 2)`` at least.

References
----------
M. Grassl, *Searching for linear codes with large minimum distance*, in Discovering Mathematics
with Magma, 2006.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from .factor_gauge import row_gauge
from .lightest_bases import distinct_vectors
from .systematic_bases import (
    MATCH_RTOL,
    ZERO_RTOL,
    RowSpace,
    SystematicBasis,
    systematic_basis,
)

MAX_SETS = 6
"""Information sets drawn at most."""

WINDOW = 4
"""Columns in a window: two to tell a pair, the others so that few rows vanish there."""

LONGEST_RUN = 6
"""Rows of equal ratio on a window beyond which the pairs are not listed."""


class Listing(NamedTuple):
    """All vectors of a row space up to a weight.

    Attributes
    ----------
    complete_weight : int
        Every vector of this weight or below is listed; 0 proves nothing.
    vectors : csr_array of shape (n_listed, n_columns)
        Distinct, in the row gauge, lightest first; heavier ones may be among them.
    n_sets : int
    """

    complete_weight: int
    vectors: sp.csr_array
    n_sets: int


def _covered_weight(coverage: np.ndarray, total: int) -> int:
    """Largest w such that any w columns are used fewer than ``total`` times together."""
    used = np.cumsum(np.sort(coverage)[::-1])
    return int(np.searchsorted(used, total, side="left"))


def _pairs(
    systematic: SystematicBasis, n_columns: int, max_weight: int, rng: np.random.RandomState
) -> tuple[sp.csr_array, int]:
    """Light combinations of two rows, and the weight up to which they are all there."""
    rest = systematic.rest
    rank, n_rest = rest.shape
    n_windows = min(n_rest // WINDOW, 2 * max_weight + 4)
    windows = rng.permutation(n_rest)[: n_windows * WINDOW].reshape(n_windows, WINDOW)
    magnitude = np.maximum(np.abs(rest).max(axis=1, initial=0.0), 1.0)
    dead = np.zeros(rank, dtype=int)
    members, ratios = [], []
    for window in windows:
        keys = rest[:, window] @ (rng.normal(size=(WINDOW, 3)))
        alive = np.abs(keys).max(axis=1) > 1e3 * MATCH_RTOL * magnitude
        dead += ~alive
        rows, keys = np.flatnonzero(alive), keys[alive]
        angle = np.mod(np.arctan2(keys[:, 1], keys[:, 0]), np.pi)
        order = np.argsort(angle)
        for shift in range(1, LONGEST_RUN + 1):
            following = np.roll(order, -shift)
            difference = np.mod(angle[following] - angle[order], np.pi)
            close = difference < 1e2 * MATCH_RTOL
            if shift == LONGEST_RUN and close.any() and len(order) > LONGEST_RUN:
                return sp.csr_array((0, n_columns)), 1
            i, j = order[close], following[close]
            ratio = -np.sum(keys[i] * keys[j], axis=1) / np.sum(keys[j] ** 2, axis=1)
            mismatch = np.abs(keys[i] + ratio[:, None] * keys[j]).max(axis=1)
            fits = (mismatch < 1e3 * MATCH_RTOL * np.abs(keys[i]).max(axis=1)) & (i != j)
            members.append(np.column_stack([rows[i], rows[j]])[fits])
            ratios.append(ratio[fits])
    pairs = np.concatenate(members) if members else np.zeros((0, 2), dtype=int)
    ratio = np.concatenate(ratios) if ratios else np.zeros(0)
    _, unique = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    coefficients = np.column_stack([np.ones(len(unique)), ratio[unique]])
    vectors = systematic.combine(pairs[unique], coefficients, n_columns)
    listed = n_windows - int(dead.max(initial=0)) + 1
    return _light(vectors, max_weight), max(listed, 1)


def _light(vectors: np.ndarray, max_weight: int) -> sp.csr_array:
    """Rows of weight at most ``max_weight`` after rounding small entries to zero."""
    vectors = np.where(
        np.abs(vectors) > ZERO_RTOL * np.abs(vectors).max(axis=1, keepdims=True), vectors, 0.0
    )
    return sp.csr_array(vectors[np.count_nonzero(vectors, axis=1) <= max_weight])


def list_light_vectors(space: RowSpace, *, max_weight: int, rng: np.random.RandomState) -> Listing:
    """List the vectors of a row space completely up to the weight that can be proven.

    Parameters
    ----------
    space : RowSpace
        Of rank below ``n_columns``.
    max_weight : int
        Weight up to which a proof is wanted.
    rng : RandomState

    Returns
    -------
    Listing
        ``complete_weight <= max_weight``. The arithmetic is floating point: entries below 1e-8 of a
        vector's largest count as zero.
    """
    n_columns = space.basis.shape[1]
    # No vector has a non-zero on a column of zeros.
    in_use = np.linalg.norm(space.basis, axis=0) > ZERO_RTOL
    coverage = np.zeros(n_columns, dtype=int)
    found = [sp.csr_array((0, n_columns))]
    listed_by_pairs = max_weight
    complete, n_sets = 0, 0
    for n_sets in range(1, MAX_SETS + 1):
        preference = np.exp(-4.0 * (coverage - coverage.min()) + 0.3 * rng.normal(size=n_columns))
        systematic = systematic_basis(space.basis, preference)
        coverage[systematic.pivots] += 1
        rank = space.rank
        singles = np.zeros((rank, n_columns))
        singles[np.arange(rank), systematic.pivots] = 1.0
        singles[:, systematic.others] = systematic.rest
        found.append(_light(singles, max_weight))
        pairs, listed = _pairs(systematic, n_columns, max_weight, rng)
        found.append(pairs)
        listed_by_pairs = min(listed_by_pairs, listed)
        by_singles = _covered_weight(coverage[in_use], 2 * n_sets)
        by_pairs = min(_covered_weight(coverage[in_use], 3 * n_sets), listed_by_pairs)
        complete = max(complete, min(max_weight, max(by_singles, by_pairs)))
        if complete >= max_weight:
            break
    vectors = row_gauge(sp.csr_array(sp.vstack(found)))[0]
    distinct = distinct_vectors(vectors, np.ones(vectors.shape[0], dtype=int))
    return Listing(complete, distinct.vectors, n_sets)
