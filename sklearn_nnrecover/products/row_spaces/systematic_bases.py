"""Systematic bases of a row space, and the sparse vectors that one of them shows.

A set I of ``rank`` columns on which a row space is regular is an *information set* (coding
theory's word; Prange 1962, Stern 1989). It gives the systematic basis G, the identity on I, and
every vector of the row space is ``x = x[I] @ G``. A sparse x has few non-zeros on a random I: with
one it is a row of G; with two, a pair of rows whose ratio agrees on the columns where x vanishes;
with three or four non-zeros of equal magnitude, a signed sum that vanishes there. Pairs are found
by sorting angles, sums by sorting all pair sums of one random projection: no list of triples or
quadruples is ever formed.

References
----------
J. Stern, *A method for finding codewords of small weight*, Coding Theory and Applications, 1989.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy import linalg

from sklearn_nnrecover.linalg.blocks import working_memory_bytes
from sklearn_nnrecover.products.factor_gauge import row_gauge

MATCH_RTOL = 1e-9
"""Relative agreement of two projections that proposes a vector."""

ZERO_RTOL = 1e-8
"""Entries below this fraction of a vector's largest are zero."""

N_SAMPLED = 48
"""Columns on which the zeros of a proposal are counted before the whole vector is formed."""


class RowSpace(NamedTuple):
    """Orthonormal basis ``(rank, n_columns)`` of a row space, and the singular values kept."""

    basis: np.ndarray
    singular_values: np.ndarray
    gap: float

    @property
    def rank(self) -> int:
        """Dimension of the row space."""
        return len(self.basis)


def row_space(Y: np.ndarray, *, rtol: float = 1e-10) -> RowSpace:
    """Orthonormal basis of the row space of Y.

    Parameters
    ----------
    Y : ndarray of shape (n_rows, n_columns)
    rtol : float, default=1e-10
        Singular values below ``rtol`` times the largest are rounding.

    Returns
    -------
    RowSpace
        ``gap`` is the largest neglected singular value over the smallest kept one.
    """
    triangle = np.linalg.qr(Y, mode="r") if Y.shape[0] > Y.shape[1] else Y
    _, singular, right = linalg.svd(triangle, full_matrices=False, check_finite=False)
    rank = int(np.sum(singular > rtol * singular[0])) if len(singular) and singular[0] > 0 else 0
    neglected = singular[rank] if rank < len(singular) else 0.0
    return RowSpace(
        right[:rank], singular[:rank], float(neglected / singular[rank - 1]) if rank else 0.0
    )


class SystematicBasis(NamedTuple):
    """``vectors[i]`` is one at ``pivots[i]``, zero at the other pivots, ``rest`` elsewhere.

    ``pivots (rank,)`` and ``others (n_columns - rank,)`` are column numbers; ``rest`` has shape
    ``(rank, n_columns - rank)``.
    """

    pivots: np.ndarray
    others: np.ndarray
    rest: np.ndarray

    def combine(self, members: np.ndarray, coefficients: np.ndarray, n_columns: int) -> np.ndarray:
        """Dense rows ``(n, n_columns)``: ``members (n, t)`` weighted by ``coefficients (n, t)``."""
        vectors = np.zeros((len(members), n_columns))
        vectors[:, self.others] = np.einsum("nt,ntc->nc", coefficients, self.rest[members])
        rows = np.arange(len(members))
        for t in range(members.shape[1]):
            vectors[rows, self.pivots[members[:, t]]] += coefficients[:, t]
        return vectors


def systematic_basis(basis: np.ndarray, column_weights: np.ndarray) -> SystematicBasis:
    """Systematic basis whose pivots prefer columns of large weight, by LU with row pivoting.

    Parameters
    ----------
    basis : ndarray of shape (rank, n_columns)
        Any basis of the row space.
    column_weights : ndarray of shape (n_columns,)
        Positive; a column is preferred in proportion.
    """
    rank = len(basis)
    lower, pivoting = linalg.lapack.dgetrf((basis * column_weights).T)[:2]
    order = np.arange(basis.shape[1])
    for step, chosen in enumerate(pivoting):
        order[step], order[chosen] = order[chosen], order[step]
    pivots, others = order[:rank], order[rank:]
    # rest' = L2 L1^-1, then the weights are taken out again.
    rest = linalg.solve_triangular(
        lower[:rank], lower[rank:].T, lower=True, trans="T", unit_diagonal=True, check_finite=False
    )
    rest *= column_weights[pivots][:, None]
    rest /= column_weights[others]
    return SystematicBasis(pivots, others, rest)


def _angle_pairs(keys: np.ndarray, tol: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of ``keys (rank, 2)`` on one line through the origin; neighbours only."""
    angle = np.mod(np.arctan2(keys[:, 1], keys[:, 0]), np.pi)
    order = np.argsort(angle)
    following = np.roll(order, -1)
    difference = angle[following] - angle[order]
    difference[-1] += np.pi
    close = difference < tol
    return order[close], following[close]


def _signed_sums(
    h: np.ndarray, tol: float, quadruples: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Triples and quadruples of rows with a signed sum of ``h (rank,)`` equal to zero.

    All pair sums and differences are sorted once; a triple is a pair sum that equals a single
    value, a quadruple two equal neighbours.
    """
    rank = len(h)
    first, second = np.triu_indices(rank, 1)
    sums = np.concatenate([h[first] + h[second], h[first] - h[second]])
    flip = np.sign(sums)
    sums = np.abs(sums)
    order = np.argsort(sums)
    ranked = sums[order]
    n_pairs = len(first)

    def pair(position: np.ndarray) -> tuple[np.ndarray, ...]:
        which = order[position]
        base = which % n_pairs
        sign = np.where(which < n_pairs, 1.0, -1.0)
        return first[base], second[base], flip[which], flip[which] * sign

    members, coefficients = [], []
    single = np.abs(h)
    start = np.searchsorted(ranked, single - tol)
    for shift in range(2):
        position = np.minimum(start + shift, len(ranked) - 1)
        hit = np.flatnonzero(np.abs(ranked[position] - single) <= tol)
        i, j, a, b = pair(position[hit])
        distinct = (hit != i) & (hit != j)
        members.append(np.column_stack([i, j, hit])[distinct])
        coefficients.append(np.column_stack([a, b, -np.sign(h[hit])])[distinct])
    if quadruples:
        position = np.flatnonzero(np.diff(ranked) <= tol)
        i, j, a, b = pair(position)
        k, m, c, e = pair(position + 1)
        distinct = (i != k) & (i != m) & (j != k) & (j != m)
        members.append(np.column_stack([i, j, k, m])[distinct])
        coefficients.append(np.column_stack([a, b, -c, -e])[distinct])
    return members, coefficients


def sparse_combinations(
    systematic: SystematicBasis,
    n_columns: int,
    max_weight: int,
    rng: np.random.RandomState,
    *,
    n_vanishing: int,
    depth: int = 4,
) -> sp.csr_array:
    """Vectors of weight at most ``max_weight`` with one to four non-zeros on the pivots.

    Parameters
    ----------
    systematic : SystematicBasis
    n_columns : int
    max_weight : int
    rng : RandomState
    n_vanishing : int
        Number of columns, drawn off the pivots, on which the vectors sought must vanish.
    depth : {2, 3, 4}, default=4
        Largest number of non-zeros on the pivots; three and four must be of equal magnitude.

    Returns
    -------
    csr_array of shape (n_found, n_columns)
        In the row gauge; not necessarily distinct.
    """
    rest = systematic.rest
    rank, n_rest = rest.shape
    magnitude = np.abs(rest).max(axis=1, initial=0.0)
    window = rng.permutation(n_rest)[:n_vanishing]
    projection = rng.normal(size=(n_vanishing, 4)) / np.sqrt(n_vanishing)
    keys = rest[:, window] @ projection
    scale = np.maximum(magnitude, 1.0)
    alive = np.flatnonzero(np.abs(keys).max(axis=1) > 1e3 * MATCH_RTOL * scale)

    n_nonzero = 1 + np.sum(np.abs(rest) > ZERO_RTOL * scale[:, None], axis=1)
    light = np.flatnonzero(n_nonzero <= max_weight)
    members = [light[:, None]]
    coefficients = [np.ones((len(light), 1))]
    if len(alive) >= 2:
        i, j = _angle_pairs(keys[alive, :2], 10 * MATCH_RTOL)
        i, j = alive[i], alive[j]
        ratio = -np.sum(keys[i] * keys[j], axis=1) / np.sum(keys[j] ** 2, axis=1)
        members.append(np.column_stack([i, j]))
        coefficients.append(np.column_stack([np.ones(len(i)), ratio]))
    if depth > 2 and len(alive) >= 4:
        tol = MATCH_RTOL * float(np.median(np.abs(keys[alive, 0])))
        triples, signs = _signed_sums(keys[alive, 0], tol, depth > 3)
        members += [alive[t] for t in triples]
        coefficients += signs

    # Count zeros on a sample of columns first, and form only the vectors that look lightest.
    sample = rng.permutation(n_rest)[:N_SAMPLED]
    sampled = rest[:, sample]
    proposals, zeros = [], []
    for group, weights in zip(members, coefficients, strict=True):
        if group.shape[1] > 1 and len(group):
            mismatch = np.einsum("nt,ntk->nk", weights, keys[group])
            allowed = 1e2 * MATCH_RTOL * np.sum(np.abs(weights[:, :, None] * keys[group]), axis=1)
            agrees = np.all(np.abs(mismatch) <= allowed, axis=1)
            group, weights = group[agrees], weights[agrees]
        values = np.einsum("nt,ntc->nc", weights, sampled[group])
        near = np.abs(values) <= ZERO_RTOL * np.abs(weights).max(axis=1, initial=1.0)[:, None]
        proposals.append((group, weights))
        zeros.append(np.sum(near, axis=1))
    count = np.concatenate(zeros)
    lightest = np.argsort(-count, kind="stable")[: 2 * rank]
    bounds = np.cumsum([0, *map(len, zeros)])
    found = [sp.csr_array((0, n_columns))]
    for (group, weights), start, stop in zip(proposals, bounds, bounds[1:], strict=False):
        mine = lightest[(lightest >= start) & (lightest < stop)] - start
        step = max(1, int(working_memory_bytes() / 16 / max(1, group.shape[1] * n_columns)))
        for position in range(0, len(mine), step):
            block = mine[position : position + step]
            vectors = systematic.combine(group[block], weights[block], n_columns)
            largest = np.abs(vectors).max(axis=1, keepdims=True)
            vectors[np.abs(vectors) <= ZERO_RTOL * largest] = 0.0
            weight = np.count_nonzero(vectors, axis=1)
            # A combination of t rows vanishes on t - 1 columns for free; that is no evidence.
            earned = (n_rest + group.shape[1] - weight) - (group.shape[1] - 1)
            found.append(
                sp.csr_array(vectors[(weight > 0) & (weight <= max_weight) & (earned >= 2)])
            )
    return row_gauge(sp.csr_array(sp.vstack(found)))[0]
