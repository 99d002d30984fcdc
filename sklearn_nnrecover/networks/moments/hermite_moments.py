"""Hidden units of a network of Gaussian inputs, from the Hermite moments of its outputs.

Model: x ~ N(0, I) (whitened inputs), y = f(x U + b) A + c. By Stein's identity the moment of the
outputs with the Hermite tensor H_q of order q is

    E[y (x) H_q(x)] = sum_j c_q(j) A_j (x) u_j (x) .. (x) u_j,    c_q(j) = E[f^(q)(u_j x + b_j)],

so that its slices, d x d matrices, are diagonalised jointly by the unit vectors u_j. This is
Algorithm 4 of Bakshi, Jayaram and Woodruff, changed where its printed form fails on samples:

* The paper takes order 3. For the ReLU without biases c_3 = 0: that tensor is pure noise. Here the
  order is the one whose Hermite coefficient is largest among those whose slices determine the
  units: 2 as a rule, which needs two outputs, else 3 or 4.
* Instead of Gaussian noise added to the outputs, their regression on [1, x] is taken off: it has
  no part in the moment, and half of the error.
* Slices are diagonalised by Jennrich's pencil and Gauss-Newton steps, not by power iteration.

Moments of orders 2 and 4 determine units up to sign. Signs come from the first order (E[y x'] =
sum_j c_1(j) A_j u_j', with c_1 c_2 > 0), or from projections (Algorithm 6); biases, of which the
paper has none, from the projections as well (:func:`place_units`).

References
----------
Bakshi, Jayaram and Woodruff, "Learning two layer rectified neural networks in polynomial time",
COLT 2019, sections 4.2 and 5.1. Janzamin, Sedghi and Anandkumar, "Beating the perils of
non-convexity", arXiv:1506.08473.
"""

from __future__ import annotations

from math import factorial, sqrt

import numpy as np
from numpy.polynomial import hermite_e
from scipy.linalg import eigh

from sklearn_nnrecover.linalg.joint_diagonalization import joint_diagonalize
from sklearn_nnrecover.networks.model.rectified_activations import Activation
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.search.recombination import PoolGram
from sklearn_nnrecover.networks.search.variable_projection import SeparableLeastSquares

QUADRATURE_NODES = 100
# Normalised coefficients below it are those of the quadrature's error at a kink.
NEGLIGIBLE = 0.02
# Offsets of the kink tried for each unit, in standard deviations of its projection, and lengths of
# units without a scale gauge.
OFFSETS = np.array([-1.6, -1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2, 1.6])
LENGTHS = np.array([0.5, 1.0, 2.0])
SWEEPS = 10
# Standard deviations of the fourth moment of Gaussian inputs.
GAUSSIAN_WINDOW = 3.0


def hermite_coefficients(
    activation: Activation, n_orders: int = 5, *, length: float = 1.0, bias: float = 0.0
) -> np.ndarray:
    """Hermite coefficients c_q = E[f(length g + bias) He_q(g)] of an activation, g ~ N(0, 1).

    Parameters
    ----------
    activation : Activation
        Elementwise activation f.
    n_orders : int, default=5
        Orders 0 .. n_orders - 1.
    length, bias : float
        Scale and shift of the argument.

    Returns
    -------
    ndarray of shape (n_orders,)
        By Gauss-Hermite quadrature; kinks cost accuracy, about 1e-3.
    """
    nodes, weights = hermite_e.hermegauss(QUADRATURE_NODES)
    weights = weights / weights.sum()
    values = activation.value(length * nodes + bias)
    return np.asarray(hermite_e.hermevander(nodes, n_orders - 1).T @ (weights * values))


def moment_order(activation: Activation, n_outputs: int, n_hidden: int) -> int:
    """Order of the moment that tells most of the units: 2, 3 or 4.

    Slices of order 2 are as many as outputs: one output gives one matrix, which has too many
    diagonalisations.
    """
    coefficients = np.abs(hermite_coefficients(activation))
    normalised = [coefficients[q] / sqrt(factorial(q)) for q in (2, 3, 4)]
    if n_outputs == 1 and n_hidden > 1:
        normalised[0] = 0.0
    normalised = [value if value > NEGLIGIBLE else 0.0 for value in normalised]
    return 2 + int(np.argmax(normalised))


def looks_gaussian(samples: Samples) -> bool:
    """Whether the inputs' fourth moment E|x|^4 is that of Gaussian ones (Mardia's kurtosis)."""
    X, share = _directions(samples), samples.weight / samples.weight.sum()
    d = X.shape[1]
    excess = float(share @ np.sum(X**2, axis=1) ** 2) - d * (d + 2)
    return abs(excess) <= GAUSSIAN_WINDOW * sqrt(8 * d * (d + 2) / len(X))


def _directions(samples: Samples) -> np.ndarray:
    return samples.Z[:, :-1] if samples.intercept else samples.Z


def residual_of_regression(samples: Samples) -> np.ndarray:
    """Outputs less their regression on [1, x], shape (n, m)."""
    root = np.sqrt(samples.weight)[:, None]
    Z = samples.Z if samples.intercept else np.column_stack([samples.Z, np.ones(len(samples.Z))])
    B = np.linalg.lstsq(root * Z, root * samples.Y, rcond=None)[0]
    return np.asarray(samples.Y - Z @ B)


def score_slices(samples: Samples, order: int) -> np.ndarray:
    """Slices of the Hermite moment of an order, contracted to d x d matrices.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates: inputs are whitened.
    order : {2, 3, 4}
        Order of the Hermite tensor; beyond 2 it is contracted with the coordinate vectors (once at
        order 3, twice with the same one at order 4).

    Returns
    -------
    ndarray of shape (m, d, d) or (m * d, d, d)
    """
    X, R = _directions(samples), residual_of_regression(samples)
    share = samples.weight / samples.weight.sum()
    d, m = X.shape[1], R.shape[1]
    slices = []
    for output in range(m):
        weights = share * R[:, output]
        second = (X * weights[:, None]).T @ X - weights.sum() * np.eye(d)
        if order == 2:
            slices.append(second)
            continue
        for axis in range(d):
            s = X[:, axis]
            e = np.eye(d)[axis]
            if order == 3:
                first = X.T @ weights
                matrix = (X * (weights * s)[:, None]).T @ X - first[axis] * np.eye(d)
                matrix -= np.outer(first, e) + np.outer(e, first)
            else:
                twice = weights * s
                along = X.T @ twice
                matrix = (X * (twice * s)[:, None]).T @ X - (twice @ s) * np.eye(d)
                matrix -= second + weights.sum() * np.eye(d)
                matrix -= 2 * (np.outer(along, e) + np.outer(e, along))
                matrix += weights.sum() * (np.eye(d) + 2 * np.outer(e, e))
            slices.append(matrix)
    return np.array(slices)


def moment_directions(
    samples: Samples, n_hidden: int, activation: Activation, rng: np.random.RandomState
) -> np.ndarray:
    """Directions of the hidden units up to sign, by joint diagonalisation of the moment's slices.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    n_hidden : int
        Number of units k, at most the number d of input dimensions.
    activation : Activation
        Decides on the order of the moment.
    rng : RandomState
        Starts of the diagonalisation.

    Returns
    -------
    ndarray of shape (d, k)
        Unit columns.
    """
    order = moment_order(activation, samples.Y.shape[1], n_hidden)
    slices = score_slices(samples, order)
    d = slices.shape[1]
    span = eigh(np.einsum("qij,qkj->ik", slices, slices))[1][:, d - n_hidden :]
    reduced = span.T @ slices @ span
    directions = span @ joint_diagonalize(reduced, rng=rng).vectors
    return np.asarray(directions / np.linalg.norm(directions, axis=0))


def signs_of_first_order(samples: Samples, directions: np.ndarray) -> np.ndarray:
    """Signs by which first- and second-order moments agree (Algorithm 4), +1 or -1, shape (k,).

    With c_1 c_2 > 0, as for every increasing convex activation, the output weights that E[y x']
    and E[y (xx' - I)] give each unit point the same way when its sign is right.
    """
    X = _directions(samples)
    share = samples.weight / samples.weight.sum()
    first = np.linalg.lstsq(directions, X.T @ (share[:, None] * samples.Y), rcond=None)[0]
    second = score_slices(samples, 2)
    m, d = len(second), len(directions)
    products = (directions[:, None] * directions[None]).reshape(d * d, -1)
    outputs = np.linalg.lstsq(products, second.reshape(m, -1).T, rcond=None)[0]
    return np.where(np.einsum("jo,jo->j", first, outputs) < 0, -1.0, 1.0)


def candidate_units(samples: Samples, direction: np.ndarray, activation: Activation) -> np.ndarray:
    """Units along a direction, (p, q): signs, offsets, and lengths where they are no gauge."""
    lengths = np.ones(1) if activation.degree is not None else LENGTHS
    offsets = OFFSETS if samples.intercept else np.zeros(1)
    units = []
    for sign in (1.0, -1.0):
        for length in lengths:
            for offset in offsets:
                unit = length * sign * direction
                units.append(np.append(unit, length * offset) if samples.intercept else unit)
    return np.array(units).T


def place_units(samples: Samples, directions: np.ndarray, activation: Activation) -> np.ndarray:
    """Signs and offsets of units of known direction, by projection (Algorithm 6).

    A unit's side is the one on which its activation, beside those of all other units, leaves less
    of the outputs unexplained. Offsets are chosen along with signs, unit by unit, until no choice
    changes; the paper's first pass, in which both sides of every other unit take part, is where it
    begins.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    directions : ndarray of shape (d, k)
        Directions up to sign.
    activation : Activation
        Elementwise activation.

    Returns
    -------
    ndarray of shape (p, k)
        Hidden units.
    """
    k = directions.shape[1]
    pools = [candidate_units(samples, directions[:, j], activation) for j in range(k)]
    size = pools[0].shape[1]
    gram = PoolGram(SeparableLeastSquares(samples, activation), np.hstack(pools))
    if not samples.intercept:
        middle = np.zeros(2, int) + np.array([0, size // 2])
    else:
        middle = np.array([len(OFFSETS) // 2, size // 2 + len(OFFSETS) // 2])
    both = np.array([j * size + middle for j in range(k)])
    own = np.arange(size)

    def best(j: int, others: np.ndarray) -> int:
        subsets = np.column_stack([np.broadcast_to(others, (size, len(others))), j * size + own])
        return int(np.argmin(gram.losses(subsets)))

    chosen = np.array([best(j, np.delete(both, j, axis=0).ravel()) for j in range(k)])
    for _ in range(SWEEPS):
        before = chosen.copy()
        for j in range(k):
            chosen[j] = best(j, np.delete(np.arange(k) * size + chosen, j))
        if np.array_equal(before, chosen):
            break
    return np.column_stack([pools[j][:, chosen[j]] for j in range(k)])


def hermite_start(
    samples: Samples, n_hidden: int, activation: Activation, rng: np.random.RandomState
) -> np.ndarray:
    """Hidden units (p, n_hidden) from moments and projections; an estimate, not an optimum."""
    return place_units(samples, moment_directions(samples, n_hidden, activation, rng), activation)
