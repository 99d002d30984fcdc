"""Sparse integer rows just outside a row space: what a singular remainder hides.

Model: ``Y = Z @ F`` with F sparse, integer and of k rows, and Z of rank below k, as deep products
of square layers have. The row space of Y then misses some directions, and where the null vectors
of Z are dense it contains hardly any row of F, but each row nearly: to ``sqrt(1 - rank(Z) / k)``.
Rounded to integers the estimates of a separation are the rows themselves, and together with Y they
span the row space of F. A row that is wrong adds a dimension; right ones add only those missing.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_spaces.lightest_bases import distinct_vectors
from sklearn_nnrecover.products.row_spaces.systematic_bases import RowSpace, row_space

NOISE_MULTIPLE = 6.0
"""Entries above this multiple of the noise are no zeros."""

LARGEST_ROUNDING = 0.3
"""An estimate further than this from integers, in units, is not rounded."""

ROWS_PER_DIMENSION = 2
"""Rows that must agree for each dimension that they add."""


def rounded_rows(estimates: np.ndarray, *, max_weight: int) -> sp.csr_array:
    """Round noisy multiples of sparse integer rows.

    Parameters
    ----------
    estimates : ndarray of shape (n_estimates, n_columns)
        Each a multiple of a row most of whose entries are zero, and most others 1 or -1.
    max_weight : int
        Heaviest row accepted.

    Returns
    -------
    csr_array of shape (n_found, n_columns)
        Row gauge, distinct, lightest first. Estimates that are not close to integers are left out.
    """
    found = [sp.csr_array((0, estimates.shape[1]))]
    for estimate in estimates:
        magnitude = np.abs(estimate)
        large = magnitude > NOISE_MULTIPLE * np.median(magnitude) / 0.6745
        if not 0 < np.count_nonzero(large) <= max_weight:
            continue
        unit = float(np.median(magnitude[large]))
        integers = np.rint(estimate / unit)
        energy = float(integers @ integers)
        if energy == 0:
            continue
        integers = np.rint(estimate * energy / float(estimate @ integers))
        unit = float(estimate @ integers) / max(float(integers @ integers), 1.0)
        close = unit > 0 and np.abs(estimate / unit - integers).max() < LARGEST_ROUNDING
        if close and 0 < np.count_nonzero(integers) <= max_weight:
            found.append(sp.csr_array(integers[None]))
    rows = row_gauge(sp.csr_array(sp.vstack(found)))[0]
    return distinct_vectors(rows, np.ones(rows.shape[0], dtype=int)).vectors


def extended_row_space(
    space: RowSpace, estimates: np.ndarray, *, max_weight: int
) -> RowSpace | None:
    """Add to a row space the integer rows that estimates show near it.

    Parameters
    ----------
    space : RowSpace
    estimates : ndarray of shape (n_estimates, n_columns)
        Sparse rows plus noise, from a separation of the space.
    max_weight : int
        Heaviest row accepted.

    Returns
    -------
    RowSpace or None
        None if no row adds to it, or if they add too much to be rows of one factor.
    """
    rows = rounded_rows(estimates, max_weight=max_weight)
    if not rows.shape[0]:
        return None
    unit = rows.toarray()
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    # A direction that two right rows hardly tell apart must not look like rounding.
    wider = row_space(np.vstack([space.basis, unit]), rtol=1e-8)
    added = wider.rank - space.rank
    return wider if 0 < added <= rows.shape[0] // ROWS_PER_DIMENSION else None


def lies_in(vectors: sp.csr_array, space: RowSpace, tol: float = 1e-7) -> np.ndarray:
    """Whether each vector is in the space, to ``tol`` times its norm."""
    dense = vectors.toarray()
    outside = dense - (dense @ space.basis.T) @ space.basis
    return np.linalg.norm(outside, axis=1) <= tol * np.linalg.norm(dense, axis=1)
