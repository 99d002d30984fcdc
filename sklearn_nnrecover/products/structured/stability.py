"""The deep null-space property and the stability bound that it gives (Theorem 1 of [1]_).

References
----------
.. [1] F. Malgouyres, J. Landsberg, "Stable recovery of the factors from a deep matrix product",
   SPARS 2017, hal-01417943.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from sklearn_nnrecover.linalg.rescalings import orthonormal_range, rescaled_distance
from sklearn_nnrecover.products.structured.certificate_verdicts import Certificate
from sklearn_nnrecover.products.structured.certificates import certify
from sklearn_nnrecover.products.structured.lifted_spectrum import kernel_basis
from sklearn_nnrecover.products.structured.lifting import lifting_operator, qr_triangle
from sklearn_nnrecover.products.structures import check_structures


class DeepNullSpaceConstant(NamedTuple):
    """Bounds on the constant gamma of the deep null-space property (Definition 1).

    Attributes
    ----------
    lower, upper : float
        Equal where gamma is known: 1 for a kernel {0}, inf where the property fails.
    """

    lower: float
    upper: float


def deep_null_space_constant(
    structures: Sequence[Any],
    *,
    certificate: Certificate | None = None,
    n_samples: int = 20,
    random_state: Any = 0,
) -> DeepNullSpaceConstant:
    """Bound the constant of the deep null-space property.

    gamma is the supremum of ``|T| / dist(T, ker A)`` over differences T of rank-one tensors that A
    nearly annihilates. Differences of close tensors are tangent vectors: the largest ratio on
    tangent spaces at random parameters is a lower bound.

    Parameters
    ----------
    structures : sequence of structures
        Factors from left to right.
    certificate : Certificate or None, default=None
        What `certify` returned for them; computed when None.
    n_samples : int, default=20
        Number of tangent spaces.
    random_state : int, RandomState instance or None, default=0
        Seed.

    Returns
    -------
    DeepNullSpaceConstant
        Lower and upper bound.
    """
    chain = check_structures(structures)
    rng = check_random_state(random_state)
    if certificate is None:
        certificate = certify(chain, random_state=rng)
    if np.isinf(certificate.gamma):
        return DeepNullSpaceConstant(np.inf, np.inf)
    if np.isfinite(certificate.gamma) and not certificate.n_models:
        return DeepNullSpaceConstant(certificate.gamma, certificate.gamma)
    upper = certificate.gamma if np.isfinite(certificate.gamma) else np.inf
    if certificate.n_models:
        return DeepNullSpaceConstant(1.0, upper)
    operator = lifting_operator(chain)
    kernel = kernel_basis(operator)
    lower = 1.0
    for _ in range(n_samples):
        parameters = [rng.standard_normal(size) for size in operator.sizes]
        tangent = orthonormal_range(operator.segre_jacobian(parameters).toarray())
        across = tangent - kernel @ (kernel.T @ tangent)
        smallest = float(np.linalg.svd(across, compute_uv=False)[-1])
        lower = max(lower, 1 / smallest if smallest > 1e-12 else np.inf)
    return DeepNullSpaceConstant(lower, max(upper, lower))


class StabilityBound(NamedTuple):
    """Theorem 1's bounds, and the errors that they bound.

    Attributes
    ----------
    tensor : float
        Bound on ``|P(h*) - P(h)|``; inf where the hypothesis fails.
    distance : float
        Bound on ``d_p([h*], [h])``; inf where the hypothesis fails, delta + eta is not small
        enough, or some index tuples are infeasible (the theorem is about full tensors).
    measured_tensor, measured_distance : float
        The errors themselves; nan when the truth was not given.
    reason : str
        Why a bound is infinite; empty otherwise.
    """

    tensor: float
    distance: float
    measured_tensor: float
    measured_distance: float
    reason: str


def stability_bound(
    certificate: Certificate,
    parameters: Sequence[np.ndarray],
    *,
    delta: float,
    eta: float,
    p: float = 2.0,
    truth: Sequence[np.ndarray] | None = None,
) -> StabilityBound:
    """Bound the error of fitted parameters (Theorem 1), and measure it beside.

    ``|P(h*) - P(h)| <= gamma / sigma_min (delta + eta)`` and ``d_p([h*], [h]) <=
    7 (K S)^(1/p) gamma / sigma_min min(|P(h)|_max^(1/K-1), |P(h*)|_max^(1/K-1)) (delta + eta)``,
    with K S the number of parameters.

    Equation (2) of the paper bounds the *squared* residual by eta, Theorem 1 uses eta as a norm:
    here it is the norm. The theorem holds for delta and eta "sufficiently small": the bound on d_p
    is given where the bound on the tensor is at most half of its largest entry.

    Parameters
    ----------
    certificate : Certificate
        Of the structures.
    parameters : sequence of K ndarrays
        Fitted parameters h*.
    delta : float
        Bound on the Frobenius norm of the noise.
    eta : float
        Frobenius norm of the fit's residual.
    p : float, default=2.0
        Norm of the distance, at least 1.
    truth : sequence of K ndarrays or None, default=None
        True parameters: the minimum in the bound then runs over both, and errors are measured.

    Returns
    -------
    StabilityBound
        Both bounds, the measured errors beside them, and why a bound is infinite.
    """
    measured_tensor = measured_distance = np.nan
    if truth is not None:
        measured_tensor = tensor_distance(parameters, truth)
        gauge = None if certificate.extra_gauge_dimension == 0 else certificate.rescalings
        measured_distance = rescaled_distance(parameters, truth, p, gauge)
    if not (np.isfinite(certificate.gamma) and np.isfinite(certificate.sigma_min)):
        reason = f"the deep null-space property is not certified ({certificate.verdict})."
        return StabilityBound(np.inf, np.inf, measured_tensor, measured_distance, reason)
    tensor = certificate.gamma / certificate.sigma_min * (delta + eta)
    candidates = [parameters] if truth is None else [parameters, truth]
    largest = [float(np.prod([np.abs(h).max() for h in hs])) for hs in candidates]
    K = len(certificate.sizes)
    distance, reason = np.inf, ""
    if not certificate.complete:
        reason = "some index tuples are infeasible: Theorem 1 bounds the tensor only."
    elif tensor > max(largest) / 2:
        reason = "delta + eta is not small enough for a bound on the parameters."
    else:
        size = sum(certificate.sizes) ** (1 / p)
        distance = 7 * size * min(top ** (1 / K - 1) for top in largest) * tensor
    return StabilityBound(tensor, distance, measured_tensor, measured_distance, reason)


def tensor_distance(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """Frobenius norm of ``P(first) - P(second)``, without forming the tensors.

    Each factor lives in the span of two vectors: the difference is a tensor of 2^K entries.

    Parameters
    ----------
    first, second : sequence of K ndarrays
        Parameters, factor by factor.
    """
    cores = []
    for h, g in zip(first, second, strict=True):
        pair = np.column_stack([h, g])
        cores.append(qr_triangle(pair))
    tensors = []
    for column in (0, 1):
        tensor = np.ones(1)
        for core in cores:
            tensor = np.multiply.outer(tensor, core[:, column]).ravel()
        tensors.append(tensor)
    return float(np.linalg.norm(tensors[0] - tensors[1]))
