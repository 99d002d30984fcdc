"""What is known about a fitted structured product: its errors, its freedom, its misfit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_nnrecover.linalg.rescalings import Rescalings, balance, gauge_tangent
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.structured.damped_steps import split
from sklearn_nnrecover.products.structured.factor_residuals import dense_product
from sklearn_nnrecover.products.structured.lack_of_fit import (
    combined_p_value,
    random_lift_p_value,
    signal_p_value,
    simulated_signal_p_value,
    singular_value_p_value,
)
from sklearn_nnrecover.products.structured.levenberg_marquardt import (
    Ending,
    levenberg_marquardt,
    local_geometry,
)
from sklearn_nnrecover.products.structured.lifting import LiftingOperator
from sklearn_nnrecover.products.structured.structured_residuals import Residual, choose_residual
from sklearn_nnrecover.products.structured.structured_starts import best_scale, starts

ROUNDING = 1e-12
AGREEING_STARTS = 3
"""Starts that must end at the same exact fit where the lifted problem has one solution."""

AGREEING_STARTS_IN_A_KERNEL = 6
"""The same where it has more, of which another may be a product: of two equally attractive exact
fits one is missed with probability 1/32."""

LEVEL = 0.001
NOISE_FITS = 6
NOISE_ITERATIONS = 30


@dataclass(frozen=True, eq=False)
class StructuredFit:
    """Parameters of a structured product, and what is known about them.

    Attributes
    ----------
    parameters : list of K ndarrays
        h_k, balanced: of least norm among all rescalings that leave the product unchanged.
    factors : list of K scipy.sparse.csr_array
        M_k(h_k).
    residual_norm, relative_residual : float
        Frobenius norm of X minus the product, and that over the norm of X.
    noise_std : float
        Estimated standard deviation of the noise per entry; 0 when the fit is exact.
    standard_errors : list of K ndarrays
        Of the balanced parameters: 0 when exact, inf where the data leave a parameter free.
    exact : bool
        Whether the residual is rounding.
    n_parameters, jacobian_rank, gauge_dimension : int
        Rank at the solution, and dimension of the rescalings; the rank is -1 when the Jacobian is
        too large to decompose.
    pinned_down : bool
        Whether the data leave nothing free but the rescalings, near the solution.
    lack_of_fit : float or None
        p-value of the tests whether noise explains the residual (see `lack_of_fit`); None when the
        fit is exact, or no test could be made.
    signal : float or None
        Bound on the p-value of the explained energy, were X pure noise.
    converged : bool
        Whether the best start ended before ``max_iter``.
    n_iter, n_starts, n_agreeing : int
        Iterations over all starts; starts made; starts that ended at these parameters.
    rival : list of K ndarrays or None
        Different parameters that fit as well, when some start found them.
    start : str
        Kind of the start that won.
    unique_lift : bool
        Whether the lifting operator is known to have kernel {0}.
    """

    parameters: list[np.ndarray]
    factors: list[sparse.csr_array]
    residual_norm: float
    relative_residual: float
    noise_std: float
    standard_errors: list[np.ndarray]
    exact: bool
    n_parameters: int
    jacobian_rank: int
    gauge_dimension: int
    pinned_down: bool
    lack_of_fit: float | None
    signal: float | None
    converged: bool
    n_iter: int
    n_starts: int
    n_agreeing: int
    rival: list[np.ndarray] | None
    start: str
    unique_lift: bool

    @property
    def n_wanted(self) -> int:
        """Starts that must agree for an exact fit to be isolated."""
        return AGREEING_STARTS if self.unique_lift else AGREEING_STARTS_IN_A_KERNEL


def summarise(
    X: np.ndarray,
    norm: float,
    structures: list[Any],
    residual: Residual,
    operator: LiftingOperator | None,
    group: Rescalings,
    endings: list[Ending],
    best: int,
    n_agreeing: int,
    rival: np.ndarray | None,
    exact_below: float,
    unique_lift: bool,
    rng: np.random.RandomState,
) -> StructuredFit:
    """Bring the best ending to the data's scale, and measure what is known about it.

    Parameters
    ----------
    X : ndarray of shape (m, n)
        Data of norm 1.
    norm : float
        Norm that they had.
    structures : list of structures
    residual : Residual
    operator : LiftingOperator or None
    group : Rescalings
    endings : list of Ending
        All starts made; ``best`` is the index of the one that won.
    best, n_agreeing : int
    rival : ndarray or None
        Other parameters that fit as well, balanced.
    exact_below : float
        Relative residual that counts as rounding.
    unique_lift : bool
        Whether the lifting operator is known to have kernel {0}.
    rng : RandomState
    """
    theta = balance(endings[best].theta, group)
    scale = norm ** (1 / len(structures))
    parameters = split(theta * scale, residual.sizes)
    factors = [sparse.csr_array(s.matrix(h)) for s, h in zip(structures, parameters, strict=True)]
    difference = X - dense_product(factors) / norm
    relative = float(np.linalg.norm(difference))
    exact = relative <= exact_below
    rank, free, variance = local_geometry(residual, theta)
    determined = rank if rank >= 0 else len(theta) - group.dimension
    degrees = X.size - determined
    noise_std = 0.0 if exact else relative * norm / np.sqrt(degrees) if degrees > 0 else np.inf
    pinned_down = rank == len(theta) - group.dimension
    if exact:
        errors = np.zeros(len(theta))
    elif rank < 0:
        errors = np.full(len(theta), np.inf)
    else:
        errors = noise_std / norm * np.sqrt(variance) * scale
    if rank >= 0 and not pinned_down:
        errors[_moved_beyond(free, group, theta)] = np.inf
    lack_of_fit = signal = None
    if not exact and np.isfinite(noise_std):
        lack_of_fit = combined_p_value(
            random_lift_p_value(residual, operator, theta, rank, rng),
            singular_value_p_value(difference, noise_std / norm),
        )
        n_paths = math.prod(residual.sizes) if operator is None else operator.shape[1]
        signal = signal_p_value(relative, residual.sizes, n_paths, X.size)
        if signal is None or signal > LEVEL:
            noise_fits = [
                _fit_to_noise(structures, X.shape, operator, rng) for _ in range(NOISE_FITS)
            ]
            signal = simulated_signal_p_value(relative, noise_fits)
    return StructuredFit(
        parameters=parameters,
        factors=factors,
        residual_norm=relative * norm,
        relative_residual=relative,
        noise_std=float(noise_std),
        standard_errors=split(errors, residual.sizes),
        exact=exact,
        n_parameters=len(theta),
        jacobian_rank=rank,
        gauge_dimension=group.dimension,
        pinned_down=pinned_down,
        lack_of_fit=lack_of_fit,
        signal=signal,
        converged=endings[best].converged,
        n_iter=sum(ending.n_iter for ending in endings),
        n_starts=len(endings),
        n_agreeing=n_agreeing,
        rival=None if rival is None else split(rival * scale, residual.sizes),
        start=endings[best].start,
        unique_lift=unique_lift,
    )


def _moved_beyond(free: np.ndarray, group: Rescalings, theta: np.ndarray) -> np.ndarray:
    """Parameters that null directions of the Jacobian move and rescalings do not."""
    gauge = gauge_tangent(theta, group)
    beyond = free - gauge @ (gauge.T @ free)
    return np.linalg.norm(beyond, axis=1) > 1e-6


def _fit_to_noise(
    structures: list[Any],
    shape: tuple[int, int],
    operator: LiftingOperator | None,
    rng: np.random.RandomState,
) -> float:
    """Relative residual of a fit to pure noise, from the best start that the lifting gives."""
    X = rng.standard_normal(shape)
    X /= np.linalg.norm(X)
    residual = choose_residual(structures, X, operator)
    _, theta = next(starts(residual, operator, X, rng))
    theta = best_scale(residual, structures, theta, X)
    ending = run_to_end(levenberg_marquardt(residual, theta, max_iter=NOISE_ITERATIONS, tol=1e-2))
    return float(np.sqrt(ending.objective))


def fit_conditions(
    fit: StructuredFit, *, proven: bool = False
) -> list[tuple[str, float, float, bool, str]]:
    """What was checked after a structured fit, as (name, value, threshold, passed, meaning).

    Parameters
    ----------
    fit : StructuredFit
        Result of `fit_structured`.
    proven : bool, default=False
        Whether a certificate makes agreeing starts unnecessary.
    """
    needed = fit.n_parameters - fit.gauge_dimension
    wanted = 1 if proven else fit.n_wanted if fit.exact else 2
    conditions = [
        (
            "relative_residual",
            fit.relative_residual,
            ROUNDING,
            fit.exact,
            "the product of the factors reproduces X to rounding",
        ),
        (
            "jacobian_rank",
            float(fit.jacobian_rank),
            float(needed),
            fit.pinned_down,
            "near the solution nothing is free but rescalings",
        ),
        (
            "agreeing_starts",
            float(fit.n_agreeing),
            float(wanted),
            fit.n_agreeing >= wanted,
            "independent starts end at the same parameters",
        ),
        (
            "rival_solutions",
            float(fit.rival is not None),
            0.0,
            fit.rival is None,
            "no start found different parameters that fit as well",
        ),
    ]
    if fit.lack_of_fit is not None:
        conditions.append(
            (
                "lack_of_fit_p_value",
                fit.lack_of_fit,
                LEVEL,
                fit.lack_of_fit >= LEVEL,
                "noise alone explains the residual (random lifts, largest singular value)",
            )
        )
    if fit.signal is not None:
        conditions.append(
            (
                "signal_p_value",
                fit.signal,
                LEVEL,
                fit.signal <= LEVEL,
                "the product explains more of X than it would of pure noise",
            )
        )
    return conditions
