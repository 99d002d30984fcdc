"""A product of sparse factors as a linear operator that never forms the product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator


def chain_operator(factors: Sequence[sp.csr_array], scale: float = 1.0) -> LinearOperator:
    """Return ``scale * factors[0] @ factors[1] @ ...`` as a LinearOperator.

    One product with a vector costs the non-zeros of the factors; the transposes are stored row by
    row once, so that products with the adjoint are as fast.

    Parameters
    ----------
    factors : sequence of sparse arrays
        Real or complex, shapes that chain.
    scale : float

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
    """
    forward = [sp.csr_array(factor) for factor in factors]
    adjoint = [sp.csr_array(factor.conj().T) for factor in factors]
    dtype = np.result_type(*[factor.dtype for factor in forward])

    def multiply(x: np.ndarray) -> np.ndarray:
        for factor in reversed(forward):
            x = factor @ x
        return scale * x

    def multiply_adjoint(x: np.ndarray) -> np.ndarray:
        for factor in adjoint:
            x = factor @ x
        return np.conj(scale) * x

    return LinearOperator(
        (forward[0].shape[0], forward[-1].shape[1]),
        matvec=multiply,
        rmatvec=multiply_adjoint,
        matmat=multiply,
        rmatmat=multiply_adjoint,
        dtype=dtype,
    )
