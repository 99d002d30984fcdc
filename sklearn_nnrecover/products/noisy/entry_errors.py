"""Standard errors of the entries of a chain: infinite where a hidden node is not identified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp


def entry_errors(
    factors: Sequence[sp.csr_array],
    identified: Sequence[np.ndarray],
    errors: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Return the standard error of every stored entry.

    An entry joins two nodes; it is not determined unless both are.

    Parameters
    ----------
    factors : sequence of L csr_array
    identified : sequence of L - 1 ndarrays of bool
        ``identified[l]`` has one entry per hidden node between factors l and l + 1.
    errors : sequence of L ndarrays or None
        Standard errors where the nodes are identified; None for 0.

    Returns
    -------
    list of L ndarrays, like the data of the factors
    """
    result = []
    for level, factor in enumerate(factors):
        error = np.zeros(factor.nnz) if errors is None else np.array(errors[level])
        if level > 0:
            open_rows = ~identified[level - 1]
            error[np.repeat(open_rows, np.diff(factor.indptr))] = np.inf
        if level < len(identified):
            error[~identified[level][factor.indices]] = np.inf
        result.append(error)
    return result
