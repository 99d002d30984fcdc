"""Whether what a product leaves of the data is Gaussian noise of one variance."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2, norm
from scipy.stats import f as f_distribution

from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.noisy.support_least_squares import SupportFit
from sklearn_nnrecover.products.peeling import Evidence
from sklearn_nnrecover.products.recovery_status import LACK_OF_FIT_LEVEL
from sklearn_nnrecover.products.structured.lack_of_fit import (
    combined_p_value,
    singular_value_p_value,
)


def residual_noise(X: np.ndarray, fit: SupportFit) -> Evidence:
    """Test whether the residual is noise of one variance, in and out of the product's support.

    A missing entry leaves one large cell or a larger variance in the support, a missing node a
    large singular value, noise of several levels rows or columns that are too large.
    """
    fitted = chain_product(fit.factors).toarray()
    residual = X - fitted
    inside = fitted != 0
    n_inside, n_outside = int(inside.sum()) - fit.n_free, int((~inside).sum())
    variance = None
    if min(n_inside, n_outside) > 1:
        ratio = np.sum(residual[inside] ** 2) / n_inside / np.mean(residual[~inside] ** 2)
        upper = float(f_distribution.sf(ratio, n_inside, n_outside))
        variance = 2 * min(upper, 1 - upper)
    squares = (residual / fit.noise_std) ** 2
    largest = np.sqrt(squares.max())
    # Fitted entries leave a line fewer degrees of freedom: its number of cells errs to "no misfit".
    lines = [
        min(1.0, n_lines * float(chi2.sf(squares.sum(axis=axis).max(), squares.shape[axis])))
        for axis, n_lines in ((1, X.shape[0]), (0, X.shape[1]))
    ]
    p_value = combined_p_value(
        variance,
        *lines,
        singular_value_p_value(residual, fit.noise_std),
        min(1.0, 2 * X.size * float(norm.sf(largest))),
    )
    return Evidence(
        "lack of fit",
        1.0 if p_value is None else p_value,
        LACK_OF_FIT_LEVEL,
        p_value is None or p_value > LACK_OF_FIT_LEVEL,
        "p-value of Gaussian noise of one variance (variance inside and outside the support, "
        "largest row, column, cell and singular value)",
    )
