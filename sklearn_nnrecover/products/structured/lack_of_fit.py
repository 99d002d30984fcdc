"""Tests whether noise alone explains the residual of a structured fit.

Three tests with known levels under independent Gaussian noise of one unknown variance:

* *random lifts*: an F test of the residual against random directions ``A t`` of the lifted model,
  of which the product is a tiny part, after the tangent space of the product is projected out;
* *largest singular value* of the residual matrix against the Tracy-Widom law: structure that the
  model misses is usually of low rank, noise is not;
* *signal*: the product explains more than the best fit to pure noise would.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.sparse.linalg import svds

from sklearn_nnrecover.products.structured.factor_residuals import FactorResidual
from sklearn_nnrecover.products.structured.lifted_residuals import CompressedResidual
from sklearn_nnrecover.products.structured.lifting import LiftingOperator, qr_triangle
from sklearn_nnrecover.products.structured.structured_residuals import Residual

RANDOM_LIFTS = 64
LEAST_DEGREES = 8
LARGEST_DECOMPOSED = 600
# The Tracy-Widom law of order 1 is nearly a shifted gamma law (Chiani, J. Multivariate Anal. 2014).
TRACY_WIDOM_SHAPE, TRACY_WIDOM_SCALE, TRACY_WIDOM_SHIFT = 46.446, 0.186054, 9.84801


def random_lift_p_value(
    residual: Residual,
    operator: LiftingOperator | None,
    theta: np.ndarray,
    rank: int,
    rng: np.random.RandomState,
) -> float | None:
    """p-value of the F test against random directions of the lifted model.

    Parameters
    ----------
    residual : Residual
        Model of the residual.
    operator : LiftingOperator or None
        The lifting operator.
    theta : ndarray of shape (n_parameters,)
        Fitted parameters.
    rank : int
        Rank of the Jacobian there.
    rng : RandomState
        Source of the directions.

    Returns
    -------
    float or None
        None without degrees of freedom, or where the sizes make the test dearer than the fit.
    """
    if (
        operator is None
        or rank < 0
        or not isinstance(residual, CompressedResidual | FactorResidual)
    ):
        return None
    n_entries, n_paths = operator.shape
    n_lifts = min(RANDOM_LIFTS, n_paths - rank, (n_entries - len(theta)) // 2)
    degrees = n_entries - len(theta) - n_lifts
    if n_lifts < 1 or degrees < LEAST_DEGREES:
        return None
    directions = rng.standard_normal((n_paths, n_lifts))
    left_over = 0.0
    if isinstance(residual, CompressedResidual):
        n_lifts = min(n_lifts, max(len(residual.triangle) - len(theta), 0))
        if not n_lifts:
            return None
        jacobian, difference = residual.jacobian(theta)
        lifts = residual.triangle @ directions[:, :n_lifts]
        triangle = qr_triangle(np.column_stack([jacobian, lifts, difference]))
        left_over = residual.out_of_range**2
        degrees = n_entries - len(theta) - n_lifts
    else:
        triangle = residual.triangle(theta, operator @ directions)
    projected = triangle[len(theta) :, -1]
    along, across = projected[:n_lifts], projected[n_lifts:]
    unexplained = (float(np.sum(across**2)) + left_over) / degrees
    if unexplained <= 0:
        return None
    return float(stats.f.sf(float(np.mean(along**2)) / unexplained, n_lifts, degrees))


def singular_value_p_value(difference: np.ndarray, noise_std: float) -> float | None:
    """p-value of the residual's largest singular value under Gaussian noise.

    Parameters
    ----------
    difference : ndarray of shape (m, n)
        Residual.
    noise_std : float
        Standard deviation of its entries.

    Returns
    -------
    float or None
        None for fewer than 5 rows or columns, where the limit law is not reached.
    """
    m, n = difference.shape
    if min(m, n) < 5:
        return None
    if min(m, n) <= LARGEST_DECOMPOSED:
        gram = difference @ difference.T if m <= n else difference.T @ difference
        top = float(np.linalg.eigvalsh(gram)[-1]) / noise_std**2
    else:
        start = np.random.RandomState(0).standard_normal(min(m, n))
        singular = svds(difference, k=1, v0=start, tol=1e-4, return_singular_vectors=False)
        top = float(singular[0] / noise_std) ** 2
    edge = np.sqrt(m - 1) + np.sqrt(n)
    width = edge * (1 / np.sqrt(m - 1) + 1 / np.sqrt(n)) ** (1 / 3)
    value = (top - edge**2) / width
    return float(
        stats.gamma.sf(value + TRACY_WIDOM_SHIFT, TRACY_WIDOM_SHAPE, scale=TRACY_WIDOM_SCALE)
    )


def signal_p_value(
    relative_residual: float, sizes: list[int], n_paths: int, n_entries: int
) -> float | None:
    """Bound on the p-value of the explained energy, were X pure noise.

    The best product fits noise in all tangent spaces at once; twice the number of factors times
    the number of parameters bounds the degrees of freedom that this amounts to.

    Parameters
    ----------
    relative_residual : float
        Norm of the residual over that of X.
    sizes : list of int
        Number of parameters of each factor.
    n_paths : int
        Columns of the lifting operator.
    n_entries : int
        Entries of X.

    Returns
    -------
    float or None
        None when the entries do not suffice.
    """
    used = min(n_paths, 2 * len(sizes) * sum(sizes))
    left = n_entries - used
    if left < LEAST_DEGREES:
        return None
    explained = max(1 - relative_residual**2, 0.0)
    return float(stats.f.sf(explained / used / (relative_residual**2 / left), used, left))


def simulated_signal_p_value(relative_residual: float, noise_fits: list[float]) -> float:
    """p-value of a fit's residual among those of fits to pure noise.

    Logarithms of the residuals are taken as normal, with mean and variance estimated from the
    simulated fits: the fit is compared with Student's predictive law.

    Parameters
    ----------
    relative_residual : float
        Norm of the residual over that of X.
    noise_fits : list of float
        The same for fits to pure noise.
    """
    logs = np.log(np.maximum(noise_fits, 1e-300))
    n = len(logs)
    spread = max(float(logs.std(ddof=1)), 1e-3) * np.sqrt(1 + 1 / n)
    return float(stats.t.cdf((np.log(relative_residual) - logs.mean()) / spread, n - 1))


def combined_p_value(*p_values: Any) -> float | None:
    """Bonferroni's combination of the tests that could be made."""
    made = [p for p in p_values if p is not None]
    return min(1.0, len(made) * min(made)) if made else None
