"""Proof that the sparse vectors in hand are all there are: a bound on the weight of any other.

Take m information sets that together use column j ``c_j`` times, and list every vector of the row
space with at most t non-zeros on one of them. A vector that is not listed has t + 1 non-zeros or
more on each set, so the ``c_j`` over its support sum to ``m (t + 1)`` at least: if the w largest
``c_j`` sum to less, every vector of weight w or below is listed (Brouwer and Zimmermann's bound,
for real coefficients). One non-zero is free: the rows of the systematic basis. Two non-zeros are
pairs of rows with one ratio on the columns where the vector vanishes; among q disjoint windows of
columns off the pivots, a vector of weight w vanishes on ``q - (w - 2)`` at least. Pairs of rows
that are nearly zero there themselves are found by the columns they share.

References
----------
M. Grassl, *Searching for linear codes with large minimum distance*, in Discovering Mathematics
with Magma, 2006.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_spaces.lightest_bases import distinct_vectors
from sklearn_nnrecover.products.row_spaces.systematic_bases import (
    MATCH_RTOL,
    ZERO_RTOL,
    RowSpace,
    SystematicBasis,
    systematic_basis,
)

MAX_SETS = 12
"""Information sets drawn at most."""

SMALLEST_WINDOW = 3
"""Columns in a window: two tell a pair, a third one catches accidents."""

LONGEST_RUN = 12
"""More rows of equal ratio than this on a window are not paired there."""

ANGLE_TOL = 1e-7
"""Radians that rounding may put between parallel rows of a window."""


class Listing(NamedTuple):
    """All vectors of a row space up to a weight.

    Attributes
    ----------
    complete_weight : int
        Every vector of this weight or below is listed; 0 proves nothing.
    vectors : csr_array of shape (n_listed, n_columns)
        Distinct, in the row gauge, lightest first; heavier ones may be among them.
    n_sets : int
    asked_weight : int, default=0
        Up to which the list was asked for.
    """

    complete_weight: int
    vectors: sp.csr_array
    n_sets: int
    asked_weight: int = 0


def reachable_weight(space: RowSpace) -> int:
    """Largest weight that any number of information sets can prove, with pairs on each.

    m sets use a column in use ``m rank / n_columns`` times on average, so some w columns together
    ``m w rank / n_columns`` times at least, and that must be less than 3 m.
    """
    return (3 * int(_in_use(space).sum()) - 1) // space.rank


def _in_use(space: RowSpace) -> np.ndarray:
    """Columns that are not zero, the only ones on which a vector has non-zeros."""
    return np.linalg.norm(space.basis, axis=0) > ZERO_RTOL


def _covered_weight(coverage: np.ndarray, total: int) -> int:
    """Largest w such that any w columns are used fewer than ``total`` times together."""
    used = np.cumsum(np.sort(coverage)[::-1])
    return int(np.searchsorted(used, total, side="left"))


def _pairs(
    systematic: SystematicBasis, n_columns: int, max_weight: int, rng: np.random.RandomState
) -> sp.csr_array | None:
    """All combinations of two rows of weight at most ``max_weight`` with a cancellation, or None.

    None when there are too few columns off the pivots. Sums of two rows without any cancellation
    are left out: they are heavier than both rows, and span nothing new.
    """
    rest = systematic.rest
    rank, _ = rest.shape
    distinct = _one_of_parallel_columns(rest, rng)
    n_windows = min(len(distinct) // SMALLEST_WINDOW, 2 * max_weight + 4)
    if n_windows < max_weight:
        return None
    magnitude = np.maximum(np.abs(rest).max(axis=1, initial=0.0), 1.0)
    nonzero = np.abs(rest) > ZERO_RTOL * magnitude[:, None]
    n_blind = np.zeros(rank, dtype=int)
    members, ratios = [np.zeros((0, 2), dtype=int)], [np.zeros(0)]
    for window in np.array_split(rng.permutation(distinct), n_windows):
        keys = rest[:, window] @ rng.normal(size=(len(window), 3))
        # One non-zero in the window has no ratio that could tell rows apart.
        seen = np.count_nonzero(nonzero[:, window], axis=1) >= 2
        n_blind += ~seen
        rows, keys = np.flatnonzero(seen), keys[seen]
        angle = np.mod(np.arctan2(keys[:, 1], keys[:, 0]), np.pi)
        order = np.argsort(angle)
        run = np.cumsum(np.diff(angle[order], prepend=-1.0) >= ANGLE_TOL)
        crowded = np.bincount(run)[run] > LONGEST_RUN
        n_blind[rows[order[crowded]]] += 1
        order = order[~crowded]
        for shift in range(1, min(LONGEST_RUN, len(order)) + 1):
            following = np.roll(order, -shift)
            difference = np.mod(angle[following] - angle[order] + ANGLE_TOL, np.pi)
            close = difference < 2 * ANGLE_TOL
            if not close.any():
                break
            i, j = order[close], following[close]
            ratio = -np.sum(keys[i] * keys[j], axis=1) / np.sum(keys[j] ** 2, axis=1)
            mismatch = np.abs(keys[i] + ratio[:, None] * keys[j]).max(axis=1)
            fits = (mismatch < 1e3 * MATCH_RTOL * np.abs(keys[i]).max(axis=1)) & (i != j)
            members.append(np.column_stack([rows[i], rows[j]])[fits])
            ratios.append(ratio[fits])
    # Where the combination is zero, the two rows are seen in the same windows; a pair that
    # escapes them all is one of rows that are blind in that many.
    light = np.flatnonzero(n_blind >= n_windows - (max_weight - 2))
    columns, which = np.nonzero(nonzero[light].T)
    for shift in range(1, len(light)):
        same = columns[shift:] == columns[:-shift]
        if not same.any():
            break
        i, j = light[which[:-shift][same]], light[which[shift:][same]]
        members.append(np.column_stack([i, j]))
        ratios.append(-rest[i, columns[shift:][same]] / rest[j, columns[shift:][same]])
    pairs, ratio = np.concatenate(members), np.concatenate(ratios)
    swap = pairs[:, 0] > pairs[:, 1]
    pairs[swap], ratio[swap] = pairs[swap][:, ::-1], 1.0 / ratio[swap]
    key = np.column_stack([pairs, np.round(ratio, 6)])
    unique = np.unique(key, axis=0, return_index=True)[1]
    coefficients = np.column_stack([np.ones(len(unique)), ratio[unique]])
    blocks = [sp.csr_array((0, n_columns))]
    for block in row_blocks(len(unique), 32.0 * n_columns):
        vectors = systematic.combine(pairs[unique[block]], coefficients[block], n_columns)
        blocks.append(_light(vectors, max_weight))
    return sp.csr_array(sp.vstack(blocks))


def _one_of_parallel_columns(A: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Non-zero columns of A, one of each set of parallel ones."""
    largest = np.argmax(np.abs(A), axis=0)
    scale = A[largest, np.arange(A.shape[1])]
    filled = np.flatnonzero(np.abs(scale) > ZERO_RTOL)
    value = np.round(rng.normal(size=len(A)) @ (A[:, filled] / scale[filled]), 7)
    return filled[np.unique(value, return_index=True)[1]]


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
    in_use = _in_use(space)
    coverage = np.zeros(n_columns, dtype=int)
    found = [sp.csr_array((0, n_columns))]
    with_pairs = True
    complete, n_sets = 0, 0
    for n_sets in range(1, MAX_SETS + 1):
        excess = coverage - coverage[in_use].min()
        preference = np.exp(-4.0 * excess + 0.3 * rng.normal(size=n_columns))
        # Rounding errors in a column of zeros must not become a pivot.
        preference[~in_use] = preference.min()
        systematic = systematic_basis(space.basis, preference)
        coverage[systematic.pivots] += 1
        rank = space.rank
        singles = np.zeros((rank, n_columns))
        singles[np.arange(rank), systematic.pivots] = 1.0
        singles[:, systematic.others] = systematic.rest
        found.append(_light(singles, max_weight))
        pairs = _pairs(systematic, n_columns, max_weight, rng) if with_pairs else None
        with_pairs = pairs is not None
        if pairs is not None:
            found.append(pairs)
        listed = n_sets * (3 if with_pairs else 2)
        complete = max(complete, min(max_weight, _covered_weight(coverage[in_use], listed)))
        if complete >= max_weight:
            break
    vectors = row_gauge(sp.csr_array(sp.vstack(found)))[0]
    distinct = distinct_vectors(vectors, np.ones(vectors.shape[0], dtype=int))
    return Listing(complete, distinct.vectors, n_sets, max_weight)
