"""From data to a chain of sparse factors with its status: prepare, peel, normalise, judge."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..linalg.steps import Step
from .correlation_graph import correlation_factor
from .factor_gauge import normalize_chain
from .integer_unit import integer_unit, noisy_integer_unit
from .peeling import Chain, Evidence, Matrix, PeelMethod, count_nonzero, peel_chain
from .recovery_status import Status, chain_status, lack_of_fit, product_error, unit_table
from .sparse_two_factors import intersection_factor

AUTOMATIC = ("intersection",)
"""Methods of ``method="auto"``, in the order in which they are tried on every piece."""


class Recovery(NamedTuple):
    """``X ~ scale * factors[0] @ factors[1] @ ...`` and what is known about it.

    ``n_factors`` is 1 when nothing was recovered and ``factors`` is [X, I].
    """

    factors: list[sp.csr_array]
    scale: float
    scale_std: float
    n_factors: int
    status: Status
    conditions: list[Evidence]
    units: list[dict]


class PreparedData(NamedTuple):
    """``X = unit * matrix + noise``; integer data have an integer ``matrix``."""

    matrix: Matrix
    unit: float
    noise_std: float
    conditions: list[Evidence]


def peel_methods(method: str, n_init: int, max_iter: int) -> dict[str, PeelMethod]:
    """Return the peel methods that ``method`` stands for, by name."""
    registry: dict[str, PeelMethod] = {
        "correlation": correlation_factor,
        "intersection": partial(intersection_factor, n_init=n_init, budget=max_iter),
    }
    names = AUTOMATIC if method == "auto" else (method,)
    return {name: registry[name] for name in names}


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


def recover_chain(
    X: Matrix,
    *,
    method: str,
    n_factors: int | None,
    n_nonzero: int | None,
    n_init: int,
    max_iter: int,
    eps: float,
    rng: np.random.RandomState,
) -> Generator[Step, None, Recovery]:
    """Recover sparse factors of X.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
    method : str
        ``"auto"`` or the name of one method.
    n_factors, n_nonzero : int or None
        Number of factors and bound on the non-zeros of their rows, None where unknown.
    n_init, max_iter : int
        Starts, and sweeps of each.
    eps : float
        Rounding of X, relative to its largest entry.
    rng : RandomState

    Yields
    ------
    Step

    Returns
    -------
    Recovery
    """
    data = prepare_data(X, eps)
    yield Step(float(count_nonzero(data.matrix)), 1.0)
    if count_nonzero(data.matrix):
        methods = peel_methods(method, n_init, max_iter)
        chain = yield from peel_chain(
            data.matrix, methods, rng=rng, n_factors=n_factors, n_nonzero=n_nonzero
        )
    else:
        chain = Chain([sp.csr_array(data.matrix)], [], [])
    if not chain.links:
        return nothing_recovered(X, chain_status(chain, 0.0, 0.0, None), data.conditions)
    return _finish(X, data, chain, eps)


def _finish(X: Matrix, data: PreparedData, chain: Chain, eps: float) -> Recovery:
    factors, orders = normalize_chain(chain.factors)
    links = [
        link._replace(proven=link.proven[order])
        for link, order in zip(chain.links, orders, strict=True)
    ]
    common = integer_unit(factors[0].data, rtol=1e-12)
    if common is not None:
        factors[0] = sp.csr_array(
            (np.round(factors[0].data / common), factors[0].indices, factors[0].indptr),
            shape=factors[0].shape,
        )
    scale = data.unit * (common or 1.0)
    fit, scale_std = None, 0.0
    if data.noise_std:
        scale, scale_std = _scale_by_least_squares(X, factors, scale)
        fit = lack_of_fit(X, scale, factors)
    error = product_error(X, scale, factors)
    tolerance = max(100 * eps, 1e-8 if common is None else 0.0)
    status = chain_status(chain._replace(links=links), error, tolerance, fit)
    conditions = [
        *data.conditions,
        Evidence(
            "error of the product",
            error,
            tolerance,
            error <= tolerance,
            "X is reproduced to rounding",
        ),
        *chain.evidence,
        *([] if fit is None else [fit]),
    ]
    return Recovery(
        factors, scale, scale_std, len(factors), status, conditions, unit_table(links, factors)
    )


def _scale_by_least_squares(
    X: np.ndarray, factors: list[sp.csr_array], scale: float
) -> tuple[float, float]:
    """Refit the common scale of a chain of integers to noisy data, with its standard error."""
    product = factors[0]
    for factor in factors[1:]:
        product = sp.csr_array(product @ factor)
    model = product.toarray()
    energy = float(np.sum(model**2))
    scale = float(np.sum(X * model)) / energy
    noise = float(np.sqrt(np.mean((X - scale * model) ** 2)))
    return scale, noise / np.sqrt(energy)


def nothing_recovered(X: Matrix, status: Status, conditions: list[Evidence]) -> Recovery:
    """Return [X, I]."""
    identity = sp.csr_array(sp.eye_array(X.shape[1], format="csr"))
    found = Evidence(
        "factors", 1, 2, False, "a sparse factor was found from one end of the product"
    )
    return Recovery(
        [sp.csr_array(X, copy=True), identity], 1.0, 0.0, 1, status, [*conditions, found], []
    )
