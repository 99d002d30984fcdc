"""Ratios that sparse rows repeat within noise: candidates and codes for real entries.

The exact search compares ratios of entries for equality. Under noise an entry ``a_j`` of one row
and ``b_j`` of another agree with the ratio r when ``a_j - r b_j`` is within a few standard
deviations of 0. The ratio of a pair of rows is the one that most of their common entries agree
with: a robust estimate, to which entries where another hidden node interferes contribute nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.integer_pursuit import Proposals, clean, first_per_row
from sklearn_nnrecover.products.row_agreement import (
    common_entries,
    distinct_rows,
    pattern,
    sign_matrix,
)
from sklearn_nnrecover.products.two_factors.column_intersections import correlated_pairs

SIGNIFICANT = 4.0
"""Standard deviations beyond which an entry counts as non-zero while the search goes on."""

AGREEING = 3.5
"""Standard deviations within which two entries agree."""

_ROUNDS = 60


class Atoms(NamedTuple):
    """Rows of norm one with the standard deviation of each row's entries."""

    rows: sp.csr_array
    std: np.ndarray


class NoisyAgreement(NamedTuple):
    """For each pair of rows: the ratio, the entries that agree with it, the common ones.

    ``entry`` lists the agreeing entries: pair, column, and their values in both rows.
    """

    ratio: np.ndarray
    agreeing: np.ndarray
    overlap: np.ndarray
    entry_pair: np.ndarray
    entry_column: np.ndarray
    entry_left: np.ndarray
    entry_right: np.ndarray


def agreement_within_noise(
    A: sp.csr_array,
    rows_a: np.ndarray,
    std_a: np.ndarray,
    B: sp.csr_array,
    rows_b: np.ndarray,
    std_b: np.ndarray,
) -> NoisyAgreement:
    """Compare row ``rows_a[p]`` of A with row ``rows_b[p]`` of B for every pair p.

    Parameters
    ----------
    A, B : csr_array with the same number of columns, canonical
    rows_a, rows_b : ndarray of int, shape (n_pairs,)
    std_a, std_b : ndarray of shape (n_pairs,)
        Standard deviations of the entries.

    Returns
    -------
    NoisyAgreement
    """
    n_pairs = len(rows_a)
    pair, column, a, b, overlap = common_entries(A, rows_a, B, rows_b)
    std_a, std_b = std_a[pair], std_b[pair]
    ratio = _most_supported_ratio(a, b, pair, std_a, std_b, n_pairs)
    agrees = np.zeros(len(pair), dtype=bool)
    for _ in range(3):
        # Least squares over the entries that agree, and again which ones do.
        spread = np.sqrt(std_a**2 + (ratio[pair] * std_b) ** 2)
        agrees = np.abs(a - ratio[pair] * b) <= AGREEING * spread
        weight = agrees / spread**2
        energy = np.bincount(pair, weight * b**2, n_pairs)
        overlaps = np.bincount(pair, weight * a * b, n_pairs)
        ratio = np.where(energy > 0, overlaps / np.where(energy > 0, energy, 1.0), ratio)
    found = np.flatnonzero(agrees)
    return NoisyAgreement(
        ratio,
        np.bincount(pair[found], minlength=n_pairs),
        overlap,
        pair[found],
        column[found],
        a[found],
        b[found],
    )


def _most_supported_ratio(
    a: np.ndarray,
    b: np.ndarray,
    pair: np.ndarray,
    std_a: np.ndarray,
    std_b: np.ndarray,
    n_pairs: int,
) -> np.ndarray:
    """Mean ratio around the entry that most others of its pair support, nan without entries."""
    ratio = np.full(n_pairs, np.nan)
    if not len(a):
        return ratio
    quotient = a / b
    # Entries that are all but zero say nothing, and the square of their error would overflow.
    error = np.minimum(np.sqrt(std_a**2 + (quotient * std_b) ** 2) / np.abs(b), 1e150)
    order = np.lexsort((quotient, pair))
    pair, quotient, error = pair[order], quotient[order], error[order]
    # Sorted by pair, then quotient, as one increasing key: a window is two binary searches.
    key = pair * (4.0 * np.abs(quotient).max() + 1.0) + quotient
    reach = np.minimum(AGREEING * error, 0.5 * np.abs(quotient))
    first, end = np.searchsorted(key, key - reach), np.searchsorted(key, key + reach, "right")
    best = first_per_row(pair, end - first, -error)
    # The entry itself may be the least certain one of its window.
    lengths = (end - first)[best]
    member = np.repeat(first[best] - np.cumsum(lengths) + lengths, lengths)
    member += np.arange(len(member))
    weight = 1 / error[member] ** 2
    owner = pair[member]
    total = np.bincount(owner, weight, n_pairs)[pair[best]]
    ratio[pair[best]] = np.bincount(owner, weight * quotient[member], n_pairs)[pair[best]] / total
    return ratio


def noisy_candidates(
    Y: sp.csr_array,
    noise: float,
    rng: np.random.RandomState,
    *,
    min_agreement: int,
    max_pairs: int,
) -> Atoms:
    """Propose atoms from the pairwise intersections of rows known up to noise.

    Values of one atom differ from pair to pair, its support and signs do not: candidates with the
    same signs are summed, each as strong as the two rows that proposed it.

    Parameters
    ----------
    Y : csr_array of shape (n_rows, n_columns)
        Significant entries.
    noise : float
        Standard deviation of the entries.
    rng : RandomState
    min_agreement : int
        Entries that two rows must share up to one factor.
    max_pairs : int
        Most pairs compared, the strongest first.
    """
    i, j = correlated_pairs(Y, min_agreement, max_pairs)
    level = np.full(len(i), noise)
    found = agreement_within_noise(Y, i, level, Y, j, level)
    strong = found.agreeing >= min_agreement
    if not strong.any():
        return Atoms(sp.csr_array((0, Y.shape[1])), np.empty(0))
    entry = strong[found.entry_pair]
    pair = found.entry_pair[entry]
    ratio = found.ratio[pair]
    # Best estimate of the common row from r d and d, times the amplitude that they have together.
    value = (ratio * found.entry_left[entry] + found.entry_right[entry]) / np.sqrt(ratio**2 + 1)
    coords = ((np.cumsum(strong) - 1)[pair], found.entry_column[entry])
    candidates = sp.csr_array((value, coords), shape=(int(strong.sum()), Y.shape[1]))
    candidates.sort_indices()
    signs = np.sign(candidates.data[candidates.indptr[:-1]])
    candidates = sp.csr_array(sp.diags_array(signs) @ candidates)
    groups = distinct_rows(sign_matrix(candidates), rng)
    members = sp.csr_array(
        (np.ones(len(groups.label)), (groups.label, np.arange(len(groups.label)))),
        shape=(groups.n_groups, len(groups.label)),
    )
    total = sp.csr_array(members @ candidates)
    total.sort_indices()
    norms = np.sqrt(total.power(2).sum(axis=1))
    rows = sp.csr_array(sp.diags_array(1 / norms) @ total)
    rows.sort_indices()
    return Atoms(rows, noise * np.sqrt(groups.size) / norms)


def noisy_proposals(R: sp.csr_array, atoms: Atoms, noise: float, min_gain: int = 2) -> Proposals:
    """Find where subtracting a multiple of an atom saves significant entries.

    Parameters
    ----------
    R : csr_array of shape (n_rows, n_columns)
        Significant entries.
    atoms : Atoms
    noise : float
        Standard deviation of the entries of R.
    min_gain : int
        Entries that vanish minus entries that appear, at least.
    """
    weights = np.diff(atoms.rows.indptr)
    overlap = (pattern(R) @ pattern(atoms.rows).T.tocsr()).tocoo()
    keep = 2 * overlap.data - weights[overlap.col] >= min_gain
    row, atom = overlap.row[keep], overlap.col[keep]
    level = np.full(len(row), noise)
    found = agreement_within_noise(R, row, level, atoms.rows, atom, atoms.std[atom])
    gain = found.agreeing + found.overlap - weights[atom]
    worth = (gain >= min_gain) & np.isfinite(found.ratio)
    return Proposals(row[worth], atom[worth], found.ratio[worth], gain[worth])


def noisy_pursuit(Y: sp.csr_array, atoms: Atoms, noise: float) -> sp.csr_array:
    """Code the rows of Y by greedy cancellation of significant entries.

    Parameters
    ----------
    Y : csr_array of shape (n_rows, n_columns)
        Significant entries.
    atoms : Atoms
    noise : float
        Standard deviation of the entries of Y.

    Returns
    -------
    csr_array of shape (n_rows, n_atoms)
    """
    shape = (Y.shape[0], atoms.rows.shape[0])
    codes = sp.csr_array(shape)
    R, active = Y, np.arange(Y.shape[0])
    for _ in range(_ROUNDS):
        found = noisy_proposals(R[active], atoms, noise)
        if not len(found.row):
            break
        best = first_per_row(found.row, found.gain)
        active = active[found.row[best]]
        step = sp.csr_array((found.ratio[best], (active, found.atom[best])), shape=shape)
        codes = codes + step
        R = clean(R - step @ atoms.rows, SIGNIFICANT * noise)
    return clean(codes, 0.0)
