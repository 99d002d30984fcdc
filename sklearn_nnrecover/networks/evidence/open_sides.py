"""Units that may lie on either side of their kinks.

A unit and its mirror image differ by a linear function: with f the ReLU or a leaky ReLU of slope a,

    f(t) = f(-t) + (1 + a) t.

On the samples, units with all samples on one side of their kinks are linear functions, and so are
pairs of units v, -v with opposite output weights. Let L (p, m) be the sum of these functions,
realised by s such units. Mirroring a set J of the other units leaves

    L_J = L + (1 + a) sum over j in J of v_j A_j'

to be realised: another network of the same width and the same outputs exists if s units can do it.
They can if s exceeds the rank of L_J; if it equals the rank, the span of L_J has to contain a
direction in which all samples are positive, unless hidden biases or pairs leave it free. Without
linear units (s = 0) the mirrored units have to be balanced, as those of a hard sigmoid are
(:mod:`~sklearn_nnrecover.networks.model.balanced_units`). The kinks are as they were: the rank of
the Jacobian does not tell such networks apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from sklearn_nnrecover.networks.exact.always_on_units import always_on_span
from sklearn_nnrecover.networks.model.balanced_units import balanced_sets, linear_functions
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

# Units whose sets are tried one and all; of more only sets of two. Their sides count as open where
# ranks never tell.
MOST_MIRRORED = 10
# Rounding of activations, of weights, and of singular values, relative to the largest.
ROUNDING = 1e-9


def open_sides(network: TwoLayerNetwork, samples: Samples) -> np.ndarray:
    """Find the units that another network of equal outputs and width has on their other side.

    Parameters
    ----------
    network : TwoLayerNetwork
        Network, of any activation; only ReLU and leaky ReLU have linear units.
    samples : Samples
        Samples in design coordinates.

    Returns
    -------
    ndarray of bool, shape (k,)
        Units on an open side, and the linear units that would make up for it.
    """
    k = network.n_hidden
    undecided = np.zeros(k, dtype=bool)
    slope = network.activation.negative_slope
    if slope is None:
        return undecided
    # Weights cannot be told apart below the rounding of the data.
    rounding = max(ROUNDING, 10 * samples.rounding)
    T = samples.Z @ network.V
    size = rounding * np.abs(T).max(axis=0, initial=0.0)
    above, below = T.min(axis=0, initial=np.inf) >= -size, T.max(axis=0, initial=-np.inf) <= size
    paired = _opposite_pairs(network, rounding) & ~above & ~below
    linear = above | below | paired
    n_free = int(paired.sum()) // 2
    n_linear = n_free + int((above | below).sum())
    factor = np.where(above, 1.0, np.where(below, slope, (1.0 + slope) / 2))
    functions = linear_functions(network.V[:-1] if samples.intercept else network.V, network.A)
    kinked = np.flatnonzero(~linear)
    balanced = np.zeros(k, dtype=bool)
    for members in balanced_sets(functions[kinked], rounding):
        balanced[kinked[members]] = True
    if not linear.any():
        return balanced
    mirrors = functions.reshape(k, -1, network.A.shape[1])
    base = np.tensordot(factor * linear, mirrors, axes=1)
    if len(kinked) > MOST_MIRRORED and min(base.shape) <= n_linear:
        return ~undecided
    for members in _subsets(kinked):
        if undecided[members].all():
            continue
        left = base + (1.0 + slope) * mirrors[members].sum(axis=0)
        directions, singular, _ = np.linalg.svd(left, full_matrices=False)
        largest = max(float(np.linalg.norm(base)), float(np.linalg.norm(mirrors[members])))
        rank = int(np.sum(singular > rounding * largest))
        if rank > n_linear:
            continue
        free = rank < n_linear or n_free > 0 or samples.intercept
        if free or _one_sided(directions[:, :rank], samples, rounding):
            undecided[members] = True
    return balanced | undecided | (linear & undecided.any())


def _subsets(units: np.ndarray) -> Iterator[np.ndarray]:
    """Sets of units to be mirrored, small ones first; of many units only one or two at a time."""
    largest = len(units) if len(units) <= MOST_MIRRORED else 2
    for size in range(1, largest + 1):
        for members in combinations(units, size):
            yield np.array(members)


def _opposite_pairs(network: TwoLayerNetwork, rounding: float) -> np.ndarray:
    """Units v whose mirror image -v is a unit too, with opposite output weights."""
    unit = network.normalized()
    sums = [
        np.linalg.norm(B[:, :, None] + B[:, None, :], axis=0)
        <= rounding * np.linalg.norm(B, axis=0)
        for B in (unit.V, unit.A.T)
    ]
    return np.asarray((sums[0] & sums[1]).any(axis=0))


def _one_sided(directions: np.ndarray, samples: Samples, rounding: float) -> bool:
    """Whether a direction of a span is positive on all samples."""
    if directions.shape[1] == 1:
        values = samples.Z @ directions[:, 0]
        size = rounding * np.abs(values).max(initial=0.0)
        return bool(values.min() >= -size or values.max() <= size)
    return always_on_span(directions, samples) is not None
