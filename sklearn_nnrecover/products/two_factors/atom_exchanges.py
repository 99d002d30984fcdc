"""Moves that change atoms and keep ``Y = C @ D + R``: refit, exchange, split.

* *Refit*: an entry of R that the users of an atom agree upon moves into it.
* *Exchange*: the elementary operation ``D_a += q D_b``, ``C_b -= q C_a`` leaves the product
  unchanged (an atom that always accompanies another is merged into it; an atom that contains
  another gives it away).
* *Split*: where a row is left with a part of an atom, the part becomes an atom of its own.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.integer_pursuit import clean, first_per_row
from sklearn_nnrecover.products.row_agreement import (
    RATIO_RTOL,
    agreeing_entries,
    entries_at,
    pattern,
)
from sklearn_nnrecover.products.two_factors.sparse_description import TIE, Description


def refitted(state: Description, threshold: float) -> Description:
    """Move into each atom the entries of R that its users agree upon."""
    C, D, R = state
    users = C.T.tocsr()
    n_users = np.diff(users.indptr)
    atom_of_use = np.repeat(np.arange(D.shape[0]), n_users)
    left = np.diff(R.indptr)
    length = left[users.indices]
    if not length.sum():
        return state
    use = np.repeat(np.arange(len(length)), length)
    offset = np.arange(len(use)) - np.repeat(np.cumsum(length) - length, length)
    entry = R.indptr[users.indices[use]] + offset
    atom, column = atom_of_use[use], R.indices[entry]
    value = R.data[entry] / users.data[use]
    cell = atom.astype(np.int64) * D.shape[1] + column
    order = np.lexsort((value, cell))
    cell, value, entry = cell[order], value[order], entry[order]
    new_cell = np.concatenate(([True], np.diff(cell) > 0))
    new_run = new_cell | np.concatenate(
        ([True], np.abs(np.diff(value)) > RATIO_RTOL * np.abs(value[1:]))
    )
    starts = np.flatnonzero(new_run)
    count = np.diff(np.append(starts, len(cell)))
    cell_index = np.cumsum(new_cell) - 1
    present = np.bincount(cell_index)[cell_index[starts]]
    run_atom, run_column = cell[starts] // D.shape[1], cell[starts] % D.shape[1]
    old = entries_at(D, run_atom, run_column)
    new = old + value[starts]
    new[np.abs(new) <= threshold] = 0.0
    gain = count - (n_users[run_atom] - present) + (old != 0).astype(int) - (new != 0).astype(int)
    # At equal length an entry of an atom explains more than one of R.
    gain = gain + TIE * ((gain == 0) & (old == 0) & (n_users[run_atom] > 1))
    # One claim per entry of R: the largest gain wins it, and a claim must win most of its entries.
    run_of_entry = np.cumsum(new_run) - 1
    winner = first_per_row(entry, gain[run_of_entry], -run_of_entry)
    won = np.bincount(run_of_entry[winner], minlength=len(starts))
    accept = np.flatnonzero((gain > 0) & (won == count))
    if not len(accept):
        return state
    best = accept[first_per_row(cell[starts][accept], gain[accept])]
    change = sp.csr_array((value[starts][best], (run_atom[best], run_column[best])), shape=D.shape)
    moved = Description(C, clean(D + change, threshold), clean(R - C @ change, threshold))
    # Claims of two atoms on one row may undo each other.
    return moved if moved.cost < state.cost else state


def exchanged(state: Description, threshold: float) -> Description:
    """Apply the elementary operations D_a += q D_b, C_b -= q C_a that remove non-zeros."""
    C, D, R = state
    columns = C.T.tocsr()
    columns.sort_indices()
    together = (pattern(columns) @ pattern(C)).tocoo()
    shared = (pattern(D) @ pattern(D).T.tocsr()).tocoo()
    uses, weights = np.diff(columns.indptr), np.diff(D.indptr)
    # Operation a, b, q with q = C_b / C_a: columns b loses `count` uses; or q = - D_a / D_b.
    keep = (together.row != together.col) & (2 * together.data > uses[together.col])
    b1, a1 = together.row[keep], together.col[keep]
    by_code = agreeing_entries(columns, b1, columns, a1)
    keep = (shared.row != shared.col) & (2 * shared.data > weights[shared.col])
    a2, b2 = shared.row[keep], shared.col[keep]
    by_atom = agreeing_entries(D, a2, D, b2)
    a = np.concatenate((a1, a2))
    b = np.concatenate((b1, b2))
    q = np.concatenate((by_code.ratio, -by_atom.ratio))
    keep = np.isfinite(q)
    a, b, q = a[keep], b[keep], q[keep]
    if not len(a):
        return state
    saved_codes = _saving(columns, b, columns, a, -q)
    saved_atoms = _saving(D, a, D, b, q)
    gain = saved_codes + saved_atoms
    keep = np.flatnonzero(gain > 0)
    if not len(keep):
        return state
    keep = keep[np.lexsort((b[keep], a[keep], -gain[keep]))]
    # Operations applied together must not touch the same node.
    touched = np.zeros(D.shape[0], dtype=bool)
    chosen = []
    for index in keep:
        if not (touched[a[index]] or touched[b[index]]):
            touched[a[index]] = touched[b[index]] = True
            chosen.append(index)
    a, b, q = a[chosen], b[chosen], q[chosen]
    k = D.shape[0]
    D = clean(D + sp.csr_array((q, (a, b)), shape=(k, k)) @ D, threshold)
    C = clean(C - C @ sp.csr_array((q, (a, b)), shape=(k, k)), threshold)
    return Description(C, D, R)


def _saving(
    A: sp.csr_array, rows_a: np.ndarray, B: sp.csr_array, rows_b: np.ndarray, q: np.ndarray
) -> np.ndarray:
    """Return nnz(A[a]) - nnz(A[a] + q B[b]) for every pair."""
    result = A[rows_a] + sp.diags_array(q) @ B[rows_b]
    size = np.abs(A.data).max(initial=0.0)
    result = clean(result, RATIO_RTOL * size)
    return np.diff(A.indptr)[rows_a] - np.diff(result.indptr)


def split(state: Description, threshold: float) -> Description:
    """Make a part of an atom that a row is left with an atom, where that is no longer.

    The part costs a code in each user of the atom and in the row, and explains its entries of R.
    """
    C, D, R = state
    shared = (pattern(R) @ pattern(D).T.tocsr()).tocoo()
    several = shared.data > 1
    row, atom = shared.row[several], shared.col[several]
    agreement = agreeing_entries(R, row, D, atom)
    uses, weights = np.bincount(C.indices, minlength=D.shape[0]), np.diff(D.indptr)
    gain = agreement.agreeing - uses[atom] - 1
    best = np.flatnonzero((gain >= 0) & (agreement.agreeing < weights[atom]))
    if not len(best):
        return state
    best = best[first_per_row(atom[best], gain[best])]
    best = np.sort(best[first_per_row(row[best], gain[best])])
    n_parts = len(best)
    place = np.full(len(row), -1)
    place[best] = np.arange(n_parts)
    entry = place[agreement.entry_pair] >= 0
    pair, column = agreement.entry_pair[entry], agreement.entry_column[entry]
    value = agreement.entry_value[entry] / agreement.ratio[pair]
    parts = sp.csr_array((value, (place[pair], column)), shape=(n_parts, D.shape[1]))
    whole = sp.csr_array(
        (np.ones(n_parts), (atom[best], np.arange(n_parts))), shape=(D.shape[0], n_parts)
    )
    left = sp.csr_array(
        (agreement.ratio[best], (row[best], np.arange(n_parts))), shape=(C.shape[0], n_parts)
    )
    return Description(
        clean(sp.hstack([C, C @ whole + left], format="csr"), 0.0),
        sp.vstack([clean(D - whole @ parts, threshold), parts], format="csr"),
        clean(R - left @ parts, threshold),
    )
