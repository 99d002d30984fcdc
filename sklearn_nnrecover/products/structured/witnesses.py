"""Witnesses: two lists of parameters with the same product that no rescaling relates.

One witness settles that a structured product is not identifiable. Candidates come from fits of a
product of known parameters that start elsewhere: along null directions of the Jacobian, where there
are some beyond the gauge, and at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.rescalings import Rescalings, align_signs, balance, gauge_tangent
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.structured.damped_steps import split
from sklearn_nnrecover.products.structured.factor_residuals import dense_product
from sklearn_nnrecover.products.structured.levenberg_marquardt import (
    levenberg_marquardt,
    local_geometry,
)
from sklearn_nnrecover.products.structured.lifting import LiftingOperator
from sklearn_nnrecover.products.structured.structured_residuals import Residual, choose_residual
from sklearn_nnrecover.products.structures import Restricted

SAME_PRODUCT = 1e-12
DIFFERENT_PARAMETERS = 1e-2


class Witness(NamedTuple):
    """Two parameter lists with one product.

    Attributes
    ----------
    first, second : list of K ndarrays
        The parameters, balanced.
    residual : float
        Norm of the difference of the two products, relative to the product.
    distance : float
        Distance of the parameters modulo rescalings, relative to their norm.
    """

    first: list[np.ndarray]
    second: list[np.ndarray]
    residual: float
    distance: float


def find_witness(
    structures: list[Any],
    group: Rescalings,
    rng: np.random.RandomState,
    *,
    operator: LiftingOperator | None = None,
    rival_structures: list[Any] | None = None,
    n_points: int = 3,
    n_starts: int = 8,
    max_iter: int = 300,
) -> Witness | None:
    """Search for a witness within a budget of fits.

    Parameters
    ----------
    structures : list of structures
        Factors.
    group : Rescalings
        Rescalings that do not count as different (of the unrestricted parameters).
    rng : RandomState
        Source of parameters and starts.
    operator : LiftingOperator or None, default=None
        The lifting operator of `rival_structures`, where it exists: it makes fits fast.
    rival_structures : list of structures or None, default=None
        Where the second parameters are looked for; the same structures by default. Restricted
        structures are compared after embedding.
    n_points, n_starts, max_iter : int
        Products tried, starts for each, iterations for each start.
    """
    rivals = structures if rival_structures is None else rival_structures
    sizes = [structure.n_parameters for structure in rivals]
    for _ in range(n_points):
        truth = [rng.standard_normal(structure.n_parameters) for structure in structures]
        X = _product(structures, truth)
        norm = float(np.linalg.norm(X))
        if norm == 0:
            continue
        truth = [h / norm ** (1 / len(truth)) for h in truth]
        X = X / norm
        residual = choose_residual(rivals, X, operator)
        for theta in _starts(rivals, residual, truth, group, rng, n_starts):
            ending = run_to_end(levenberg_marquardt(residual, theta, max_iter=max_iter))
            if ending.objective > SAME_PRODUCT**2:
                continue
            witness = compare(structures, truth, rivals, split(ending.theta, sizes), group)
            if witness.residual <= SAME_PRODUCT and witness.distance > DIFFERENT_PARAMETERS:
                return witness
    return None


def _starts(
    rivals: list[Any],
    residual: Residual,
    truth: list[np.ndarray],
    group: Rescalings,
    rng: np.random.RandomState,
    n_starts: int,
) -> Iterator[np.ndarray]:
    if [structure.n_parameters for structure in rivals] == [len(h) for h in truth]:
        theta = np.concatenate(truth)
        _, free, _ = local_geometry(residual, theta)
        rows = _free_parameters(rivals)
        gauge = gauge_tangent(theta, Rescalings(group.log_scales[rows], group.signs[rows]))
        beyond = free - gauge @ (gauge.T @ free)
        direction = beyond @ (beyond.T @ rng.standard_normal(len(theta)))
        if (length := float(np.linalg.norm(direction))) > 1e-6:
            yield theta + 0.5 * np.linalg.norm(theta) / length * direction
    n_parameters = sum(structure.n_parameters for structure in rivals)
    for _ in range(n_starts):
        yield rng.standard_normal(n_parameters) / np.sqrt(n_parameters)


def _free_parameters(structures: list[Any]) -> np.ndarray:
    """Indices of restricted parameters among all parameters."""
    indices, start = [], 0
    for structure in structures:
        if isinstance(structure, Restricted):
            indices.append(start + structure.support)
            start += structure.structure.n_parameters
        else:
            indices.append(start + np.arange(structure.n_parameters))
            start += structure.n_parameters
    return np.concatenate(indices)


def compare(
    structures: list[Any],
    first: list[np.ndarray],
    rivals: list[Any],
    second: list[np.ndarray],
    group: Rescalings,
) -> Witness:
    """Measure how far two parameter lists differ, in their products and modulo rescalings."""
    X, Y = _product(structures, first), _product(rivals, second)
    embedded = [
        [s.embed(h) if isinstance(s, Restricted) else h for s, h in zip(chain, h_list, strict=True)]
        for chain, h_list in ((structures, first), (rivals, second))
    ]
    sizes = [len(h) for h in embedded[0]]
    reference = balance(np.concatenate(embedded[0]), group)
    other = align_signs(balance(np.concatenate(embedded[1]), group), reference, group)
    return Witness(
        split(reference, sizes),
        split(other, sizes),
        float(np.linalg.norm(X - Y) / np.linalg.norm(X)),
        float(np.linalg.norm(reference - other) / np.linalg.norm(reference)),
    )


def _product(structures: list[Any], parameters: list[np.ndarray]) -> np.ndarray:
    return dense_product([s.matrix(h) for s, h in zip(structures, parameters, strict=True)])
