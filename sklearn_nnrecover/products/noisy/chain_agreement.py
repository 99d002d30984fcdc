"""Which hidden nodes of a chain another chain has as well, by their supports and signs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.noisy.support_least_squares import in_gauge
from sklearn_nnrecover.products.row_agreement import equal_rows, sign_matrix


def nodes_found_again(
    chain: Sequence[sp.csr_array], other: Sequence[sp.csr_array], rng: np.random.RandomState
) -> list[np.ndarray]:
    """Compare the rows of all factors but the first, from the features up.

    Rows of the last factors agree when they have the same support and, up to one, the same signs;
    rows of those before when that holds with the nodes that they are made of identified.

    Parameters
    ----------
    chain, other : sequence of csr_array
        With the same number of features; ``other`` may have any number of factors, also none.
    rng : RandomState

    Returns
    -------
    list of ndarray of bool
        One array per factor of ``chain`` but the first.
    """
    found = [np.zeros(layer.shape[0], dtype=bool) for layer in chain[1:]]
    column = np.arange(chain[-1].shape[1])
    # The signs of a row depend on those of the nodes that it combines: one gauge for both.
    chain, other = in_gauge(chain), in_gauge(other) if other else []
    for depth in range(1, min(len(chain), len(other))):
        ours, others = chain[-depth], sp.coo_array(other[-depth])
        unknown = np.cumsum(column < 0) - 1 + ours.shape[1]
        place = np.where(column < 0, unknown, column)
        n_columns = ours.shape[1] + int(np.sum(column < 0))
        at, index = others.coords
        mine = sp.csr_array(
            (ours.data, ours.indices, ours.indptr), shape=(ours.shape[0], n_columns)
        )
        theirs = sp.csr_array((others.data, (at, place[index])), shape=(others.shape[0], n_columns))
        # With the nodes in another order another entry of a row is the first.
        mine, theirs = (sign_matrix(row_gauge(part)[0]) for part in (mine, theirs))
        column = equal_rows(mine, theirs, rng)
        found[-depth][column[column >= 0]] = True
    return found
