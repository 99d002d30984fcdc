"""Deciding whether a structured product determines its parameters.

`certify` combines the kernel of the lifting operator, the rank of the Jacobian, the gauge of the
feasible paths and a search for witnesses into one verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sklearn_nnrecover.linalg.rescalings import Rescalings, layer_rescalings, path_rescalings
from sklearn_nnrecover.products.structured.certificate_verdicts import (
    IDENTIFIABLE,
    LOCALLY,
    NOT_IDENTIFIABLE,
    TOO_LARGE,
    Certificate,
)
from sklearn_nnrecover.products.structured.factor_residuals import dense_product
from sklearn_nnrecover.products.structured.levenberg_marquardt import local_geometry
from sklearn_nnrecover.products.structured.lifted_spectrum import LiftedSpectrum, lifted_spectrum
from sklearn_nnrecover.products.structured.lifting import LiftingOperator, lifting_operator
from sklearn_nnrecover.products.structured.structured_least_squares import LARGEST_GAUGE_PROBLEM
from sklearn_nnrecover.products.structured.structured_residuals import choose_residual
from sklearn_nnrecover.products.structured.support_models import (
    Model,
    check_models,
    models_of_size,
    pairwise_spectrum,
)
from sklearn_nnrecover.products.structured.witnesses import Witness, find_witness
from sklearn_nnrecover.products.structures import Restricted, check_structures


def certify(
    structures: Sequence[Any],
    *,
    supports: Sequence[Model] | None = None,
    n_nonzero: int | Sequence[int] | None = None,
    max_columns: int = 4096,
    max_models: int = 60,
    max_fits: int = 24,
    random_state: Any = 0,
) -> Certificate:
    """Decide whether a structured product determines its parameters.

    Parameters
    ----------
    structures : sequence of structures
        Factors from left to right.
    supports : sequence of models or None, default=None
        Collection of models: each is a list of K index arrays, the parameters of each factor that
        may be non-zero. The true model is unknown but one of them.
    n_nonzero : int, sequence of K ints or None, default=None
        Instead of `supports`: all models with so many non-zero parameters a factor.
    max_columns : int, default=4096
        Largest number of columns of the lifting operator that is decomposed. Beyond, only
        products with the operator are formed.
    max_models : int, default=60
        Largest number of models compared pairwise.
    max_fits : int, default=24
        Budget of the search for a witness, in fits.
    random_state : int, RandomState instance or None, default=0
        Seed of random parameters.

    Returns
    -------
    Certificate
        The verdict and what it rests on; `print` shows it as a table.

    Raises
    ------
    ValueError
        If the structures do not form a chain, or the models do not fit them.

    Examples
    --------
    >>> from sklearn_nnrecover.products.identifiability import certify
    >>> from sklearn_nnrecover.products.structures import Convolution
    >>> certify([Convolution(20, 3), Convolution(20, 3, dilation=3)]).verdict
    'identifiable'
    >>> certify([Convolution(20, 3), Convolution(20, 3)]).verdict
    'not identifiable'
    """
    chain = check_structures(structures)
    rng = check_random_state(random_state)
    if supports is not None and n_nonzero is not None:
        raise ValueError("give either supports or n_nonzero, not both.")
    sizes = tuple(structure.n_parameters for structure in chain)
    models: list[Model] | None = None
    if supports is not None:
        models = check_models(supports, sizes)
    elif n_nonzero is not None:
        models = models_of_size(n_nonzero, sizes, max_models)

    operator, refusal = _operator(chain)
    if operator is None:
        spectrum = LiftedSpectrum(None, np.nan, np.nan, np.nan, "none")
        group = layer_rescalings(sizes)
    else:
        spectrum = lifted_spectrum(operator, max_columns=max_columns, rng=rng)
        group = _gauge(operator)
    rank = _jacobian_rank(chain, operator, rng)
    n_expected = sum(sizes) - group.dimension
    measured = Certificate(
        verdict=TOO_LARGE,
        reason="",
        sizes=sizes,
        n_paths=None if operator is None else operator.shape[1],
        complete=operator is not None and operator.complete,
        kernel_dimension=spectrum.kernel_dimension,
        sigma_min=spectrum.sigma_min,
        sigma_max=spectrum.sigma_max,
        resolution=float(spectrum.resolution),
        gamma=np.nan,
        gauge_dimension=group.dimension,
        jacobian_rank=rank,
        witness=None,
        rescalings=group,
        n_models=0 if models is None else len(models),
    )

    def verdict(
        name: str, reason: str, gamma: float, witness: Witness | None = None
    ) -> Certificate:
        return replace(measured, verdict=name, reason=reason, gamma=gamma, witness=witness)

    if operator is not None and (idle := _idle_parameter(operator)) is not None:
        return verdict(
            NOT_IDENTIFIABLE,
            f"parameter {idle[1]} of structures[{idle[0]}] is on no feasible path: "
            "it does not change the product.",
            np.inf,
            _idle_witness(chain, idle, rng),
        )
    if operator is not None and spectrum.kernel_dimension == 0:
        free = group.dimension - (len(sizes) - 1)
        scales = f", up to {free} rescalings beyond the scales of the layers" if free else ""
        return verdict(
            IDENTIFIABLE,
            f"the lifting operator has kernel {{0}} on its {operator.shape[1]} feasible paths"
            f"{scales}.",
            1.0,
        )
    if models is not None:
        return _certify_models(chain, models, operator, group, spectrum, rng, max_fits, verdict)
    witness = find_witness(chain, group, rng, operator=operator, n_starts=max(1, max_fits // 3))
    if witness is not None:
        return verdict(
            NOT_IDENTIFIABLE,
            "two parameter lists that no rescaling relates have the same product (see witness).",
            np.inf,
            witness,
        )
    kernel = refusal or _describe_kernel(spectrum, operator, max_columns)
    if rank == n_expected:
        return verdict(
            LOCALLY,
            f"nothing but rescalings is free near generic parameters, and {max_fits} fits found no "
            f"second solution, but none is excluded ({kernel}).",
            np.nan,
        )
    reason = (
        f"the Jacobian is too large to decompose, and no fit found a witness ({kernel})."
        if rank < 0
        else f"the Jacobian leaves {n_expected - rank} directions free beyond rescalings, but the "
        f"budget of fits found no witness ({kernel})."
    )
    return verdict(TOO_LARGE, reason, np.nan)


def _certify_models(
    chain: list[Any],
    models: list[Model],
    operator: LiftingOperator | None,
    group: Rescalings,
    spectrum: LiftedSpectrum,
    rng: np.random.RandomState,
    max_fits: int,
    verdict: Callable[..., Certificate],
) -> Certificate:
    if operator is None:
        return verdict(TOO_LARGE, "the lifting operator does not fit the memory.", np.nan)
    gamma, failing = pairwise_spectrum(operator, models)
    if not failing:
        return verdict(
            IDENTIFIABLE,
            f"for each pair of the {len(models)} models the lifting operator has kernel {{0}} on "
            "their feasible paths.",
            gamma,
        )
    for i, j in failing[: max(1, max_fits // 2)]:
        first, second = (
            [Restricted(s, index) for s, index in zip(chain, models[m], strict=True)]
            for m in (i, j)
        )
        try:
            check_structures(first)
            check_structures(second)
        except ValueError:
            continue  # a model whose products are all zero
        witness = find_witness(
            first,
            group,
            rng,
            rival_structures=first if i == j else second,
            n_points=1,
            n_starts=max(2, max_fits // (2 * min(len(failing), max_fits))),
        )
        if witness is not None:
            return verdict(
                NOT_IDENTIFIABLE,
                f"parameters of models {i} and {j} have the same product (see witness).",
                np.inf,
                witness,
            )
    return verdict(
        TOO_LARGE,
        f"{len(failing)} pairs of models share a kernel, and the budget of fits found no witness.",
        np.nan,
    )


def _describe_kernel(
    spectrum: LiftedSpectrum, operator: LiftingOperator | None, max_columns: int
) -> str:
    if spectrum.kernel_dimension is not None or operator is None:
        return f"the lifting operator has a kernel of dimension {spectrum.kernel_dimension}"
    n_columns = operator.shape[1]
    return (
        f"the kernel of the lifting operator is open: its {n_columns} columns exceed "
        f"max_columns={max_columns}, and a decomposition takes about {3.0 * n_columns**3:.0e} "
        f"operations and {16.0 * n_columns**2 / 2**20:,.0f} MiB"
    )


def _operator(chain: list[Any]) -> tuple[LiftingOperator | None, str]:
    try:
        return lifting_operator(chain), ""
    except MemoryError as error:
        return None, str(error)


def _gauge(operator: LiftingOperator) -> Rescalings:
    if operator.complete or sum(operator.sizes) > LARGEST_GAUGE_PROBLEM:
        return layer_rescalings(operator.sizes)
    return path_rescalings(operator.paths, operator.sizes)


def _jacobian_rank(
    chain: list[Any], operator: LiftingOperator | None, rng: np.random.RandomState
) -> int:
    theta = rng.standard_normal(sum(structure.n_parameters for structure in chain))
    shape = (chain[0].shape[0], chain[-1].shape[1])
    return local_geometry(choose_residual(chain, np.zeros(shape), operator), theta)[0]


def _idle_parameter(operator: LiftingOperator) -> tuple[int, int] | None:
    """First parameter on no feasible path, as (factor, index)."""
    for k, size in enumerate(operator.sizes):
        used = np.bincount(operator.paths[:, k], minlength=size) > 0
        if not used.all():
            return k, int(np.argmin(used))
    return None


def _idle_witness(chain: list[Any], idle: tuple[int, int], rng: np.random.RandomState) -> Witness:
    first = [rng.standard_normal(structure.n_parameters) for structure in chain]
    second = [h.copy() for h in first]
    second[idle[0]][idle[1]] += 1.0
    X, Y = (
        dense_product([s.matrix(h) for s, h in zip(chain, parameters, strict=True)])
        for parameters in (first, second)
    )
    size = float(np.linalg.norm(np.concatenate(first)))
    return Witness(first, second, float(np.linalg.norm(X - Y) / np.linalg.norm(X)), 1.0 / size)
