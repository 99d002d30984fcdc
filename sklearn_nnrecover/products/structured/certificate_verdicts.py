"""What a certificate of identifiability says: the verdict on a structured product, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_nnrecover.linalg.rescalings import Rescalings
from sklearn_nnrecover.products.structured.witnesses import Witness

IDENTIFIABLE = "identifiable"
LOCALLY = "locally identifiable"
NOT_IDENTIFIABLE = "not identifiable"
TOO_LARGE = "too large to decide"


@dataclass(frozen=True, eq=False)
class Certificate:
    """Verdict on a structured product, and what it rests on.

    Attributes
    ----------
    verdict : str
        ``"identifiable"``: parameters without zero entries are determined by their product up to
        `gauge_dimension` rescalings. ``"not identifiable"``: `witness` proves it. ``"locally
        identifiable"``: nothing but rescalings is free near generic parameters, but others far
        away are not excluded. ``"too large to decide"``.
    reason : str
        One sentence: why.
    sizes : tuple of int
        Number of parameters of each factor.
    n_paths : int or None
        Columns of the lifting operator; None when it could not be built.
    complete : bool
        Whether every tuple of indices is a feasible path.
    kernel_dimension : int or None
        Dimension of the operator's kernel on feasible paths; None when unknown.
    sigma_min, sigma_max : float
        Smallest non-zero and largest singular value of the operator; nan when unknown.
    resolution : float
        Singular values below ``resolution * sigma_max`` were counted as zero.
    gamma : float
        Constant of the deep null-space property: 1 for a kernel {0}; an upper bound for models
        with sparse supports; inf with a witness; nan when unknown.
    gauge_dimension : int
        Dimension of the rescalings that no data can fix: K - 1 for the scales of the layers, more
        where entries of an inner node can be rescaled.
    jacobian_rank : int
        Rank of the Jacobian of the product at random parameters; -1 when it was not computed.
    witness : Witness or None
        Two parameter lists with the same product that no rescaling relates.
    rescalings : Rescalings
        The gauge; pass it to :func:`sklearn_nnrecover.metrics.factor_distance`.
    n_models : int
        Number of support models compared pairwise; 0 without models.
    """

    verdict: str
    reason: str
    sizes: tuple[int, ...]
    n_paths: int | None
    complete: bool
    kernel_dimension: int | None
    sigma_min: float
    sigma_max: float
    resolution: float
    gamma: float
    gauge_dimension: int
    jacobian_rank: int
    witness: Witness | None
    rescalings: Rescalings
    n_models: int = 0

    @property
    def extra_gauge_dimension(self) -> int:
        """Rescalings beyond those of whole layers: butterflies of order 4, 8, 16 have 3, 14, 45."""
        return self.gauge_dimension - (len(self.sizes) - 1)

    @property
    def n_parameters(self) -> int:
        """Number of parameters of all factors."""
        return sum(self.sizes)

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self.reason}"]
        lines += [
            f"  {name:<24} {_short(value):>12}  {meaning}"
            for name, value, _, _, meaning in certificate_conditions(self)
        ]
        return "\n".join(lines)


def certificate_conditions(
    certificate: Certificate,
) -> list[tuple[str, Any, Any, bool, str]]:
    """What a certificate rests on, as (name, value, threshold, passed, meaning).

    Parameters
    ----------
    certificate : Certificate
        Result of `certify`.
    """
    n_expected = certificate.n_parameters - certificate.gauge_dimension
    rank_known = certificate.jacobian_rank >= 0
    return [
        (
            "identifiability",
            certificate.verdict,
            IDENTIFIABLE,
            certificate.verdict == IDENTIFIABLE,
            "the product determines the parameters up to rescalings",
        ),
        (
            "lifting_kernel_dimension",
            certificate.kernel_dimension,
            0,
            certificate.kernel_dimension == 0,
            "the lifting operator is injective on feasible paths",
        ),
        (
            "lifting_sigma_min",
            float(certificate.sigma_min),
            float(certificate.resolution * certificate.sigma_max),
            bool(np.isfinite(certificate.sigma_min)),
            "the smallest non-zero singular value, which divides the noise in Theorem 1",
        ),
        (
            "gauge_dimension",
            certificate.gauge_dimension,
            certificate.n_parameters - certificate.jacobian_rank if rank_known else None,
            certificate.jacobian_rank == n_expected,
            "rescalings are all that the Jacobian leaves free at generic parameters",
        ),
    ]


def _short(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
