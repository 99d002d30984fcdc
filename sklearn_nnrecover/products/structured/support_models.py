"""Collections of models: parameters with sparse supports, one of which holds but is not known.

A model is a list of K index arrays, the parameters of each factor that may be non-zero. The factors
are identifiable over a collection if and only if, for every two models L and L', the kernel of the
lifting operator meets ``P(M^L) - P(M^L')`` in 0 alone; that follows when the operator's columns on
the paths of both models are independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_nnrecover.products.structured.lifting import LiftingOperator, qr_triangle

Model = Sequence[Any]


def check_models(supports: Sequence[Model], sizes: Sequence[int]) -> list[Model]:
    """Validate a collection of models.

    Parameters
    ----------
    supports : sequence of models
        Each a list of K index arrays.
    sizes : sequence of int
        Number of parameters of each factor.

    Raises
    ------
    ValueError
        If a model has not K supports, or one is empty or out of range; named by indices.
    """
    models: list[Model] = []
    for m, model in enumerate(supports):
        if len(model) != len(sizes):
            raise ValueError(
                f"supports[{m}] has {len(model)} index arrays but there are {len(sizes)} factors."
            )
        arrays = [np.unique(np.asarray(index, dtype=np.intp)) for index in model]
        for k, (index, size) in enumerate(zip(arrays, sizes, strict=True)):
            if not index.size:
                raise ValueError(f"supports[{m}][{k}] is empty: its product would be zero.")
            if index[0] < 0 or index[-1] >= size:
                raise ValueError(
                    f"supports[{m}][{k}] leaves the range of the {size} parameters of "
                    f"structures[{k}]."
                )
        models.append(arrays)
    if not models:
        raise ValueError("supports is empty: give at least one model.")
    return models


def models_of_size(
    n_nonzero: int | Sequence[int], sizes: Sequence[int], max_models: int
) -> list[Model]:
    """All models with a given number of non-zero parameters a factor.

    Parameters
    ----------
    n_nonzero : int or sequence of K ints
        Non-zero parameters of each factor.
    sizes : sequence of int
        Number of parameters of each factor.
    max_models : int
        Largest number of models.

    Raises
    ------
    ValueError
        If a number is out of range, or there would be more models than `max_models`.
    """
    counts: list[int] = np.asarray(n_nonzero, dtype=int).ravel().tolist()
    if np.ndim(n_nonzero) == 0:
        counts = counts * len(sizes)
    if len(counts) != len(sizes):
        raise ValueError(f"n_nonzero has {len(counts)} entries but there are {len(sizes)} factors.")
    for k, (count, size) in enumerate(zip(counts, sizes, strict=True)):
        if not 1 <= count <= size:
            raise ValueError(
                f"n_nonzero={count} must be between 1 and the {size} parameters of structures[{k}]."
            )
    n_models = math.prod(math.comb(s, c) for s, c in zip(sizes, counts, strict=True))
    if n_models > max_models:
        raise ValueError(
            f"n_nonzero={n_nonzero!r} gives {n_models} models and {n_models * (n_models + 1) // 2} "
            f"pairs of them, more than max_models={max_models} allows; pass the supports that are "
            "possible, or raise max_models."
        )
    choices = [
        [np.array(c) for c in combinations(range(size), count)]
        for size, count in zip(sizes, counts, strict=True)
    ]
    return [list(model) for model in product(*choices)]


def pairwise_spectrum(
    operator: LiftingOperator, models: Sequence[Model]
) -> tuple[float, list[tuple[int, int]]]:
    """Constant of the deep null-space property over a collection of models.

    For tensors T supported on the paths of two models, ``|T| <= gamma dist(T, ker A)`` with 1/gamma
    the smallest singular value of the row space of A on those paths.

    Parameters
    ----------
    operator : LiftingOperator
        The lifting operator.
    models : sequence of models
        The collection.

    Returns
    -------
    gamma : float
        The constant; meaningless when some pair fails.
    failing : list of pairs of int
        Pairs of models on whose paths the operator has a kernel.
    """
    matrix: Any = operator.matrix
    if matrix is None:
        matrix = operator @ np.eye(operator.shape[1])
    dense = matrix.toarray() if sparse.issparse(matrix) else matrix
    if len(dense) > dense.shape[1]:
        dense = qr_triangle(dense)
    _, singular, right = np.linalg.svd(dense, full_matrices=False)
    row_space = right[singular > 1e-12 * singular[0]]
    on_paths = []
    for model in models:
        inside = np.ones(len(operator.paths), dtype=bool)
        for k, index in enumerate(model):
            allowed = np.zeros(operator.sizes[k], dtype=bool)
            allowed[index] = True
            inside &= allowed[operator.paths[:, k]]
        on_paths.append(inside)
    gamma, failing = 1.0, []
    for i in range(len(models)):
        for j in range(i, len(models)):
            columns = row_space[:, on_paths[i] | on_paths[j]]
            if not columns.shape[1]:
                failing.append((i, j))
                continue
            smallest = 0.0
            if columns.shape[1] <= len(row_space):
                smallest = float(np.linalg.svd(columns, compute_uv=False)[-1])
            if smallest <= 1e-10:
                failing.append((i, j))
            else:
                gamma = max(gamma, 1 / smallest)
    return gamma, failing
