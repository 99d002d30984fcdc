"""What residuals and correlations say about learned atoms: lack of fit, crosstalk, margins.

The hypotheses of the paper (incoherence, code consistency) are about an unknown truth; here is what
can be measured in their place.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse, stats

from sklearn_nnrecover.dictionaries.spherical_mixture import tracy_widom_tail
from sklearn_nnrecover.dictionaries.support_growth import ALPHA

TAIL = 0.01  # of the law of residual norms that is looked at
MIN_SCATTERED = 10  # residuals whose scatter is tested
POWER_STEPS = 16
ALLOWED_SCATTER = 1.5  # variance along a direction, in units of the noise: it is estimated, too


def lack_of_fit(
    open_rows: np.ndarray,
    residual_square: np.ndarray,
    freedom: int | np.ndarray,
    hidden: float = 0.0,
) -> float:
    """P-value of the hypothesis that residuals are white Gaussian noise.

    Atoms that are there correlate with residuals more often than the level allows; atoms that are
    missing leave residuals larger than a chi-squared law allows. The second count is compared with
    twice its level: atoms have errors of their own.

    Parameters
    ----------
    open_rows : ndarray of shape (n_samples,), bool
        Samples whose residual correlates with some atom more than noise does, at level ``ALPHA``.
    residual_square : ndarray of shape (n_samples,)
        Squared residual norms.
    freedom : int or ndarray of shape (n_samples,)
        Degrees of freedom of the residuals.
    hidden : float, default=0.0
        Square of the coefficient that may have stayed below the noise in a sample.
    """
    n = len(open_rows)
    aligned = stats.binom.sf(np.count_nonzero(open_rows) - 1, n, ALPHA)
    variance = np.median(residual_square / stats.chi2.median(freedom))
    limit = variance * stats.chi2.isf(TAIL, freedom) + hidden
    large = stats.binom.sf(np.count_nonzero(residual_square > limit) - 1, n, 2 * TAIL)
    return float(min(1.0, 2 * min(aligned, large)))


def scatter_p_values(
    residual: np.ndarray, codes: sparse.csr_array, noise_variance: float, rng: np.random.RandomState
) -> np.ndarray:
    """P-values, one an atom, of the hypothesis that its users' residuals are white.

    An atom that stands for two similar ones, or for a curve, leaves residuals along one direction.
    Tested is the largest eigenvalue of their scatter, in units of the noise; power iteration can
    only underestimate it. The few samples with large residuals are left out: their supports are
    wrong. Residuals lack the directions of active atoms, so that white noise passes; errors of
    other atoms, of the mean and of the noise's estimate have ``ALLOWED_SCATTER``.

    Parameters
    ----------
    residual : ndarray of shape (n_samples, n_features)
        ``X - codes @ D``.
    codes : csr_array of shape (n_samples, n_components)
        Codes.
    noise_variance : float
        Of one entry.
    rng : RandomState
        Draws the start of the power iteration.
    """
    n_features = residual.shape[1]
    p_values = np.ones(codes.shape[1])
    square = np.einsum("ij,ij->i", residual, residual)
    typical = square <= noise_variance * stats.chi2.isf(1e-3, n_features)
    columns = codes.tocsc()
    start = rng.standard_normal(n_features)
    for atom in np.flatnonzero(np.diff(columns.indptr)):
        users = columns.indices[columns.indptr[atom] : columns.indptr[atom + 1]]
        own = residual[users[typical[users]]]
        if len(own) < MIN_SCATTERED:
            continue
        v = start
        for _ in range(POWER_STEPS):
            v = (own @ v) @ own
            largest = float(np.linalg.norm(v))
            v = v / largest if largest > 0 else v
        scatter = largest / max(ALLOWED_SCATTER * noise_variance, np.finfo(np.float64).tiny)
        p_values[atom] = tracy_widom_tail(scatter, len(own), n_features)
    return p_values


def coherence(D: np.ndarray) -> float:
    """Largest absolute cosine of two unit-norm atoms, the paper's mu / sqrt(n)."""
    gram = np.abs(D @ D.T)
    np.fill_diagonal(gram, 0)
    return float(gram.max(initial=0.0))


def code_consistency(
    X: np.ndarray, D: np.ndarray, codes: sparse.csr_array, following: np.ndarray
) -> tuple[float, float, float]:
    """Measure what Theorem 3 assumes, on the first samples.

    Parameters
    ----------
    X, D, codes : arrays
        Samples, unit-norm atoms, codes.
    following : ndarray of shape (n_samples,)
        Largest correlation of an atom with the residual.

    Returns
    -------
    crosstalk, active : float
        Correlations that one in a thousand inactive atoms exceeds, and one in a thousand active
        atoms falls short of: a threshold between them separates the two.
    margin : float
        Smallest active coefficient over ``following``, for all but one sample in a hundred.
    """
    few = min(len(X), 1000)
    z = np.abs(X[:few] @ D.T)
    dense = codes[:few].toarray()
    on = dense != 0
    crosstalk = float(np.quantile(z[~on], 0.999)) if not on.all() else 0.0
    active = float(np.quantile(z[on], 0.001)) if on.any() else 0.0
    magnitude = np.where(on, np.abs(dense), np.inf).min(axis=1)
    occupied = on.any(axis=1)
    floor = np.finfo(np.float64).eps * magnitude[occupied]
    ratio = magnitude[occupied] / np.maximum(following[:few][occupied], floor)
    margin = float(np.quantile(ratio, 0.01)) if occupied.any() else 0.0
    return crosstalk, active, margin
