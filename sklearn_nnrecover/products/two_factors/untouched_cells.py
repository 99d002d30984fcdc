"""Whether the atoms claimed could have other entries: what the unexplained part leaves open.

A search that ends with leftovers may have put an entry of an atom into them, or taken one out of
them. Where a cell (i, j) of ``Y = C @ D`` is reached by an unproven node, ``d_gj`` of the user i
of atom g could be anything there. Cells reached by proven nodes alone hold evidence: were
``d_gj`` wrong, the true leftovers would have to fill every such cell of column j among the users of
g, and with values that agree. In a column of which the unproven nodes reach a share r this happens
by accident to one entry with probability ``r^m s^(m - 1)``, m the number of untouched cells and s
the chance that two entries agree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.stats import binom

from sklearn_nnrecover.products.row_agreement import pattern, sign_matrix

WRONG_ENTRIES = 1e-3
"""Largest expected number of wrong entries in an atom that is called identified."""


class Misfit(NamedTuple):
    """Data that a product explains but for some cells, so that any entry may be an accident."""

    data: sp.csr_array
    missed: sp.csr_array


def agreement_probability(values: np.ndarray) -> float:
    """Probability that two entries drawn from ``values`` have one magnitude and sign."""
    _, frequency = np.unique(np.abs(values).round(9), return_counts=True)
    return 0.5 * float(np.sum((frequency / frequency.sum()) ** 2))


def beyond_leftovers(
    C: sp.csr_array,
    D: sp.csr_array,
    proven: np.ndarray,
    *,
    same: float,
    misfit: Misfit | None = None,
) -> np.ndarray:
    """Withdraw claims whose entries the unproven nodes could change.

    Parameters
    ----------
    C : csr_array of shape (n_rows, n_atoms)
    D : csr_array of shape (n_atoms, n_columns)
    proven : ndarray of bool, shape (n_atoms,)
        Claims so far.
    same : float
        Probability that two unrelated entries agree.
    misfit : Misfit or None
        What the product does not explain; None for an exact product.

    Returns
    -------
    ndarray of bool, shape (n_atoms,)
        The largest set of claims that support each other.
    """
    proven = np.array(proven, dtype=bool)
    users, reach = pattern(C), pattern(D)
    while proven.any():
        claimed, left = np.flatnonzero(proven), np.flatnonzero(~proven)
        touched = users[:, left] @ reach[left]
        if misfit is not None:
            touched = touched + pattern(misfit.missed)
        touched = pattern(sp.csr_array(touched))
        share = _column_share(touched if misfit is None else misfit.data)
        wrong = _expected_wrong_entries(sp.csr_array(users[:, claimed]), touched, share, same)
        rest = sp.csr_array(C[:, left] @ D[left]) if misfit is None else misfit.data
        followed = _followed_by(
            sign_matrix(rest), sp.csr_array(C[:, claimed]), reach[claimed], share
        )
        withdrawn = claimed[(wrong > WRONG_ENTRIES) | followed]
        if not len(withdrawn):
            break
        proven[withdrawn] = False
    return proven


def _column_share(A: sp.csr_array) -> np.ndarray:
    return np.bincount(A.indices, minlength=A.shape[1]) / A.shape[0]


def _expected_wrong_entries(
    users: sp.csr_array, touched: sp.csr_array, share: np.ndarray, same: float
) -> np.ndarray:
    """Expected number of wrong entries of each atom, over all columns."""
    uses = np.bincount(users.indices, minlength=users.shape[1])
    sizes, which = np.unique(uses, return_inverse=True)
    # As if no cell of the users were touched, then corrected where some are.
    wrong = np.array([np.sum(_accident(share, size, same)) for size in sizes])[which]
    lost = (users.T.tocsr() @ touched).tocoo()
    r, m = share[lost.col], uses[lost.row]
    correction = _accident(r, m - lost.data, same) - _accident(r, m, same)
    return wrong + np.bincount(lost.row, correction, minlength=len(uses))


def _followed_by(
    rest: sp.csr_array, C: sp.csr_array, reach: sp.csr_array, share: np.ndarray
) -> np.ndarray:
    """Whether a column off an atom follows its users more often than accident explains.

    Then some of its users may belong to an atom with more entries, of which this one is a part.
    """
    uses = np.bincount(C.indices, minlength=C.shape[1])
    together = sp.csr_array(sign_matrix(C).T.tocsr() @ rest)
    together = (together - together.multiply(reach)).tocoo()
    times = np.abs(together.data)
    pairs, which = np.unique(
        np.column_stack([uses[together.row], times]), axis=0, return_inverse=True
    )
    # Columns in which so many of the users agree by accident, either sign.
    expected = np.array([2 * np.sum(binom.sf(k - 1, u, share / 2)) for u, k in pairs])
    odd = (times > 1) & (expected[which.ravel()] < 0.5) if len(pairs) else np.zeros(0, dtype=bool)
    return np.bincount(together.row, odd, minlength=len(uses)) > 0


def _accident(share: np.ndarray, n_untouched: np.ndarray, same: float) -> np.ndarray:
    return np.where(n_untouched > 0, share**n_untouched * same ** (n_untouched - 1.0), 1.0)
