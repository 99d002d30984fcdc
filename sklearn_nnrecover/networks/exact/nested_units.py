"""Pairs of units that enlarge the lifted system's null space without hiding a network.

Units i, j whose kinks never separate some samples satisfy a relation of their own. If unit i is
active only where j is, or never where j is,

    h_i (h_j - z.v_j) = 0      or      h_i h_j = 0      for every sample,                     (1)

and either puts ``zeta_i zeta_j' + zeta_j zeta_i'`` into the qq' part of the null space of
the lifted system, whose dimension becomes the number of units plus
the number of such pairs. No further unit comes with it. Let h = sum_i c_i h_i be one, with weights
w apart from the bias: its own relation is the combination of the units' and pairs' relations with
coefficients c_i^2 and 2 c_i c_j, and comparing the coefficients of q z' row by row gives

    c_i w_i + 2 sum_{j : i active only where j is} c_j w_j = w      for every i with c_i != 0.

Units at the top of the order have c_j w_j = w, and those below a multiple of w as well: all units
of the sum have parallel weights. Where the units of every pair (1) have weights of different
directions, the sum has one unit only, and the network is as unique as if there were no pair.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

# Cosine of two weight vectors that are taken for parallel.
PARALLEL = 1 - 1e-6


def nested_pairs(network: TwoLayerNetwork, samples: Samples) -> int | None:
    """Count the pairs of units of which one is active only where, or never where, the other is.

    Parameters
    ----------
    network : TwoLayerNetwork
        Network that reproduces the samples.
    samples : Samples
        Samples in design coordinates.

    Returns
    -------
    int or None
        None where the argument of this module does not apply: a pair has parallel weights, or is
        active on exactly the same samples.
    """
    V = network.V[:-1] if samples.intercept else network.V
    active = (samples.Z @ network.V > 0).astype(np.float64)
    both = active.T @ active
    count = np.diag(both)
    inside = both == count[:, None]
    i, j = np.triu_indices(network.n_hidden, 1)
    paired = inside[i, j] | inside[j, i] | (both[i, j] == 0)
    i, j = i[paired], j[paired]
    norms = np.linalg.norm(V, axis=0)
    parallel = np.abs(np.sum(V[:, i] * V[:, j], axis=0)) >= PARALLEL * norms[i] * norms[j]
    if np.any(parallel) or np.any(inside[i, j] & inside[j, i]):
        return None
    return len(i)
