"""Sparse codes of rows in a known sparse dictionary, by greedy cancellation.

A row ``y = c @ D`` with sparse integer-like atoms is coded by subtracting, again and again, the
multiple of an atom that cancels most non-zeros. Where the codes are sparse enough for the atoms'
supports to be mostly disjoint this returns the true code although D may be singular: a least
squares solution would spread over the null space of D and look just as good.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.row_agreement import agreeing_entries, pattern

_ROUNDS = 200
_BYTES_PER_OVERLAP = 24.0


class Proposals(NamedTuple):
    """Row ``row`` minus ``ratio`` times atom ``atom`` has ``gain`` fewer non-zeros."""

    row: np.ndarray
    atom: np.ndarray
    ratio: np.ndarray
    gain: np.ndarray


def propose(R: sp.csr_array, D: sp.csr_array, rtol: float = 1e-8, min_gain: int = 2) -> Proposals:
    """Find every (row of R, atom of D) where subtracting a multiple of the atom saves non-zeros.

    The gain counts the entries cancelled minus the entries created, before the one non-zero that
    the code itself costs: a gain of two shortens the description, a gain of one leaves it as it is.
    """
    transposed = pattern(D).T.tocsr()
    # Columns that many atoms share make the product of patterns large: bound it by blocks of rows.
    reached = pattern(R) @ np.diff(transposed.indptr).astype(float)
    bytes_per_row = _BYTES_PER_OVERLAP * (float(np.mean(reached)) if len(reached) else 1.0)
    parts = [
        _propose_block(R[block], D, transposed, rtol, min_gain, block.start)
        for block in row_blocks(R.shape[0], bytes_per_row)
    ]
    if not parts:
        none = np.empty(0, dtype=np.intp)
        return Proposals(none, none, np.empty(0), none)
    return Proposals(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _propose_block(
    R: sp.csr_array,
    D: sp.csr_array,
    transposed: sp.csr_array,
    rtol: float,
    min_gain: int,
    first_row: int,
) -> Proposals:
    weights = np.diff(D.indptr)
    overlap = (pattern(R) @ transposed).tocoo()
    # Cancelling count <= overlap gives gain <= 2 overlap - weight.
    keep = 2 * overlap.data - weights[overlap.col] >= min_gain
    row, atom = overlap.row[keep], overlap.col[keep]
    agreement = agreeing_entries(R, row, D, atom, rtol)
    gain = agreement.agreeing + agreement.overlap - weights[atom]
    worth = gain >= min_gain
    return Proposals(row[worth] + first_row, atom[worth], agreement.ratio[worth], gain[worth])


def first_per_row(row: np.ndarray, *priority: np.ndarray) -> np.ndarray:
    """Return, for each distinct row, the index of its entry with the largest priority keys."""
    order = np.lexsort((*priority[::-1], row))
    last = np.append(np.diff(row[order]) > 0, True)
    return order[last]


def clean(A: sp.csr_array, threshold: float) -> sp.csr_array:
    """Drop entries of magnitude at most ``threshold``."""
    A = sp.csr_array(A)
    A.data[np.abs(A.data) <= threshold] = 0.0
    A.eliminate_zeros()
    A.sort_indices()
    return A


def pursue(
    Y: sp.csr_array,
    D: sp.csr_array,
    *,
    rtol: float = 1e-8,
    max_rounds: int = _ROUNDS,
    min_gain: int = 2,
    rng: np.random.RandomState | None = None,
) -> tuple[sp.csr_array, sp.csr_array]:
    """Code the rows of Y in the atoms of D.

    Parameters
    ----------
    Y : csr_array of shape (n_rows, n_columns)
    D : csr_array of shape (n_atoms, n_columns)
    rtol : float
        Rounding: two ratios closer than this are equal, entries below it (times the largest) are
        zero.
    max_rounds : int
        Most atoms given to one row.
    min_gain : int
        Non-zeros that each subtraction must cancel, net: see :func:`propose`.
    rng : RandomState or None
        Given, the subtractions are drawn in a random order biased to large gains.

    Returns
    -------
    C : csr_array of shape (n_rows, n_atoms)
    R : csr_array of shape (n_rows, n_columns)
        What is left: ``Y = C @ D + R``.
    """
    n_rows = Y.shape[0]
    threshold = rtol * np.abs(Y.data).max(initial=0.0)
    R = sp.csr_array(Y, copy=True)
    rows, atoms, values = [], [], []
    active = np.arange(n_rows)
    for _ in range(max_rounds):
        part = R[active]
        found = propose(part, D, rtol, min_gain)
        if not len(found.row):
            break
        gain = found.gain
        if rng is not None:
            gain = gain + rng.uniform(0, 3, size=len(gain))
        best = first_per_row(found.row, gain)
        row = active[found.row[best]]
        rows.append(row)
        atoms.append(found.atom[best])
        values.append(found.ratio[best])
        step = sp.csr_array((values[-1], (row, atoms[-1])), shape=(n_rows, D.shape[0]))
        R = clean(R - step @ D, threshold)
        active = row
    if not rows:
        return sp.csr_array((n_rows, D.shape[0])), R
    C = sp.csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(atoms))),
        shape=(n_rows, D.shape[0]),
    )
    return clean(C, 0.0), R


def pursue_again(
    Y: sp.csr_array,
    D: sp.csr_array,
    rng: np.random.RandomState,
    *,
    n_trials: int = 16,
    rtol: float = 1e-8,
) -> tuple[sp.csr_array, sp.csr_array]:
    """Code the rows of Y by randomised pursuits and keep the shortest code of each row.

    For the few rows where :func:`pursue` stops short: the order of subtractions matters when atoms
    overlap. The ``n_trials`` trials of all rows run side by side.
    """
    n_rows = Y.shape[0]
    copies = Y[np.tile(np.arange(n_rows), n_trials)]
    C, R = pursue(copies, D, rtol=rtol, max_rounds=40, min_gain=1, rng=rng)
    cost = (np.diff(C.indptr) + 1.5 * np.diff(R.indptr)).reshape(n_trials, n_rows)
    best = np.argmin(cost, axis=0) * n_rows + np.arange(n_rows)
    return C[best], R[best]


def cancelling_pairs(D: sp.csr_array) -> sp.csr_array:
    """Return ``a - r b`` for every two atoms that meet, r their most frequent ratio.

    Returns
    -------
    csr_array of shape (n_pairs, n_atoms)
        The combinations; times D they are the rows that greedy subtraction of single atoms misses.
    """
    met = sp.triu(pattern(D) @ pattern(D).T.tocsr(), k=1).tocoo()
    ratio = agreeing_entries(D, met.row, D, met.col).ratio
    pair = np.arange(len(ratio))
    return sp.csr_array(
        (
            np.concatenate((np.ones(len(ratio)), -ratio)),
            (np.concatenate((pair, pair)), np.concatenate((met.row, met.col))),
        ),
        shape=(len(ratio), D.shape[0]),
    )
