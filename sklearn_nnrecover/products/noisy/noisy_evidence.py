"""What noisy data say about each atom of a sparse two-factor product ``X = C @ D + noise``.

The questions are those of `atom_identification`; only "equal" becomes "equal within noise": two
unrelated entries agree more often, cancellations of an exchange are counted within noise, and a sum
of two atoms is recognised by its signs.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.noisy.noisy_agreement import (
    AGREEING,
    SIGNIFICANT,
    Atoms,
    NoisyAgreement,
    agreement_within_noise,
)
from sklearn_nnrecover.products.row_agreement import pattern, sign_matrix
from sklearn_nnrecover.products.two_factors.atom_identification import (
    AtomEvidence,
    atom_evidence,
    meeting_rows,
    members_of_triples,
)

_SAMPLE = 2000


def agreement_within(values: np.ndarray, noise: float) -> float:
    """Probability that two entries drawn from ``values`` agree in sign, and in size within noise.

    Parameters
    ----------
    values : ndarray
        Entries of the product.
    noise : float
        Standard deviation of the noise on each.
    """
    sizes = np.sort(np.abs(values))[:: max(1, len(values) // _SAMPLE)]
    reach = AGREEING * np.sqrt(2.0) * noise
    near = np.searchsorted(sizes, sizes + reach, "right") - np.searchsorted(sizes, sizes - reach)
    return min(0.5, 0.5 * float(np.mean(near / len(sizes))))


def noisy_atom_evidence(C: sp.csr_array, D: sp.csr_array, noise: float) -> AtomEvidence:
    """Measure the evidence for each atom of ``X = C @ D + noise``.

    Parameters
    ----------
    C : csr_array of shape (n_rows, n_atoms)
    D : csr_array of shape (n_atoms, n_columns)
    noise : float
        Standard deviation of the noise.
    """
    product = sp.csr_array(C @ D)
    evidence = atom_evidence(product, C, D, same=agreement_within(product.data, noise))
    norms = np.sqrt(np.asarray(D.power(2).sum(axis=1)).ravel())
    rows = sp.csr_array(sp.diags_array(1 / norms) @ D)
    columns = sp.csr_array((C @ sp.diags_array(norms)).T.tocsr())
    columns.sort_indices()
    energy = np.asarray(columns.power(2).sum(axis=1)).ravel()
    atoms = Atoms(rows, noise / np.sqrt(np.maximum(energy, 1e-300)))
    margin = np.minimum(evidence.exchange_margin, exchange_margin_within(atoms, columns, noise))
    identified = evidence.identified & (margin > 0) & ~sum_of_two(atoms)
    return evidence._replace(identified=identified, exchange_margin=margin)


def exchange_margin_within(atoms: Atoms, columns: sp.csr_array, noise: float) -> np.ndarray:
    """Return the non-zeros that the cheapest exchange ``D_a += q D_b, C_b -= q C_a`` adds.

    Parameters
    ----------
    atoms : Atoms
        Rows of norm one.
    columns : csr_array of shape (n_atoms, n_rows)
        Codes of each atom.
    noise : float
        Standard deviation of the codes, which is that of the data as atoms have norm one.
    """
    uses, weights = np.diff(columns.indptr), np.diff(atoms.rows.indptr)
    meet = pattern(columns) @ pattern(columns).T + pattern(atoms.rows) @ pattern(atoms.rows).T
    a, b = sp.coo_array(meet).coords
    a, b = a[a != b], b[a != b]
    level = np.full(len(a), noise)
    by_atom = agreement_within_noise(atoms.rows, a, atoms.std[a], atoms.rows, b, atoms.std[b])
    by_code = agreement_within_noise(columns, b, level, columns, a, level)
    base = weights[b] - by_atom.overlap + uses[a] - by_code.overlap
    error = np.hypot(
        _ratio_error(by_atom, atoms.std[a], atoms.std[b]), _ratio_error(by_code, level, level)
    )
    opposite = np.abs(by_atom.ratio + by_code.ratio) <= AGREEING * error
    cancelled = np.where(
        opposite,
        by_atom.agreeing + by_code.agreeing,
        np.maximum(by_atom.agreeing, by_code.agreeing),
    )
    margin = weights + uses
    np.minimum.at(margin, a, base - cancelled)
    np.minimum.at(margin, b, base - cancelled)
    return margin


def _ratio_error(found: NoisyAgreement, std_a: np.ndarray, std_b: np.ndarray) -> np.ndarray:
    """Standard errors of the ratios of pairs of rows."""
    energy = np.bincount(found.entry_pair, found.entry_right**2, len(found.ratio))
    spread = np.sqrt(std_a**2 + (found.ratio * std_b) ** 2)
    return spread / np.sqrt(np.maximum(energy, 1e-300))


def sum_of_two(atoms: Atoms) -> np.ndarray:
    """Whether each row may be one of three of which two combine to the third.

    What is left of a row when a multiple of another is taken off has the signs of a third.
    """
    a, b = meeting_rows(atoms.rows)
    ratio = agreement_within_noise(atoms.rows, a, atoms.std[a], atoms.rows, b, atoms.std[b]).ratio
    left = sp.csr_array(atoms.rows[a] - sp.diags_array(ratio) @ atoms.rows[b])
    spread = np.sqrt(atoms.std[a] ** 2 + (ratio * atoms.std[b]) ** 2)
    left.data[np.abs(left.data) <= SIGNIFICANT * np.repeat(spread, np.diff(left.indptr))] = 0.0
    rows, left = (sign_matrix(row_gauge(part)[0]) for part in (atoms.rows, left))
    return members_of_triples(rows, a, b, left)
