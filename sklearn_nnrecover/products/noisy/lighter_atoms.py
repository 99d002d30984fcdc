"""Atoms of the last of three or more factors out of those of the shortest two.

The shortest two factors of a longer chain merge layers: some atoms are rows of the last factor,
others combinations of several. Two moves take combinations apart; they leave the product as it is
within noise and make D sparser at the cost of C, which is to be a product itself:

* an atom that combines lighter ones disappears into them;
* ``D_a -= q D_b, C_b += q C_a`` where that removes more entries of D than the code of one more
  combination costs: what is left of a combination may be an atom that was missing.

Atoms that more used ones span are dropped at the end: the codes of independent atoms are unique.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.integer_pursuit import clean, first_per_row
from sklearn_nnrecover.products.noisy.noisy_agreement import SIGNIFICANT, Atoms, noisy_proposals
from sklearn_nnrecover.products.noisy.noisy_two_factors import (
    NoisyFactors,
    explained_factors,
    significance_level,
)
from sklearn_nnrecover.products.noisy.significant_codes import significant_codes

LEAST_SHORTER = 2
"""Entries of an atom that a combination of lighter ones must save."""

LEAST_GAIN = 3
"""Entries of an atom that an exchange must save: two are the codes of the combination."""

SLACK = 3.0
"""Times noise by which atoms beside wrong ones may err."""

MOSTLY_INDEPENDENT = 0.8
"""Share of independent atoms below which atoms are dependent by design."""

_ROUNDS = 20


def lighter_atoms(
    X: np.ndarray, noise: float, model: NoisyFactors, max_sweeps: int
) -> Steps[NoisyFactors]:
    """Take combinations of atoms apart, and test the codes in what remains.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    noise : float
        Standard deviation of the noise.
    model : NoisyFactors
    max_sweeps : int
        Most sweeps of the search for codes.

    Yields
    ------
    Step

    Returns
    -------
    NoisyFactors
        The model, with atoms of norm one, if none is a combination of others.
    """
    norms = np.sqrt(np.asarray(model.D.power(2).sum(axis=1)).ravel())
    model = NoisyFactors(
        sp.csr_array(model.C @ sp.diags_array(norms)),
        sp.csr_array(sp.diags_array(1 / norms) @ model.D),
    )
    before, now = None, model
    for _ in range(_ROUNDS):
        if before is now:
            break
        before, now = now, _exchanged(_combinations_dissolved(now, noise), noise)
    now = _independent(now, noise)
    if now is model:
        return model
    return (yield from explained_factors(X, noise, now, max_sweeps))


def _deviations(model: NoisyFactors, noise: float) -> np.ndarray:
    """Standard deviations of the entries of each atom, with the slack."""
    energy = np.asarray(model.C.power(2).sum(axis=0)).ravel()
    return SLACK * noise / np.sqrt(np.maximum(energy, 1e-300))


def _combinations_dissolved(model: NoisyFactors, noise: float) -> NoisyFactors:
    C, D = model
    weights, std = np.diff(D.indptr), _deviations(model, noise)
    level = significance_level(max(D.shape[0] * D.shape[1], 1))
    kept = np.zeros(len(weights), dtype=bool)
    rows, columns, values = [], [], []
    for weight in np.unique(weights):
        same, lighter = np.flatnonzero(weights == weight), np.flatnonzero(kept)
        atoms = D[lighter]
        wanted = D[same].toarray() / std[same, None]
        codes = significant_codes(wanted, atoms, 1.0, level)
        left = np.abs(wanted - (codes @ atoms).toarray())
        spread = np.sqrt(1 + codes.power(2) @ std[lighter] ** 2)
        combined = np.all(left <= SIGNIFICANT * spread[:, None], axis=1)
        combined &= weight - np.diff(codes.indptr) >= LEAST_SHORTER
        kept[same[~combined]] = True
        gone = same[combined]
        found = sp.coo_array(codes[np.flatnonzero(combined)])
        rows.append(gone[found.coords[0]])
        columns.append(lighter[found.coords[1]])
        values.append(found.data * std[gone][found.coords[0]])
    if kept.all():
        return model
    stay = np.flatnonzero(kept)
    entries = (
        np.concatenate([*values, np.ones(len(stay))]),
        (np.concatenate([*rows, stay]), np.concatenate([*columns, stay])),
    )
    combine = sp.csr_array(entries, shape=(len(weights), len(weights)))
    return NoisyFactors(clean(sp.csr_array(C @ combine)[:, stay], 0.0), D[stay])


def _exchanged(model: NoisyFactors, noise: float) -> NoisyFactors:
    C, D = model
    weights, std = np.diff(D.indptr), _deviations(model, noise)
    rows = sp.csr_array(sp.diags_array(1 / std) @ D)
    found = noisy_proposals(rows, Atoms(D, std), 1.0, LEAST_GAIN)
    heavier = (weights[found.row] > weights[found.atom]) & (found.row != found.atom)
    found = type(found)(*(column[heavier] for column in found))
    if not len(found.row):
        return model
    best = first_per_row(found.row, found.gain)
    touched = np.zeros(len(weights), dtype=bool)
    chosen = []
    for index in best[np.lexsort((found.row[best], -found.gain[best]))]:
        if not (touched[found.row[index]] or touched[found.atom[index]]):
            touched[found.row[index]] = touched[found.atom[index]] = True
            chosen.append(index)
    a, b, ratio = (
        found.row[chosen],
        found.atom[chosen],
        found.ratio[chosen] * std[found.row[chosen]],
    )
    shape = (len(weights), len(weights))
    step = sp.csr_array((ratio, (a, b)), shape=shape)
    spread = std.copy()
    spread[a] = np.sqrt(std[a] ** 2 + (ratio * std[b]) ** 2)
    moved = sp.csr_array(D - step @ D)
    moved.data[np.abs(moved.data) <= SIGNIFICANT * np.repeat(spread, np.diff(moved.indptr))] = 0.0
    moved.eliminate_zeros()
    codes = clean(C + C @ step, 0.0)
    norms = np.sqrt(np.asarray(moved.power(2).sum(axis=1)).ravel())
    stay = np.flatnonzero(norms)
    return NoisyFactors(
        sp.csr_array(codes[:, stay] @ sp.diags_array(norms[stay])),
        sp.csr_array(sp.diags_array(1 / norms[stay]) @ moved[stay]),
    )


def _independent(model: NoisyFactors, noise: float) -> NoisyFactors:
    C, D = model
    std = _deviations(model, noise)
    order = np.argsort(-np.bincount(C.indices, minlength=D.shape[0]), kind="stable")
    rows = D[order].toarray()
    basis = np.zeros((0, rows.shape[1]))
    kept = []
    for atom, row in zip(order, rows, strict=True):
        left = row - (row @ basis.T) @ basis
        left -= (left @ basis.T) @ basis
        size = np.linalg.norm(left)
        if size > SIGNIFICANT * std[atom]:
            kept.append(atom)
            basis = np.vstack([basis, left / size])
    if len(kept) == len(order) or len(kept) < MOSTLY_INDEPENDENT * len(order):
        return model
    stay = np.sort(kept)
    return NoisyFactors(sp.csr_array(C[:, stay]), D[stay])
