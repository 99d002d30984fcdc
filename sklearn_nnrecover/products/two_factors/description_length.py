"""Two sparse factors of the shortest description: minimise nnz(C) + nnz(D) subject to Y = C @ D.

The search keeps ``Y = C @ D + R`` exactly and descends on ``nnz(C) + nnz(D) + nnz(R)`` (Problem 1
of Neyshabur and Panigrahy, 2013, for two factors, in rows-are-samples orientation):

* *add* atoms proposed by intersections of the rows of R;
* *code* rows again by pursuit in the present atoms;
* *refit*, *exchange* and *split* atoms (`atom_exchanges`).

Atoms used once cost more than the residual they explain and are dissolved. Where no move helps any
more, atoms of one entry are dissolved as well and the same moves are made on the transposed
description: the columns of D are coded in the columns of C, which moves an entry into several
atoms at once. What remains in R at the end becomes one atom per row, so that the product is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.integer_pursuit import (
    Proposals,
    cancelling_pairs,
    clean,
    first_per_row,
    propose,
    pursue,
    pursue_again,
)
from sklearn_nnrecover.products.layer_inversion import has_full_row_rank, integer_least_squares
from sklearn_nnrecover.products.row_agreement import RATIO_RTOL, pattern
from sklearn_nnrecover.products.two_factors.atom_exchanges import exchanged, refitted, split
from sklearn_nnrecover.products.two_factors.column_intersections import intersection_candidates
from sklearn_nnrecover.products.two_factors.sparse_description import (
    Description,
    dissolved,
    merged_atoms,
    replaced_codes,
    shorter_codes,
)

LEAST_SAVING = 0.02
"""The search gives up when its second sweep has not shortened the description by this fraction."""

_WEAK_SAVING = 24
"""Atoms that save at most so many non-zeros are doubted before the end."""

_LARGEST_SOLVED = 1000
"""Most atoms in which left-over rows are coded by least squares."""


class TwoFactors(NamedTuple):
    """``Y = C @ D`` exactly; the last ``n_residual`` atoms are rows of Y that nothing explained."""

    C: sp.csr_array
    D: sp.csr_array
    n_residual: int

    @property
    def length(self) -> int:
        """Non-zeros of the description that leaves the last atoms, which one row uses, in R."""
        return self.C.nnz + self.D.nnz - self.n_residual


class _Search(NamedTuple):
    """What one orientation of the problem needs: the matrix, and the limits of a sweep."""

    Y: sp.csr_array
    threshold: float
    max_pairs: int
    rng: np.random.RandomState


def two_sparse_factors(
    Y: sp.csr_array,
    *,
    rng: np.random.RandomState,
    max_sweeps: int = 40,
    max_pairs: int | None = None,
    start: TwoFactors | None = None,
) -> Steps[TwoFactors]:
    """Factor ``Y = C @ D`` by descent on the number of non-zeros.

    Parameters
    ----------
    Y : csr_array of shape (n_rows, n_columns)
    rng : RandomState
    max_sweeps : int
        Budget: most rounds of the moves.
    max_pairs : int
        Most pairs of rows intersected in one round.
    start : TwoFactors or None
        Factors of Y to descend from; None begins with no atoms.

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
    search = _Search(Y, threshold, max_pairs, rng)
    mirror = search._replace(Y=clean(Y.T.tocsr(), 0.0))
    state = Description(sp.csr_array((Y.shape[0], 0)), sp.csr_array((0, Y.shape[1])), Y)
    if start is not None:
        state = dissolved(Description(start.C, start.D, sp.csr_array(Y.shape)), threshold)
    thorough = False
    for sweep in range(max_sweeps):
        before = state
        if start is None and sweep == 2 and before.length > (1 - LEAST_SAVING) * Y.nnz:
            break
        state = _sweep(search, state, thorough)
        yield Step(float(state.length), 1.0 - state.length / max(before.length, 1), state)
        if state.cost < before.cost:
            continue
        trimmed = dissolved(_eliminate(search, state), threshold)
        if trimmed.cost < state.cost:
            state = trimmed
        elif thorough:
            light = dissolved(state.transposed(), threshold)
            mirrored = _sweep(mirror, light, thorough).transposed()
            if mirrored.cost >= state.cost:
                break
            state = mirrored
        thorough = True
    return _close(_solve_stuck(Y, state), rng)


def _sweep(search: _Search, state: Description, thorough: bool) -> Description:
    """Make every move once; a thorough sweep also makes those that only break ties."""
    Y, threshold, max_pairs, rng = search
    state = _add(state, rng, thorough, max_pairs)
    state = _recode(Y, refitted(state, threshold))
    while (fitted := refitted(state, threshold)) is not state:
        state = fitted
    n_stuck = np.count_nonzero(np.diff(state.R.indptr))
    if (2 if thorough else 10) * n_stuck < Y.shape[0]:
        state = _recode_stuck(Y, state, rng)
    if thorough:
        state = split(_code_leftovers(state, threshold), threshold)
    return dissolved(merged_atoms(exchanged(state, threshold), rng), threshold)


def _add(
    state: Description, rng: np.random.RandomState, thorough: bool, max_pairs: int
) -> Description:
    C, D, R = state
    candidates, _ = intersection_candidates(
        R, rng, min_agreement=2 if thorough else 3, max_pairs=max_pairs
    )
    if not candidates.shape[0]:
        return state
    chosen = select_candidates(candidates, propose(R, candidates), 0 if thorough else 1)
    if not len(chosen):
        return state
    D = sp.vstack([D, candidates[chosen]], format="csr")
    more, R = pursue(R, D)
    C = sp.csr_array((C.data, C.indices, C.indptr), shape=(C.shape[0], D.shape[0]))
    return Description(clean(C + more, 0.0), D, R)


def select_candidates(
    candidates: sp.csr_array, found: Proposals, least_saving: int = 1
) -> np.ndarray:
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
        accepted = (assigned >= least_saving) & (users > 1)
        if not accepted.any():
            break
        chosen |= accepted
        taken = np.zeros(row.max() + 1, dtype=bool)
        taken[row[best[accepted[atom[best]]]]] = True
        keep = ~taken[row]
        row, atom, gain = row[keep], atom[keep], gain[keep]
    return np.flatnonzero(chosen)


def _recode(Y: sp.csr_array, state: Description) -> Description:
    """Code every row from nothing and keep the shorter of the two codes, row by row."""
    return shorter_codes(state, np.arange(Y.shape[0]), *pursue(Y, state.D))


def _recode_stuck(Y: sp.csr_array, state: Description, rng: np.random.RandomState) -> Description:
    """Code the rows that kept a residual by randomised pursuits."""
    stuck = np.flatnonzero(np.diff(state.R.indptr))
    if not len(stuck) or not state.D.shape[0]:
        return state
    return shorter_codes(state, stuck, *pursue_again(Y[stuck], state.D, rng))


def _code_leftovers(state: Description, threshold: float) -> Description:
    """Code what is left by single atoms, then by pairs that cancel each other somewhere."""
    single = sp.csr_array(sp.eye_array(state.D.shape[0]))
    for combinations, min_gain in ((single, 1), (cancelling_pairs(state.D), 2)):
        stuck = np.flatnonzero(np.diff(state.R.indptr))
        atoms = clean(combinations @ state.D, threshold)
        more, left = pursue(state.R[stuck], atoms, min_gain=min_gain, max_rounds=3)
        codes = clean(state.C[stuck] + more @ combinations, 0.0)
        state = shorter_codes(state, stuck, codes, left)
    return state


def _eliminate(search: _Search, state: Description) -> Description:
    """Drop weak atoms whose users are described as shortly without them."""
    C, D, R = state
    uses, weights = np.bincount(C.indices, minlength=D.shape[0]), np.diff(D.indptr)
    weak = uses * weights - uses - weights <= _WEAK_SAVING
    if not weak.any() or weak.all():
        return state
    by_weak = sp.csr_array(pattern(C)[:, np.flatnonzero(weak)])
    users = np.flatnonzero(np.diff(by_weak.indptr))
    strong = np.flatnonzero(~weak)
    new_C, new_R = pursue_again(search.Y[users], D[strong], search.rng)
    rise = np.diff(new_C.indptr) + np.diff(new_R.indptr)
    rise = rise - (np.diff(C.indptr) + np.diff(R.indptr))[users]
    needless = by_weak[users].T @ rise <= weights[weak]
    if not needless.any():
        return state
    recoded = (pattern(by_weak[users]) @ needless.astype(float)) > 0
    back = sp.csr_array(
        (np.ones(len(strong)), (np.arange(len(strong)), strong)), shape=(len(strong), D.shape[0])
    )
    trial = replaced_codes(state, users, recoded, new_C @ back, new_R)
    return trial if trial.length <= state.length + weights[weak][needless].sum() else state


def _solve_stuck(Y: sp.csr_array, state: Description) -> Description:
    """Code the rows that kept a residual by least squares, where that decides them."""
    stuck = np.flatnonzero(np.diff(state.R.indptr))
    if not len(stuck) or state.D.shape[0] > _LARGEST_SOLVED or not has_full_row_rank(state.D):
        return state
    return shorter_codes(state, stuck, *integer_least_squares(Y[stuck], state.D))


def _close(state: Description, rng: np.random.RandomState) -> TwoFactors:
    """Make the rows left in R atoms of their own, used once, after the shared ones."""
    C, D, R = state
    left = np.flatnonzero(np.diff(R.indptr))
    code = sp.csr_array((np.ones(len(left)), (left, np.arange(len(left)))), (C.shape[0], len(left)))
    whole = Description(
        sp.hstack([C, code], format="csr"), sp.vstack([D, R[left]], format="csr"), R
    )
    C, D, _ = merged_atoms(whole, rng)
    D, scales = row_gauge(D)
    single = np.bincount(C.indices, minlength=D.shape[0]) < 2
    order = np.argsort(single, kind="stable")
    return TwoFactors(clean(C @ sp.diags_array(scales), 0.0)[:, order], D[order], int(single.sum()))
