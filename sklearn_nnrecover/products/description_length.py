"""Two sparse factors of the shortest description: minimise nnz(C) + nnz(D) subject to Y = C @ D.

The search keeps ``Y = C @ D + R`` exactly and descends on ``nnz(C) + nnz(D) + nnz(R)`` (Problem 1
of Neyshabur and Panigrahy, 2013, for two factors, in rows-are-samples orientation) by four moves:

* *add* atoms proposed by intersections of the rows of R;
* *code* rows again by pursuit in the present atoms;
* *refit* atoms: an entry that the users of an atom agree upon moves from R into it;
* *exchange*: the elementary operation ``D_a += q D_b``, ``C_b -= q C_a`` leaves the product
  unchanged and is applied wherever it removes non-zeros (an atom that always accompanies another
  is merged into it, an atom that contains another is split).

Atoms used once cost more than the residual they explain and are dissolved. What remains in R at the
end becomes one atom per row, so that the product is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.column_intersections import (
    RATIO_RTOL,
    agreeing_entries,
    distinct_rows,
    intersection_candidates,
    pattern,
)
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.integer_pursuit import (
    Proposals,
    clean,
    first_per_row,
    propose,
    pursue,
    pursue_again,
)
from sklearn_nnrecover.products.layer_inversion import has_full_row_rank, integer_least_squares

LEAST_SAVING = 0.02
"""The search gives up when its second sweep has not shortened the description by this fraction."""

_WEAK_SAVING = 24
"""Atoms that save at most so many non-zeros are doubted before the end."""


class TwoFactors(NamedTuple):
    """``Y = C @ D`` exactly; the last ``n_residual`` atoms are rows of Y that nothing explained."""

    C: sp.csr_array
    D: sp.csr_array
    n_residual: int


class _State(NamedTuple):
    C: sp.csr_array
    D: sp.csr_array
    R: sp.csr_array

    @property
    def cost(self) -> int:
        return self.C.nnz + self.D.nnz + self.R.nnz


def select_candidates(candidates: sp.csr_array, found: Proposals) -> np.ndarray:
    """Choose candidates that shorten the description: rows go to the candidate of largest total."""
    weights = np.diff(candidates.indptr)
    n = candidates.shape[0]
    chosen = np.zeros(n, dtype=bool)
    row, atom, gain = found.row, found.atom, found.gain - 1
    for _ in range(8):
        if not len(row):
            break
        total = np.bincount(atom, gain, n) - weights
        best = first_per_row(row, total[atom], gain)
        assigned = np.bincount(atom[best], gain[best], n) - weights
        users = np.bincount(atom[best], minlength=n)
        accepted = (assigned > 0) & (users > 1)
        if not accepted.any():
            break
        chosen |= accepted
        taken = np.zeros(row.max() + 1, dtype=bool)
        taken[row[best[accepted[atom[best]]]]] = True
        keep = ~taken[row]
        row, atom, gain = row[keep], atom[keep], gain[keep]
    return np.flatnonzero(chosen)


def _add(state: _State, rng: np.random.RandomState, min_agreement: int, max_pairs: int) -> _State:
    C, D, R = state
    candidates, _ = intersection_candidates(
        R, rng, min_agreement=min_agreement, max_pairs=max_pairs
    )
    if not candidates.shape[0]:
        return state
    chosen = select_candidates(candidates, propose(R, candidates))
    if not len(chosen):
        return state
    D = sp.vstack([D, candidates[chosen]], format="csr")
    more, R = pursue(R, D)
    C = sp.csr_array((C.data, C.indices, C.indptr), shape=(C.shape[0], D.shape[0]))
    return _State(clean(C + more, 0.0), D, R)


def _recode(Y: sp.csr_array, state: _State) -> _State:
    """Code every row from nothing and keep the shorter of the two codes, row by row."""
    return _shorter(state, np.arange(Y.shape[0]), *pursue(Y, state.D))


def _recode_stuck(Y: sp.csr_array, state: _State, rng: np.random.RandomState) -> _State:
    """Code the rows that kept a residual by randomised pursuits."""
    stuck = np.flatnonzero(np.diff(state.R.indptr))
    if not len(stuck) or not state.D.shape[0]:
        return state
    return _shorter(state, stuck, *pursue_again(Y[stuck], state.D, rng))


def _shorter(state: _State, rows: np.ndarray, new_C: sp.csr_array, new_R: sp.csr_array) -> _State:
    """Replace the codes of ``rows`` where the new ones are shorter."""
    C, _D, R = state
    old = (np.diff(C.indptr) + np.diff(R.indptr))[rows]
    better = np.diff(new_C.indptr) + np.diff(new_R.indptr) < old
    return _replace(state, rows, better, new_C, new_R) if better.any() else state


def _replace(
    state: _State, rows: np.ndarray, chosen: np.ndarray, new_C: sp.csr_array, new_R: sp.csr_array
) -> _State:
    """Replace the codes of ``rows[chosen]``."""
    C, D, R = state
    keep = np.ones(C.shape[0])
    keep[rows[chosen]] = 0.0
    place = sp.csr_array(
        (chosen.astype(float), (rows, np.arange(len(rows)))), shape=(C.shape[0], len(rows))
    )
    keep = sp.diags_array(keep)
    return _State(clean(keep @ C + place @ new_C, 0.0), D, clean(keep @ R + place @ new_R, 0.0))


def _refit(state: _State, threshold: float) -> _State:
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
    old = _lookup(D, run_atom, run_column)
    new = old + value[starts]
    new[np.abs(new) <= threshold] = 0.0
    gain = count - (n_users[run_atom] - present) + (old != 0).astype(int) - (new != 0).astype(int)
    # One claim per entry of R: the largest gain wins it, and a claim must win most of its entries.
    run_of_entry = np.cumsum(new_run) - 1
    winner = first_per_row(entry, gain[run_of_entry], -run_of_entry)
    won = np.bincount(run_of_entry[winner], minlength=len(starts))
    accept = np.flatnonzero((gain > 0) & (won == count))
    if not len(accept):
        return state
    best = accept[first_per_row(cell[starts][accept], gain[accept])]
    change = sp.csr_array((value[starts][best], (run_atom[best], run_column[best])), shape=D.shape)
    return _State(C, clean(D + change, threshold), clean(R - C @ change, threshold))


def _lookup(A: sp.csr_array, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return A[rows, columns] elementwise."""
    stored = (
        np.repeat(np.arange(A.shape[0], dtype=np.int64), np.diff(A.indptr)) * A.shape[1] + A.indices
    )
    wanted = rows.astype(np.int64) * A.shape[1] + columns
    if not len(stored):
        return np.zeros(len(wanted))
    position = np.minimum(np.searchsorted(stored, wanted), len(stored) - 1)
    return np.where(stored[position] == wanted, A.data[position], 0.0)


def _exchange(state: _State, threshold: float) -> _State:
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
    return _State(C, D, R)


def _saving(
    A: sp.csr_array, rows_a: np.ndarray, B: sp.csr_array, rows_b: np.ndarray, q: np.ndarray
) -> np.ndarray:
    """Return nnz(A[a]) - nnz(A[a] + q B[b]) for every pair."""
    result = A[rows_a] + sp.diags_array(q) @ B[rows_b]
    size = np.abs(A.data).max(initial=0.0)
    result = clean(result, RATIO_RTOL * size)
    return np.diff(A.indptr)[rows_a] - np.diff(result.indptr)


def _dissolve(state: _State, threshold: float) -> _State:
    """Return to R the atoms whose removal shortens the description, and drop those never used."""
    C, D, R = state
    uses = np.bincount(C.indices, minlength=D.shape[0])
    weights = np.diff(D.indptr)
    keep = (uses > 1) & (weights > 0)
    if keep.all():
        return state
    gone = np.flatnonzero(~keep)
    R = clean(R + C[:, gone] @ D[gone], threshold)
    kept = np.flatnonzero(keep)
    return _State(clean(C[:, kept], 0.0), D[kept], R)


def two_sparse_factors(
    Y: sp.csr_array,
    *,
    rng: np.random.RandomState,
    max_sweeps: int = 40,
    max_pairs: int | None = None,
) -> Steps[TwoFactors]:
    """Factor ``Y = C @ D`` by descent on the number of non-zeros.

    Parameters
    ----------
    Y : csr_array of shape (n_rows, n_columns)
    rng : RandomState
    max_sweeps : int
        Budget: most rounds of the four moves.
    max_pairs : int
        Most pairs of rows intersected in one round.

    Yields
    ------
    Step
        ``objective`` is the description length, ``gap`` what the sweep saved relative to it.

    Returns
    -------
    TwoFactors
    """
    Y = clean(Y, 0.0)
    if max_pairs is None:
        max_pairs = 5 * sum(Y.shape)
    threshold = RATIO_RTOL * np.abs(Y.data).max(initial=1.0)
    empty = sp.csr_array((0, Y.shape[1]))
    state = _State(sp.csr_array((Y.shape[0], 0)), empty, Y)
    min_agreement = 3
    for sweep in range(max_sweeps):
        before = state.cost
        if sweep == 2 and before > (1 - LEAST_SAVING) * Y.nnz:
            break
        state = _add(state, rng, min_agreement, max_pairs)
        state = _recode(Y, _refit(state, threshold))
        while (refitted := _refit(state, threshold)).cost < state.cost:
            state = refitted
        if 10 * np.count_nonzero(np.diff(state.R.indptr)) < Y.shape[0]:
            state = _recode_stuck(Y, state, rng)
        state = _exchange(state, threshold)
        state = _dissolve(_merge_equal(state, rng), threshold)
        yield Step(float(state.cost), (before - state.cost) / before, state)
        if state.cost >= before:
            trimmed = _dissolve(_eliminate(Y, state, rng), threshold)
            if trimmed.cost < state.cost:
                state = trimmed
            elif min_agreement == 2:
                break
            min_agreement = 2
    return _close(_solve_stuck(Y, state), rng)


def _eliminate(Y: sp.csr_array, state: _State, rng: np.random.RandomState) -> _State:
    """Drop weak atoms whose users are described as shortly without them."""
    C, D, R = state
    uses, weights = np.bincount(C.indices, minlength=D.shape[0]), np.diff(D.indptr)
    weak = uses * weights - uses - weights <= _WEAK_SAVING
    if not weak.any() or weak.all():
        return state
    by_weak = sp.csr_array(pattern(C)[:, np.flatnonzero(weak)])
    users = np.flatnonzero(np.diff(by_weak.indptr))
    strong = np.flatnonzero(~weak)
    new_C, new_R = pursue_again(Y[users], D[strong], rng)
    rise = np.diff(new_C.indptr) + np.diff(new_R.indptr)
    rise = rise - (np.diff(C.indptr) + np.diff(R.indptr))[users]
    needless = by_weak[users].T @ rise <= weights[weak]
    if not needless.any():
        return state
    recoded = (pattern(by_weak[users]) @ needless.astype(float)) > 0
    back = sp.csr_array(
        (np.ones(len(strong)), (np.arange(len(strong)), strong)), shape=(len(strong), D.shape[0])
    )
    trial = _replace(state, users, recoded, new_C @ back, new_R)
    return trial if trial.cost <= state.cost + weights[weak][needless].sum() else state


def _solve_stuck(Y: sp.csr_array, state: _State) -> _State:
    """Code the rows that kept a residual by least squares, where that decides them."""
    stuck = np.flatnonzero(np.diff(state.R.indptr))
    if not len(stuck) or not has_full_row_rank(state.D):
        return state
    new_C, new_R = integer_least_squares(Y[stuck], state.D)
    return _shorter(state, stuck, new_C, new_R)


def _merge_equal(state: _State, rng: np.random.RandomState) -> _State:
    """Make atoms that are multiples of each other one."""
    C, D, R = state
    D, scales = row_gauge(D)
    groups = distinct_rows(D, rng)
    if groups.n_groups == D.shape[0]:
        return state
    ones = (scales, (np.arange(D.shape[0]), groups.label))
    merge = sp.csr_array(ones, shape=(D.shape[0], groups.n_groups))
    return _State(clean(C @ merge, 0.0), D[groups.representative], R)


def _close(state: _State, rng: np.random.RandomState) -> TwoFactors:
    """Make the rows left in R atoms of their own, used once, after the shared ones."""
    C, D, R = state
    left = np.flatnonzero(np.diff(R.indptr))
    code = sp.csr_array((np.ones(len(left)), (left, np.arange(len(left)))), (C.shape[0], len(left)))
    whole = _State(sp.hstack([C, code], format="csr"), sp.vstack([D, R[left]], format="csr"), R)
    C, D, _ = _merge_equal(whole, rng)
    D, scales = row_gauge(D)
    single = np.bincount(C.indices, minlength=D.shape[0]) < 2
    order = np.argsort(single, kind="stable")
    return TwoFactors(clean(C @ sp.diags_array(scales), 0.0)[:, order], D[order], int(single.sum()))
