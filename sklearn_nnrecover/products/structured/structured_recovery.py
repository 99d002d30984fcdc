"""A structured fit together with its proof: status, reason and the conditions they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.structured.certificate_verdicts import (
    IDENTIFIABLE,
    NOT_IDENTIFIABLE,
    Certificate,
    certificate_conditions,
)
from sklearn_nnrecover.products.structured.certificates import certify
from sklearn_nnrecover.products.structured.stability import StabilityBound, stability_bound
from sklearn_nnrecover.products.structured.structured_fit import (
    AGREEING_STARTS,
    LEVEL,
    ROUNDING,
    StructuredFit,
    fit_conditions,
)
from sklearn_nnrecover.products.structured.structured_least_squares import fit_structured

LARGEST_RELATIVE_ERROR = 0.01
NON_ZERO = 1e-8


@dataclass(frozen=True, eq=False)
class StructuredRecovery:
    """A fit and what it proves.

    Attributes
    ----------
    fit : StructuredFit
        The parameters, and what was measured about them.
    certificate : Certificate or None
        Of the structures, when it was asked for.
    bound : StabilityBound or None
        Theorem 1 at the estimated noise level, when the certificate allows it.
    status : {"exact", "approximate", "partial", "not_recovered"}
        As in a report.
    proof : {"global", "local"} or None
        Kind of proof of an exact fit.
    reason : str
        Why this status, and what can be done.
    conditions : list of (name, value, threshold, passed, meaning)
        What was checked.
    """

    fit: StructuredFit
    certificate: Certificate | None
    bound: StabilityBound | None
    status: str
    proof: str | None
    reason: str
    conditions: list[tuple[str, Any, Any, bool, str]]


def recover_structured(
    X: Any,
    structures: Sequence[Any],
    *,
    rng: np.random.RandomState,
    max_iter: int = 200,
    tol: float = 1e-10,
    n_init: int = 10,
    certify_structures: bool = False,
    exact_below: float = ROUNDING,
) -> Steps[StructuredRecovery]:
    """Fit a structured product and judge the fit, step by step.

    Parameters
    ----------
    X : ndarray or sparse of shape (m, n)
        Data.
    structures : sequence of K structures
        Factors from left to right.
    rng : RandomState
        Source of random starts.
    max_iter, tol, n_init, exact_below
        See `fit_structured`.
    certify_structures : bool, default=False
        Certify the structures: a proof that is global, and a stability bound. It can cost more than
        the fit. Without, an exact fit asks for two more random starts that agree.

    Yields
    ------
    Step
        Of the fit.

    Returns
    -------
    StructuredRecovery
    """
    certificate = certify(structures, random_state=rng) if certify_structures else None
    proven = certificate is not None and certificate.verdict == IDENTIFIABLE
    fit = yield from fit_structured(
        X,
        structures,
        rng=rng,
        max_iter=max_iter,
        tol=tol,
        n_init=n_init,
        n_confirm=0 if proven else AGREEING_STARTS - 1,
        exact_below=exact_below,
    )
    conditions = fit_conditions(fit, proven=proven)
    bound = None
    if certificate is not None:
        conditions = certificate_conditions(certificate) + conditions
        noise = fit.noise_std * np.sqrt(np.prod(np.shape(X), dtype=float))
        bound = stability_bound(
            certificate,
            fit.parameters,
            delta=max(noise, fit.residual_norm),
            eta=fit.residual_norm,
        )
        if np.isfinite(bound.tensor):
            size = float(np.prod([np.linalg.norm(h) for h in fit.parameters]))
            conditions.append(
                (
                    "tensor_error_bound",
                    bound.tensor,
                    size,
                    bound.tensor < size,
                    "Theorem 1 bounds the error of the parameters' tensor below its norm",
                )
            )
    status, proof, reason = _judge(fit, certificate, bound)
    return StructuredRecovery(fit, certificate, bound, status, proof, reason, conditions)


def _judge(
    fit: StructuredFit, certificate: Certificate | None, bound: StabilityBound | None
) -> tuple[str, str | None, str]:
    """Status, proof and reason of a structured fit."""
    if certificate is not None and certificate.verdict == NOT_IDENTIFIABLE:
        return (
            "not_recovered",
            None,
            f"These structures do not determine their parameters: {certificate.reason}",
        )
    if fit.rival is not None:
        return (
            "not_recovered",
            None,
            "Two different lists of parameters fit X equally well: these structures do not "
            "determine them; constrain the factors further.",
        )
    if fit.exact and certificate is not None and _certified_here(fit, certificate, bound):
        return (
            "exact",
            "global",
            "The product of the factors is X to rounding, and the structures determine their "
            f"parameters: {certificate.reason}",
        )
    if not fit.exact and (misfit := _misfit(fit)):
        return "not_recovered", None, misfit
    if not fit.pinned_down:
        return _partly_free(fit, proven=certificate is not None and certificate.gamma == 1)
    isolated = (
        f"the solution is isolated up to {fit.gauge_dimension} rescalings and {fit.n_agreeing} "
        "independent starts agree"
    )
    if fit.exact:
        if fit.n_agreeing >= fit.n_wanted:
            return (
                "exact",
                "local",
                f"The product of the factors is X to rounding, {isolated}; another distant "
                "solution is not excluded (certify=True may exclude it).",
            )
        return (
            "not_recovered",
            None,
            f"The product of the factors is X to rounding, but only {fit.n_agreeing} of "
            f"{fit.n_starts} starts found these parameters, {fit.n_wanted} are needed; raise "
            "n_init or set certify=True.",
        )
    if fit.n_agreeing < 2:
        return (
            "not_recovered",
            None,
            f"Only one of {fit.n_starts} starts reached this residual; raise n_init.",
        )
    return (
        "approximate",
        None,
        f"The residual passes tests for noise of standard deviation {fit.noise_std:.3g}, "
        f"{isolated}; the standard errors hold.",
    )


def _certified_here(
    fit: StructuredFit, certificate: Certificate, bound: StabilityBound | None
) -> bool:
    """Whether a certificate, which is about generic parameters, covers the fitted ones.

    With infeasible paths, zero parameters can leave others free. And a smallest singular value so
    small that rounding may move the tensor proves nothing.
    """
    if certificate.verdict != IDENTIFIABLE or bound is None:
        return False
    size = float(np.prod([np.linalg.norm(h) for h in fit.parameters]))
    if not bound.tensor < LARGEST_RELATIVE_ERROR * size:
        return False
    smallest = min(float(np.abs(h).min() / np.abs(h).max()) for h in fit.parameters)
    return certificate.complete or fit.pinned_down or smallest > NON_ZERO


def _misfit(fit: StructuredFit) -> str:
    """Why noise does not explain the residual; empty when it does."""
    if fit.signal is not None and fit.signal > LEVEL:
        what = "the product explains no more of X than it would of noise"
    elif fit.lack_of_fit is not None and fit.lack_of_fit < LEVEL:
        what = "the residual is more than noise"
    elif fit.lack_of_fit is None or fit.signal is None:
        return (
            "X is not a product of these structures to rounding, and it has too few entries to "
            "test whether noise explains the rest."
        )
    else:
        return ""
    return (
        f"The structures do not describe X: {what} (relative residual {fit.relative_residual:.2g})."
    )


def _partly_free(fit: StructuredFit, *, proven: bool) -> tuple[str, str | None, str]:
    if fit.jacobian_rank < 0:
        return (
            "not_recovered",
            None,
            "The Jacobian is too large to decompose: whether X determines the parameters is open.",
        )
    free = sum(int(np.sum(np.isinf(errors))) for errors in fit.standard_errors)
    agreed = proven or fit.n_agreeing >= fit.n_wanted
    if free < fit.n_parameters and fit.exact and agreed:
        return (
            "partial",
            None,
            f"The product of the factors is X to rounding, but X leaves {free} of "
            f"{fit.n_parameters} parameters free (their standard errors are infinite).",
        )
    return (
        "not_recovered",
        None,
        f"X leaves {free} of {fit.n_parameters} parameters free beyond rescalings (their standard "
        "errors are infinite): constrain the factors further.",
    )
