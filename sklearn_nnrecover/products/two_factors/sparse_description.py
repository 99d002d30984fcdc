"""A matrix described by two sparse factors and a remainder: ``Y = C @ D + R``.

The length of a description is its number of non-zeros; of two descriptions of one length the one
that leaves less in R explains more. Transposed, codes and atoms change places: whatever improves
the codes of rows in atoms improves, on the transposed description, the atoms column by column.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.integer_pursuit import clean
from sklearn_nnrecover.products.row_agreement import distinct_rows

TIE = 1e-6
"""Weight of a non-zero of R where lengths are equal."""


class Description(NamedTuple):
    """``Y = C @ D + R``."""

    C: sp.csr_array
    D: sp.csr_array
    R: sp.csr_array

    @property
    def length(self) -> int:
        """Number of non-zeros."""
        return self.C.nnz + self.D.nnz + self.R.nnz

    @property
    def cost(self) -> float:
        """Length, and which of equal lengths is better."""
        return self.length + TIE * self.R.nnz

    def transposed(self) -> Description:
        """Return the description of ``Y.T``."""
        return Description(_transposed(self.D), _transposed(self.C), _transposed(self.R))


def _transposed(A: sp.csr_array) -> sp.csr_array:
    result = sp.csr_array(A.T.tocsr())
    result.sort_indices()
    return result


def shorter_codes(
    state: Description, rows: np.ndarray, codes: sp.csr_array, left: sp.csr_array
) -> Description:
    """Replace the codes of ``rows`` and what they leave, row by row where that is shorter."""
    old = (np.diff(state.C.indptr) + (1 + TIE) * np.diff(state.R.indptr))[rows]
    better = np.diff(codes.indptr) + (1 + TIE) * np.diff(left.indptr) < old
    return replaced_codes(state, rows, better, codes, left) if better.any() else state


def replaced_codes(
    state: Description,
    rows: np.ndarray,
    chosen: np.ndarray,
    codes: sp.csr_array,
    left: sp.csr_array,
) -> Description:
    """Replace the codes of ``rows[chosen]`` and what they leave."""
    C, D, R = state
    kept = np.ones(C.shape[0])
    kept[rows[chosen]] = 0.0
    keep = sp.diags_array(kept)
    place = sp.csr_array(
        (chosen.astype(float), (rows, np.arange(len(rows)))), shape=(C.shape[0], len(rows))
    )
    return Description(clean(keep @ C + place @ codes, 0.0), D, clean(keep @ R + place @ left, 0.0))


def dissolved(state: Description, threshold: float) -> Description:
    """Return to R the atoms that one row uses, which cost more than what they explain."""
    C, D, R = state
    uses = np.bincount(C.indices, minlength=D.shape[0])
    keep = (uses > 1) & (np.diff(D.indptr) > 0)
    if keep.all():
        return state
    gone, kept = np.flatnonzero(~keep), np.flatnonzero(keep)
    R = clean(R + C[:, gone] @ D[gone], threshold)
    return Description(clean(C[:, kept], 0.0), D[kept], R)


def merged_atoms(state: Description, rng: np.random.RandomState) -> Description:
    """Make atoms that are multiples of each other one."""
    C, D, R = state
    D, scales = row_gauge(D)
    groups = distinct_rows(D, rng)
    if groups.n_groups == D.shape[0]:
        return state
    ones = (scales, (np.arange(D.shape[0]), groups.label))
    merge = sp.csr_array(ones, shape=(D.shape[0], groups.n_groups))
    return Description(clean(C @ merge, 0.0), D[groups.representative], R)
