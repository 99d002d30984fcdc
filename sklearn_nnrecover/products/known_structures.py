"""Products of factors with known structures: only their parameters are sought."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.peeling import Evidence
from sklearn_nnrecover.products.recovery import Recovery
from sklearn_nnrecover.products.recovery_status import Status
from sklearn_nnrecover.products.structured.structured_fit import ROUNDING
from sklearn_nnrecover.products.structured.structured_recovery import recover_structured


def recover_structured_chain(
    X: np.ndarray,
    structure: list,
    *,
    n_init: int,
    max_iter: int,
    tol: float,
    certify: bool,
    eps: float,
    rng: np.random.RandomState,
) -> Steps[Recovery]:
    """Fit the parameters of given structures; the factors are M_k(h_k), in no other gauge."""
    result = yield from recover_structured(
        X,
        structure,
        rng=rng,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        certify_structures=certify,
        exact_below=max(ROUNDING, 10 * eps),
    )
    fit = result.fit
    units = [
        {
            "layer": layer,
            "parameters": len(h),
            "identified": result.status in ("exact", "approximate"),
        }
        for layer, h in enumerate(fit.parameters)
    ]
    return Recovery(
        [sp.csr_array(factor) for factor in fit.factors],
        1.0,
        0.0,
        len(fit.factors),
        Status(result.status, result.reason, result.proof),
        [Evidence(*condition) for condition in result.conditions],
        units,
        fit.parameters,
        parameters_std=fit.standard_errors,
    )
