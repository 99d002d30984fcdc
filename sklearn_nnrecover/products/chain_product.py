"""The product of a chain of sparse factors, formed."""

from __future__ import annotations

from collections.abc import Sequence

import scipy.sparse as sp


def chain_product(factors: Sequence[sp.csr_array]) -> sp.csr_array:
    """Return the product of at least one factor."""
    product = factors[0]
    for factor in factors[1:]:
        product = sp.csr_array(product @ factor)
    return product
