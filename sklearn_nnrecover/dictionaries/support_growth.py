"""How many atoms a sample has: grow the support until what is left looks like noise.

A dictionary learned with too few atoms a sample still points at the true atoms; with too many it
does not. So learning starts with small supports, and one more atom is allowed whenever most
residuals correlate with some atom more than noise would.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import stats

ALPHA = 0.05  # level of the test of one residual against all atoms


@lru_cache(maxsize=256)
def noise_correlation_square(n_components: int, dimension: int, alpha: float = ALPHA) -> float:
    """Squared cosine that noise exceeds with one of the atoms with probability ``alpha`` at most.

    For an isotropic residual in ``dimension`` dimensions the squared cosine with a fixed direction
    has a Beta(1/2, (dimension - 1) / 2) law; the bound over all atoms is Bonferroni's.
    """
    if dimension < 2:
        return 1.0
    return float(stats.beta.isf(alpha / n_components, 0.5, (dimension - 1) / 2))


def noise_correlation(variance: float, n_components: int, dimension: int) -> float:
    """Correlation that white noise of a variance exceeds with some atom at level ``ALPHA``.

    Parameters
    ----------
    variance : float
        Of one entry of the residual.
    n_components, dimension : int
        Atoms, and dimensions that are left to the residual.
    """
    dimension = max(dimension, 1)
    square = noise_correlation_square(n_components, dimension) * dimension * variance
    return float(np.sqrt(square))


def unexplained(
    next_correlation: np.ndarray,
    residual_square: np.ndarray,
    sample_square: np.ndarray,
    quantile: float,
    negligible: float = 0.0,
) -> np.ndarray:
    """Mark the samples whose residual is more than noise and more than rounding.

    Parameters
    ----------
    next_correlation, residual_square, sample_square : ndarrays of shape (n_samples,)
        Largest correlation of an atom with the residual; squared norms of residual and sample.
    quantile : float
        From :func:`noise_correlation_square`.
    negligible : float, default=0.0
        Share of a sample's squared norm that does not count.
    """
    rounding = max(64 * np.finfo(residual_square.dtype).eps, negligible) * sample_square
    return (residual_square > rounding) & (
        next_correlation.astype(np.float64) ** 2 > quantile * residual_square
    )


def code_length(
    residual_square: float,
    sample_square: float,
    n_nonzero: int,
    n_samples: int,
    n_features: int,
    n_components: int,
) -> float:
    """Nats per sample that residuals and codes cost, the dictionary being known.

    Residuals are Gaussian with their own variance, never below rounding of the data; each code
    entry costs the choice of its atom and half a logarithm of ``n_features`` for its value.

    Parameters
    ----------
    residual_square, sample_square : float
        Sums over samples of squared norms.
    n_nonzero : int
        Code entries in all.
    n_samples, n_features, n_components : int
        Sizes.
    """
    floor = max(np.finfo(np.float64).eps ** 2 * sample_square, 1e-300)
    variance = max(residual_square, floor) / (n_samples * n_features)
    residuals = 0.5 * n_features * math.log(2 * math.pi * math.e * variance)
    per_sample = n_nonzero / n_samples
    share = min(max(per_sample / n_components, 1e-12), 1.0)
    choice = math.log(1 / share) + (1 - share) * (-math.log1p(-share) / share if share < 1 else 0.0)
    return residuals + per_sample * (choice + 0.5 * math.log(max(n_features, 2)))


def description_length(
    residual_square: float,
    sample_square: float,
    n_nonzero: int,
    n_samples: int,
    n_features: int,
    n_components: int,
) -> float:
    """Nats per sample of a two-part code: :func:`code_length`, and the dictionary.

    Each free number of the dictionary costs half a logarithm of ``n_samples``.
    """
    known = code_length(
        residual_square, sample_square, n_nonzero, n_samples, n_features, n_components
    )
    free = n_components * max(n_features - 1, 0)
    return known + 0.5 * free * math.log(n_samples) / n_samples
