"""What every way to recover a product hands to the estimator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.peeling import Evidence, Matrix
from sklearn_nnrecover.products.recovery_status import Status


class Recovery(NamedTuple):
    """``X ~ scale * factors[0] @ factors[1] @ ...`` and what is known about it.

    ``n_factors`` is 1 when nothing was recovered and ``factors`` is [X, I]. ``factors_std`` are
    the standard errors of the entries of the factors, None where nothing is known of them.
    """

    factors: list[sp.csr_array]
    scale: float
    scale_std: float
    n_factors: int
    status: Status
    conditions: list[Evidence]
    units: list[dict]
    parameters: list[np.ndarray] | None = None
    factors_std: list[np.ndarray] | None = None
    parameters_std: list[np.ndarray] | None = None


def nothing_recovered(X: Matrix, status: Status, conditions: list[Evidence]) -> Recovery:
    """Return [X, I]."""
    identity = sp.csr_array(sp.eye_array(X.shape[1], format="csr"))
    found = Evidence(
        "factors", 1, 2, False, "a sparse factor was found from one end of the product"
    )
    return Recovery(
        [sp.csr_array(X, copy=True), identity], 1.0, 0.0, 1, status, [*conditions, found], []
    )
