"""Starting points for a structured product, from its lifted (linear) problem.

Solving ``A T = X`` for the tensor T gives ``P(h)`` itself where the kernel of A is {0} and the data
are free of noise. A rank-one approximation of T is then the solution; otherwise it is a start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.linalg
from scipy import sparse
from scipy.sparse.linalg import lsmr

from sklearn_nnrecover.linalg.rescalings import solve_binary
from sklearn_nnrecover.products.structured.damped_steps import split
from sklearn_nnrecover.products.structured.factor_residuals import dense_product
from sklearn_nnrecover.products.structured.lifted_residuals import CompressedResidual
from sklearn_nnrecover.products.structured.lifting import LiftingOperator
from sklearn_nnrecover.products.structured.structured_residuals import Residual

SPECTRAL_ITERATIONS = 2
LIFTED_ITERATIONS = 1000
RANDOM_BEFORE_LIFTED = 3
LARGEST_MONOMIAL_SYSTEM = 3000
POWER_SWEEPS = 10


def starts(
    residual: Residual,
    operator: LiftingOperator | None,
    X: np.ndarray,
    rng: np.random.RandomState,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield named starting points, the most promising first, without end.

    Parameters
    ----------
    residual : Residual
        Model of the residual; a compressed one solves the lifted problem directly.
    operator : LiftingOperator or None
        The lifting operator where it could be built.
    X : ndarray of shape (m, n)
        Data.
    rng : RandomState
        Source of the random starts.

    Yields
    ------
    name : str
        ``"lifted"``, ``"spectral"`` (a few iterations on the lifted problem) or ``"random"``.
    theta : ndarray of shape (n_parameters,)
        Concatenated parameters.
    """
    sizes = residual.sizes
    if operator is not None and not operator.complete and sum(sizes) > LARGEST_MONOMIAL_SYSTEM:
        operator = None
    if isinstance(residual, CompressedResidual) and operator is not None:
        values = scipy.linalg.lstsq(residual.triangle, residual.target, lapack_driver="gelsd")[0]
        yield "lifted", rank_one(operator, values)
    elif operator is not None:
        yield "spectral", _from_lifted_problem(operator, X, SPECTRAL_ITERATIONS)
        for _ in range(RANDOM_BEFORE_LIFTED):
            yield "random", rng.standard_normal(sum(sizes))
        if operator.shape[1] <= operator.shape[0]:  # else the kernel cannot be {0}
            yield "lifted", _from_lifted_problem(operator, X, LIFTED_ITERATIONS)
    while True:
        yield "random", rng.standard_normal(sum(sizes))


def _from_lifted_problem(operator: LiftingOperator, X: np.ndarray, n_iter: int) -> np.ndarray:
    values = lsmr(operator, X.ravel(), atol=0.0, btol=1e-15, conlim=0.0, maxiter=n_iter)[0]
    return rank_one(operator, values)


def rank_one(operator: LiftingOperator, values: np.ndarray) -> np.ndarray:
    """Parameters whose tensor is close to given values on the feasible paths."""
    if operator.complete:
        return np.concatenate(rank_one_tensor(operator.tensor(values)))
    return rank_one_on_paths(operator.paths, values, operator.sizes)


def rank_one_tensor(tensor: np.ndarray) -> list[np.ndarray]:
    """Rank-one approximation: truncated higher-order SVD, then higher-order power iterations."""
    factors = []
    for k in range(tensor.ndim):
        unfolded = np.moveaxis(tensor, k, 0).reshape(tensor.shape[k], -1)
        factors.append(np.linalg.eigh(unfolded @ unfolded.T)[1][:, -1])
    for _ in range(POWER_SWEEPS if tensor.ndim > 1 else 1):
        for k in range(tensor.ndim):
            contracted = tensor
            for other in reversed(range(tensor.ndim)):
                if other != k:
                    contracted = np.tensordot(contracted, factors[other], axes=(other, 0))
            norm = float(np.linalg.norm(contracted))
            if norm == 0:
                break
            factors[k] = contracted / norm
    scale = norm ** (1 / tensor.ndim)
    return [scale * factor for factor in factors]


def rank_one_on_paths(paths: np.ndarray, values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Rank-one fit of a tensor known on some paths only: least squares on logarithms, then signs.

    Every path's magnitude is a sum of logarithms and its sign a sum over two elements. Small paths
    have the least certain logarithm and sign: weights grow with the magnitude.
    """
    columns = paths + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    n_parameters = int(np.sum(sizes))
    magnitude = np.abs(values)
    weight = magnitude / max(float(magnitude.max(initial=0.0)), 1e-300)
    certain = weight > 1e-12
    ends = np.arange(int(certain.sum()) + 1) * paths.shape[1]
    incidence = sparse.csr_array(
        (np.ones(ends[-1]), columns[certain].ravel(), ends), shape=(len(ends) - 1, n_parameters)
    )
    weighted = incidence.T.multiply(weight[certain]).tocsr()
    gram, target = (weighted @ incidence).toarray(), weighted @ np.log(magnitude[certain])
    log_scale = scipy.linalg.lstsq(gram, target, cond=1e-13)[0]
    order = np.argsort(-weight, kind="stable")
    negative = solve_binary(columns[order], values[order] < 0, n_parameters)
    theta = np.exp(log_scale) * np.where(negative, -1.0, 1.0)
    theta[np.diag(gram) == 0] = 0.0  # on no path that carries anything
    return theta


def best_scale(
    residual: Residual, structures: list[Any], theta: np.ndarray, X: np.ndarray
) -> np.ndarray:
    """Scale a start so that its product is the best multiple of itself.

    Parameters
    ----------
    residual : Residual
    structures : list of structures
    theta : ndarray of shape (n_parameters,)
        Start.
    X : ndarray of shape (m, n)
        Data.
    """
    parts = split(theta, residual.sizes)
    product = dense_product([s.matrix(h) for s, h in zip(structures, parts, strict=True)])
    energy = float(np.sum(product**2))
    overlap = float(np.sum(product * X))
    if energy == 0 or overlap == 0:
        return theta
    # A negative multiple belongs to the first layer.
    theta = theta * (abs(overlap) / energy) ** (1 / len(parts))
    theta[: len(parts[0])] *= np.sign(overlap)
    return theta
