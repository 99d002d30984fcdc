"""Which masked outputs the unmasked ones determine.

A network of width k has outputs ``y_ij = h_i . a_j + c_j`` with h_i in R^k. Let some entries be
masked. Two networks that agree on all others need not agree on the masked ones; they do wherever
these can be worked out one after another:

* k outputs C and rows on which all of them are unmasked, such that the outputs C have rank k on
  these rows (centred if there are intercepts): up to a change of basis of R^k, which no network can
  avoid, h_i is then read off, for these rows, from the outputs C;
* an output is determined once the known rows on which it is unmasked have ``[h_i, 1]`` of full
  rank, a row once the known outputs that are unmasked in it have ``a_j`` of full rank.

Only ranks at the network in hand enter, and whatever the closure of these steps reaches has the
same outputs in *every* network of width k that reproduces the unmasked entries. It says nothing of
the mask itself.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

# Smallest singular value, of factors whitened over all entries, that counts as full rank.
RANK_TOLERANCE = 1e-4


def determined_rows(network: TwoLayerNetwork, samples: Samples, observed: np.ndarray) -> np.ndarray:
    """Rows of which the unmasked entries of all samples determine every output.

    Parameters
    ----------
    network : TwoLayerNetwork
        A network that reproduces the unmasked entries.
    samples : Samples
        Samples in design coordinates.
    observed : ndarray of bool, shape (n, m)
        Unmasked entries.

    Returns
    -------
    ndarray of bool, shape (n,)
        All False where the steps above do not reach every output.
    """
    n, m = observed.shape
    k = network.n_hidden
    none = np.zeros(n, dtype=bool)
    if k > m:
        return none
    H = network.hidden(samples.Z)
    if samples.intercept:
        H = np.column_stack([H, np.ones(n)])
    left, right = _whitened(H), _whitened(network.A.T)
    if left is None or right is None:
        return none
    outputs = _first_outputs(right, observed)
    columns = np.asarray(np.isin(np.arange(m), outputs))
    rows = np.asarray(observed[:, columns].all(axis=1))
    if not _full_rank(left, rows[:, None])[0] or not _full_rank(right, columns[:, None])[0]:
        return none
    while True:
        reached = columns | _full_rank(left, rows[:, None] & observed)
        more = rows | _full_rank(right, (observed & reached).T)
        if np.array_equal(reached, columns) and np.array_equal(more, rows):
            return rows if columns.all() else none
        columns, rows = reached, more


def _whitened(factor: np.ndarray) -> np.ndarray | None:
    """Rows of a factor in the basis in which its Gram matrix is the identity, times its length."""
    basis, triangle = np.linalg.qr(factor)
    size = np.linalg.norm(factor, axis=0)
    if len(factor) < factor.shape[1] or np.any(np.abs(np.diag(triangle)) <= 1e-12 * size):
        return None
    return np.asarray(basis) * np.sqrt(len(factor))


def _full_rank(rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Whether the rows chosen by each column of ``chosen`` have full rank, shape (n_choices,)."""
    q = rows.shape[1]
    products = np.einsum("ij,il->ijl", rows, rows).reshape(len(rows), -1)
    gram = (chosen.T.astype(float) @ products).reshape(-1, q, q)
    return np.linalg.eigvalsh(gram)[:, 0] > RANK_TOLERANCE**2 * len(rows)


def _first_outputs(right: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """As many outputs as units: independent ones that are unmasked together on many rows."""
    rest, together = right.copy(), np.ones(len(observed), dtype=bool)
    chosen: list[int] = []
    for _ in range(right.shape[1]):
        shared = (observed & together[:, None]).sum(axis=0)
        best = int(np.argmax(np.einsum("ij,ij->i", rest, rest) * shared))
        direction = rest[best] / max(float(np.linalg.norm(rest[best])), np.finfo(float).tiny)
        rest = rest - np.outer(rest @ direction, direction)
        together &= observed[:, best]
        chosen.append(best)
    return np.array(chosen)
