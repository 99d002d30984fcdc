"""Searching again where greedy picks left too much.

Orthogonal matching pursuit goes wrong in a few samples even with the true atoms; their residuals
tell. Where supports are few, all of them are tried. Else a pursuit on twice as many atoms is pruned
back; and where that leaves too much, pursuits begin with each of the best correlated atoms. What is
hardly more than enough, and correlates with no atom more than noise would, is taken for noise.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    correlations,
    orthogonal_matching_pursuit,
)
from sklearn_nnrecover.dictionaries.support_growth import noise_correlation_square
from sklearn_nnrecover.dictionaries.supports import (
    least_squares_values,
    nonnegative_least_squares,
    padded_to_csr,
    prune,
)
from sklearn_nnrecover.linalg.blocks import row_blocks

SEARCHED_FIRST = 12  # atoms tried as the first one
MAX_SUPPORTS = 300  # up to which all are tried
FAR = 1.1  # times enough: beyond, a residual is no noise
NOISE_ALPHA = 0.2  # share of residuals of noise that correlate with an atom as if they were not
BLOCK_MEBIBYTES = 32  # temporary arrays of samples that are searched at a time


def search_wider(
    X: np.ndarray,
    D: np.ndarray,
    gram: np.ndarray,
    atoms: np.ndarray,
    values: np.ndarray,
    *,
    enough: float,
    min_correlation: float = 0.0,
    nonnegative: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Search supports again and keep what leaves less.

    Parameters
    ----------
    X, D, gram : ndarrays
        Samples, unit-norm atoms and ``D @ D.T``.
    atoms, values : ndarrays of shape (n_samples, n_nonzero)
        Padded codes found before.
    enough : float
        Squared residual norm that right supports hardly exceed: samples are not searched further.
    min_correlation, nonnegative
        As in :func:`orthogonal_matching_pursuit`.

    Returns
    -------
    atoms, values : ndarrays of shape (n_samples, n_nonzero)
        Padded codes; those given unless others leave less than nine tenths.
    """
    atoms, values = atoms.copy(), values.copy()
    n_features, width = X.shape[1], atoms.shape[1]
    few = math.comb(len(D), width) <= MAX_SUPPORTS
    searched = np.arange(len(X))
    if not few:
        searched = np.flatnonzero(~_like_noise(X, D, atoms, values, enough, nonnegative))
    bytes_per_row = 4 * X.itemsize * (SEARCHED_FIRST * (n_features + 2 * width) + 4 * width**2)
    for part in row_blocks(len(searched), bytes_per_row, BLOCK_MEBIBYTES):
        rows = searched[part]
        search = _Search(
            X[rows], D, gram, atoms[rows], values[rows], enough, min_correlation, nonnegative
        )
        if few:
            search.all_supports()
        else:
            search.longer_supports()
            search.other_first_atoms()
        atoms[rows], values[rows] = search.atoms, search.values
    return atoms, values


def _like_noise(
    X: np.ndarray,
    D: np.ndarray,
    atoms: np.ndarray,
    values: np.ndarray,
    enough: float,
    nonnegative: bool,
) -> np.ndarray:
    """Mark the samples whose residual is hardly more than enough and correlates with no atom."""
    residual = X - padded_to_csr(atoms, values, len(D)) @ D
    square = np.einsum("ij,ij->i", residual, residual)
    largest = correlations(residual, D, nonnegative).max(axis=1)
    quantile = noise_correlation_square(len(D), X.shape[1] - atoms.shape[1], NOISE_ALPHA)
    return (square <= FAR * enough) & (largest**2 <= quantile * square)


class _Search:
    """The best codes so far of a block of samples, changed in place."""

    def __init__(
        self,
        X: np.ndarray,
        D: np.ndarray,
        gram: np.ndarray,
        atoms: np.ndarray,
        values: np.ndarray,
        enough: float,
        min_correlation: float,
        nonnegative: bool,
    ) -> None:
        self.X, self.D, self.gram = X, D, gram
        self.atoms, self.values, self.enough = atoms, values, enough
        self.min_correlation, self.nonnegative = min_correlation, nonnegative
        self.width = atoms.shape[1]
        self.loss = _loss(X, D, atoms, values)

    def all_supports(self) -> None:
        """Try every support."""
        support = _nearest_span(self.X, self.D, self.width)
        active = np.ones(support.shape, dtype=bool)
        fitted = least_squares_values(self.X, self.D, self.gram, support, active)
        self._keep(np.arange(len(self.X)), support, fitted)

    def longer_supports(self) -> None:
        """Try twice as many atoms, pruned."""
        longer = min(2 * self.width, len(self.D), self.X.shape[1])
        if longer > self.width:
            self._keep(np.arange(len(self.X)), *self._pursue(self.X, longer))

    def other_first_atoms(self) -> None:
        """Try pursuits that begin with other atoms, where more than enough is left."""
        rows = np.flatnonzero(self.loss > self.enough)
        tries = min(SEARCHED_FIRST, len(self.D)) - 1
        if self.width > 1 and tries > 0 and len(rows):
            strength = correlations(self.X[rows], self.D, self.nonnegative)
            first = np.argsort(-strength, axis=1)[:, 1 : tries + 1].ravel()
            repeated = np.repeat(self.X[rows], tries, axis=0)
            self._keep(rows, *self._pursue(repeated, self.width, first))

    def _pursue(
        self, X: np.ndarray, width: int, first: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return orthogonal_matching_pursuit(
            X,
            self.D,
            width,
            gram=self.gram,
            min_correlation=self.min_correlation,
            nonnegative=self.nonnegative,
            first=first,
            follow=False,
        )[:2]

    def _keep(self, rows: np.ndarray, atoms: np.ndarray, values: np.ndarray) -> None:
        """Keep the best of several supports of each row; those of a row follow one another."""
        atoms, values = prune(self.gram, atoms, values, self.width, self.min_correlation)
        tries = len(atoms) // len(rows)
        X = np.repeat(self.X[rows], tries, axis=0)
        if self.nonnegative:
            values = nonnegative_least_squares(X, self.D, self.gram, atoms, values)
        loss = _loss(X, self.D, atoms, values)
        # What leaves enough is preferred for its few atoms.
        fewest = np.count_nonzero(values, axis=1) - self.width - 1
        cost = np.where(loss <= self.enough, fewest, loss).reshape(-1, tries)
        at = np.arange(len(rows)) * tries + cost.argmin(axis=1)
        better = loss[at] < 0.9 * self.loss[rows]
        at, rows = at[better], rows[better]
        self.atoms[rows], self.values[rows], self.loss[rows] = atoms[at], values[at], loss[at]


def _nearest_span(X: np.ndarray, D: np.ndarray, width: int) -> np.ndarray:
    """The ``width`` atoms whose span is nearest to each row, of all there are."""
    supports = np.array(list(itertools.combinations(range(len(D)), width)), dtype=np.int32)
    bases = np.linalg.qr(D[supports].transpose(0, 2, 1))[0]
    nearest = np.empty(len(X), dtype=np.intp)
    block = max(16, 2**21 // (X.itemsize * len(supports) * width))
    for start in range(0, len(X), block):
        here = slice(start, start + block)
        nearest[here] = np.square(X[here] @ bases).sum(axis=2).argmax(axis=0)
    return supports[nearest]


def _loss(X: np.ndarray, D: np.ndarray, atoms: np.ndarray, values: np.ndarray) -> np.ndarray:
    residual = X - padded_to_csr(atoms, values, len(D)) @ D
    return np.einsum("ij,ij->i", residual, residual)
