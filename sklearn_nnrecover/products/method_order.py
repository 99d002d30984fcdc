"""Which peel methods ``method="auto"`` tries on which data, and in what order."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.correlation_graph import correlation_factor
from sklearn_nnrecover.products.peeling import SPARSE, Matrix, PeelMethod, count_nonzero
from sklearn_nnrecover.products.row_spaces.information_sets import information_set_factor
from sklearn_nnrecover.products.row_spaces.last_factor_ica import last_factor_by_ica
from sklearn_nnrecover.products.two_factors.sparse_two_factors import intersection_factor

PEEL_METHODS: dict[str, PeelMethod] = {
    "intersection": intersection_factor,
    "information-set": information_set_factor,
    "ica": last_factor_by_ica,
    "correlation": correlation_factor,
}

_LARGEST_RANKED = 2_000_000
"""Entries of a matrix up to which its rank is computed before a method is chosen."""

_WIDE, _NARROW = 1.5, 1.25
"""Columns in use per dimension from which information sets come first, or may come at all."""

_LOW_RANK = 0.75
"""Share of the rank that a shape allows, above which data may be a fast transform."""


def automatic_order(X: Matrix) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the methods for X, the most promising first, and those that are its last resort.

    With many columns beyond the rank information sets are quick, and their proof is global. With
    hardly any they are slow and prove nothing, while sparse data show their factors directly.
    """
    usual = ("intersection", "information-set", "ica")
    is_sparse = count_nonzero(X) <= SPARSE * X.shape[0] * X.shape[1]
    if not is_sparse:
        return usual, ()
    if X.shape[0] * X.shape[1] <= _LARGEST_RANKED:
        dense = X.toarray() if sp.issparse(X) else X
        rank = np.linalg.matrix_rank(dense)
        in_use = np.count_nonzero(np.any(dense, axis=0))
        if in_use >= _WIDE * rank:
            return ("information-set", "intersection", "ica"), ()
        if in_use >= _NARROW * rank:
            return usual, ()
    return usual, ("information-set",)


def peel_methods(names: Iterable[str], n_init: int, max_iter: int) -> dict[str, PeelMethod]:
    """Return the peel methods of these names."""
    chosen = {name: PEEL_METHODS[name] for name in names}
    if "intersection" in chosen:
        chosen["intersection"] = partial(intersection_factor, n_init=n_init, budget=max_iter)
    return chosen


def is_low_rank(X: Matrix) -> bool:
    """Whether the rank of X is well below what its shape allows."""
    dense = X.toarray() if sp.issparse(X) else X
    return bool(np.linalg.matrix_rank(dense) <= _LOW_RANK * min(X.shape))
