"""Whether the factors of a structured product can be recovered at all, and how stably.

The model is ``X = M_1(h_1) ... M_K(h_K) + e`` with linear structures M_k
(:mod:`sklearn_nnrecover.products.structures`), and ``M_1 ... M_K = A P(h)`` its lifting
(`lifting_operator`). [1]_ shows that the parameters are identifiable, up to scales of the layers
that multiply to 1, if and only if the kernel of A meets differences of rank-one tensors in 0 alone;
and that they are stably recoverable if and only if the kernel has the deep null-space property.
Both follow from a kernel that is {0} on feasible paths. `certify` decides what can be decided with
a bounded amount of work, `stability_bound` says how far noise can move the parameters.

References
----------
.. [1] F. Malgouyres, J. Landsberg, "Stable recovery of the factors from a deep matrix product",
   SPARS 2017, hal-01417943.
"""

from __future__ import annotations

from sklearn_nnrecover.products.structured.certificate_verdicts import (
    Certificate,
    certificate_conditions,
)
from sklearn_nnrecover.products.structured.certificates import certify
from sklearn_nnrecover.products.structured.lifted_spectrum import kernel_basis
from sklearn_nnrecover.products.structured.lifting import lifting_operator
from sklearn_nnrecover.products.structured.stability import (
    DeepNullSpaceConstant,
    StabilityBound,
    deep_null_space_constant,
    stability_bound,
    tensor_distance,
)
from sklearn_nnrecover.products.structured.witnesses import Witness

__all__ = [
    "Certificate",
    "DeepNullSpaceConstant",
    "StabilityBound",
    "Witness",
    "certificate_conditions",
    "certify",
    "deep_null_space_constant",
    "kernel_basis",
    "lifting_operator",
    "stability_bound",
    "tensor_distance",
]
