"""What of the data is noise, and their common unit: the first step of every recovery."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.stats import norm

from sklearn_nnrecover.products.integer_unit import integer_unit, noisy_integer_unit
from sklearn_nnrecover.products.noisy.noisy_agreement import SIGNIFICANT
from sklearn_nnrecover.products.peeling import Evidence, Matrix, count_nonzero

MAX_DENSITY = 1 / 3
"""With more cells beyond noise the bulk of the data is no noise."""

LEAST_BEYOND = 8
"""Cells beyond noise without which there is nothing to explain."""

_WITHIN_TWO = 0.7737
"""Variance of a standard normal variable given that it lies within two standard deviations."""


EXACT_EPS = 1e-12
"""Rounding up to which the exact search compares ratios."""


class PreparedData(NamedTuple):
    """``X = unit * matrix + noise``; integer data have an integer ``matrix``."""

    matrix: Matrix
    unit: float
    noise_std: float
    conditions: list[Evidence]

    @property
    def is_integer(self) -> bool:
        """Whether the data are multiples of one number, apart from noise."""
        return self.conditions[0].passed


def prepare_data(X: Matrix, eps: float) -> PreparedData:
    """Divide integer data by their unit, and round away noise that is small against it."""
    values = X.data if sp.issparse(X) else X
    rtol = 10 * eps
    unit = integer_unit(values, rtol=rtol)
    noise_std = 0.0
    if unit is None:
        noisy = noisy_integer_unit(values)
        if noisy is None:
            condition = Evidence(
                "integer unit", 0.0, 0.0, False, "the data are multiples of one number"
            )
            return PreparedData(X, 1.0, 0.0, [condition])
        unit, noise_std = noisy
    if sp.issparse(X):
        matrix = sp.csr_array((np.round(X.data / unit), X.indices, X.indptr), shape=X.shape)
        matrix.eliminate_zeros()
        matrix.sort_indices()
    else:
        matrix = np.round(X / unit)
    condition = Evidence(
        "integer unit",
        unit,
        5 * noise_std,
        unit > 5 * noise_std,
        "the data are multiples of one number, apart from noise below a fifth of it",
    )
    return PreparedData(matrix, unit, noise_std, [condition])


def background_noise(X: np.ndarray) -> float | None:
    """Standard deviation of the noise around zero that most entries of X consist of.

    Entries of a sparse product are zero in most cells, where the noise stands alone. Its level is
    that of the entries within twice itself.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)

    Returns
    -------
    float or None
        None if most entries are exact zeros, or if too many or hardly any are beyond noise.
    """
    size = np.abs(X).ravel()
    level = float(np.median(size)) / 0.6745
    for _ in range(50):
        inside = size[size < 2 * level]
        if not len(inside) or level == 0:
            return None
        before, level = level, float(np.sqrt(np.mean(inside**2) / _WITHIN_TWO))
        if abs(level - before) <= 1e-6 * level:
            break
    beyond = int(np.count_nonzero(size > SIGNIFICANT * level))
    expected = 2 * float(norm.sf(SIGNIFICANT)) * X.size
    if beyond > MAX_DENSITY * X.size or beyond < LEAST_BEYOND + 2 * expected:
        return None
    return level


def _is_rank_deficient(X: np.ndarray, rtol: float) -> bool:
    """Whether rows or columns that differ are dependent, as those of noise never are.

    A deep product has many small entries and few large ones, as a sparse product behind noise has.
    """
    for _ in range(2):
        probe = X @ np.cos(1.0 + np.sqrt(2.0) * np.arange(X.shape[1]))
        # Equal rows may differ in the last digits of their products.
        probe = np.round(probe / np.abs(probe).max(), 9)
        X = X[np.sort(np.unique(probe, return_index=True)[1])].T
    return bool(np.linalg.matrix_rank(X, rtol=rtol) < min(X.shape))


class Noise(NamedTuple):
    """Standard deviation of noise in every cell, or a bound on what rounding did."""

    level: float
    is_rounding: bool


def noise_of_reals(X: Matrix, eps: float) -> Noise | None:
    """Noise in real data, None where the exact search takes them as they are.

    Noise fills the cells that a sparse product leaves empty. Where most cells are exact zeros
    there is none, but entries in single precision are rounded too coarsely for exact ratios: what
    rounding can do to the largest entry is then taken for noise.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_columns)
    eps : float
        Rounding of X, relative to its entries.
    """
    if count_nonzero(X) > MAX_DENSITY * X.shape[0] * X.shape[1]:
        dense = X.toarray() if sp.issparse(X) else X
        level = background_noise(dense)
        if level is None or _is_rank_deficient(dense, max(1e-10, 10 * eps)):
            return None
        return Noise(level, is_rounding=False)
    largest = float(abs(X).max())
    if eps <= EXACT_EPS or largest == 0:
        return None
    return Noise(0.5 * eps * largest, is_rounding=True)
