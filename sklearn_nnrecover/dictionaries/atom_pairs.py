"""How often two atoms are used together, and with which codes."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def co_occurrence(codes: sparse.csr_array) -> np.ndarray:
    """Samples that use both of two atoms; on the diagonal those that use one."""
    on = sparse.csr_array((np.ones(codes.nnz), codes.indices, codes.indptr), shape=codes.shape)
    return (on.T @ on).toarray()


def shared_values(columns: sparse.csc_array, atom: int, other: int) -> np.ndarray:
    """Codes of an atom in the samples that use the other one, too, in the order of samples."""
    own = slice(columns.indptr[atom], columns.indptr[atom + 1])
    others = columns.indices[columns.indptr[other] : columns.indptr[other + 1]]
    return columns.data[own][np.isin(columns.indices[own], others, assume_unique=True)]
