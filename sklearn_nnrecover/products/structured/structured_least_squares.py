"""Least squares over the parameters of a structured product ``X = M_1(h_1) ... M_K(h_K) + noise``.

Levenberg-Marquardt from a start that the lifted problem gives, then from random ones. Each layer's
scale is free; after every accepted step the layers are brought to equal norms, which keeps the
Jacobian well scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_nnrecover.linalg.blocks import require_memory, working_memory_bytes
from sklearn_nnrecover.linalg.rescalings import (
    Rescalings,
    align_signs,
    balance,
    layer_rescalings,
    path_rescalings,
)
from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.structured.levenberg_marquardt import Ending, levenberg_marquardt
from sklearn_nnrecover.products.structured.lifted_residuals import (
    CompressedResidual,
    compression_pays,
)
from sklearn_nnrecover.products.structured.lifting import LiftingOperator, lifting_operator
from sklearn_nnrecover.products.structured.structured_fit import ROUNDING, StructuredFit, summarise
from sklearn_nnrecover.products.structured.structured_residuals import choose_residual
from sklearn_nnrecover.products.structured.structured_starts import best_scale, starts
from sklearn_nnrecover.products.structures import check_structures

AGREEMENT = 1e-6
LARGEST_GAUGE_PROBLEM = 3000


def fit_structured(
    X: Any,
    structures: Sequence[Any],
    *,
    rng: np.random.RandomState,
    max_iter: int = 200,
    tol: float = 1e-10,
    n_init: int = 10,
    n_confirm: int = 0,
    exact_below: float = ROUNDING,
) -> Steps[StructuredFit]:
    """Fit the parameters of a structured product, step by step.

    Parameters
    ----------
    X : ndarray or sparse of shape (m, n)
        Data.
    structures : sequence of K structures
        Factors from left to right.
    rng : RandomState
        Source of random starts.
    max_iter : int, default=200
        Largest number of iterations of each start.
    tol : float, default=1e-10
        A start ends when its objective decreases by less than this fraction.
    n_init : int, default=10
        Largest number of starts.
    n_confirm : int, default=0
        Starts that must end at the best parameters besides the first, before `n_init` is reached.
        0 accepts an exact fit at once; a fit with a residual always asks for one more start. With
        more than 0, an exact fit uses up `n_init` starts in search of a rival, unless the lifting
        operator is known to have kernel {0}.
    exact_below : float, default=1e-12
        Relative residual that counts as rounding.

    Yields
    ------
    Step
        Relative residual, and length of the last step relative to the parameters.

    Returns
    -------
    StructuredFit

    Raises
    ------
    ValueError
        If shapes do not fit (factors are named by index) or X is zero.
    MemoryError
        If X as a dense array exceeds scikit-learn's ``working_memory``.
    """
    structures = check_structures(structures, np.shape(X))
    X = _dense_data(X)
    largest = float(np.abs(X).max())
    if largest == 0:
        raise ValueError(
            "X is zero: any zero factor explains it, so no parameter can be recovered."
        )
    # Squares of very small or large entries would underflow or overflow.
    norm = largest * float(np.linalg.norm(X / largest))
    X = X / norm
    operator = _operator_or_none(structures)
    residual = choose_residual(structures, X, operator)
    group = _gauge(operator, residual.sizes)

    # A lifted problem with one solution has no rival; otherwise every start looks for one.
    unique_lift = isinstance(residual, CompressedResidual) and residual.has_full_rank
    endings: list[Ending] = []
    best, n_agreeing, rival = 0, 0, None
    for start, theta in starts(residual, operator, X, rng):
        theta = best_scale(residual, structures, theta, X)
        ending = yield from levenberg_marquardt(
            residual, theta, max_iter=max_iter, tol=tol, start=start
        )
        endings.append(ending)
        best = min(range(len(endings)), key=lambda i: (_rounded(endings[i], exact_below), i))
        n_agreeing, rival = _agreement(endings, best, group, exact_below)
        exact = np.sqrt(endings[best].objective) <= exact_below
        wanted = 1 + (n_confirm if exact else max(n_confirm, 1))
        settled = not exact or n_confirm == 0 or unique_lift or rival is not None
        if (n_agreeing >= wanted and settled) or len(endings) >= n_init:
            break
    return summarise(
        X,
        norm,
        structures,
        residual,
        operator,
        group,
        endings,
        best,
        n_agreeing,
        rival,
        exact_below,
        unique_lift,
        rng,
    )


def _rounded(ending: Ending, exact_below: float) -> float:
    """Objective, with all exact fits equal: the first of them wins."""
    return max(ending.objective, exact_below**2)


def _agreement(
    endings: list[Ending], best: int, group: Rescalings, exact_below: float
) -> tuple[int, np.ndarray | None]:
    """Count endings at the best parameters; return a rival that fits as well, if there is one."""
    reference = balance(endings[best].theta, group)
    n_agreeing, rival = 0, None
    for ending in endings:
        if _rounded(ending, exact_below) > _rounded(endings[best], exact_below) * (1 + AGREEMENT):
            continue
        aligned = align_signs(balance(ending.theta, group), reference, group)
        if np.linalg.norm(aligned - reference) <= 1e-3 * np.linalg.norm(reference):
            n_agreeing += 1
        else:
            rival = aligned
    return n_agreeing, rival


def _gauge(operator: LiftingOperator | None, sizes: list[int]) -> Rescalings:
    if operator is None or operator.complete or sum(sizes) > LARGEST_GAUGE_PROBLEM:
        return layer_rescalings(sizes)
    return path_rescalings(operator.paths, sizes)


def _operator_or_none(structures: list[Any]) -> LiftingOperator | None:
    """The lifting operator, as a matrix only where compression can use it."""
    n_rows = structures[0].shape[0] * structures[-1].shape[1]
    sizes = [structure.n_parameters for structure in structures]
    dense = not any(sparse.issparse(structure.basis()) for structure in structures)
    worthwhile = compression_pays(n_rows, math.prod(sizes), n_rows, sum(sizes))
    try:
        return lifting_operator(structures, explicit=False if dense and not worthwhile else None)
    except MemoryError:
        return None


def _dense_data(X: Any) -> np.ndarray:
    require_memory(
        8.0 * np.shape(X)[0] * np.shape(X)[1],
        working_memory_bytes(),
        "X as a dense array",
        "a structured product is compared with X entry by entry: raise working_memory.",
    )
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64)
