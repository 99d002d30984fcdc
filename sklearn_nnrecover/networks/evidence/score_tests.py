"""Score tests of a fitted network without intercepts against what it may lack.

At a least-squares optimum of the right model, the derivative of the loss along any further
parameter, with the model's own tangent space projected off (*efficient score*), is a sum of
independent terms s_i of mean zero. Each score is compared with ``sqrt(sum s_i^2)``, which allows
unequal noise variances; ``2 exp(-z^2 / 2)`` (Hoeffding's bound, exact for symmetric noise, whatever
its tails) times the number of scores bounds the probability. Further parameters are

* hidden biases b_j and output intercepts c_o,
* a linear part ``z B`` beside the units,
* output weights of further hinges: along the fitted units reversed, and along random directions.

Unlike :mod:`lack_of_fit` this forms no matrix with more columns than parameters for each output, so
that thousands of samples of ten outputs take a tenth of a second.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

MOST_HINGES = 200
FEWEST_HINGES = 20
# Operations of the largest product; fewer hinges are tried beyond it.
MOST_WORK = 4e9
# Floor of an efficient score's variance relative to the score's own: directions that the model has.
INDEPENDENT = 1e-6
GROUPS = ("biases", "linear part", "further hinges")


class ScoreTest(NamedTuple):
    """Result of one group of score tests.

    Attributes
    ----------
    name : str
        What the network may lack.
    p_value : float
        Upper bound on the probability of such a score if the network lacks nothing.
    score : float
        Largest absolute score in standard deviations.
    n_scores : int
        Number of scores tried.
    """

    name: str
    p_value: float
    score: float
    n_scores: int


def score_tests(
    network: TwoLayerNetwork, samples: Samples, rng: np.random.RandomState
) -> list[ScoreTest]:
    """Test a least-squares optimum on its samples, or on a part of them.

    Parameters
    ----------
    network : TwoLayerNetwork
        Least-squares optimum without intercepts.
    samples : Samples
        Samples without intercept.
    rng : RandomState
        Draws the hinges.

    Returns
    -------
    list of ScoreTest
        One each of ``GROUPS``; without scores where no equations are left to test with.
    """
    Z, Y, w = samples.Z, samples.Y, samples.weight
    (n, p), m = Z.shape, Y.shape[1]
    V, A, k = network.V, network.A, network.n_hidden
    spare = 1.0 - (k * (p + m) - k * network.activation.n_gauge) / (n * m)
    if spare * n * m < max(m, 2):
        return [ScoreTest(name, 1.0, 0.0, 0) for name in GROUPS]
    n_hinges = int(np.clip(MOST_WORK / (2.0 * n * k * (p + m) * m), FEWEST_HINGES, MOST_HINGES))
    hinges = np.hstack([-V, rng.standard_normal((p, n_hinges))]) if p > 1 else np.zeros((p, 0))

    def features(rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes, hidden activations and further features of some samples."""
        T = Z[rows] @ V
        further = np.hstack(
            [np.ones((len(T), 1)), Z[rows], np.maximum(Z[rows] @ hinges, 0.0)], dtype=float
        )
        return network.activation.derivative(T), network.activation.value(T), further

    q, size = 1 + p + hinges.shape[1], k * p
    blocks = list(row_blocks(n, 8.0 * (2 * size + k * m + 2 * q * m), 64.0))
    # Products of [slopes x z, slopes, hidden, further features] with the tangent features.
    width = size + k
    products = np.zeros((width + k + q, width))
    for rows in blocks:
        slope, hidden, further = features(rows)
        tangents = (slope[:, :, None] * Z[rows][:, None]).reshape(-1, size)
        left = np.hstack([tangents, slope, hidden, further])
        products += left.T @ (w[rows, None] * np.hstack([tangents, hidden]))
    AA = A @ A.T
    own = np.repeat(np.arange(k), p)
    inner = AA[np.ix_(own, own)]
    TT, HT, HH = (
        products[:size, :size],
        products[width : width + k, :size],
        products[width : width + k, size:],
    )
    # Information of (V, A), and of the further parameters with them: rows (V), (A, output by
    # output), columns likewise.
    information = np.zeros((size + k * m, size + k * m))
    information[:size, :size] = TT * inner
    bias = np.zeros((k, size + k * m))
    bias[:, :size] = products[size:width, :size] * AA[:, own]
    further_information = np.zeros((m, q, size + k * m))
    for o in range(m):
        at = slice(size + k * o, size + k * (o + 1))
        information[at, at] = HH
        information[at, :size] = HT * A[own, o]
        information[:size, at] = information[at, :size].T
        bias[:, at] = products[size:width, size:] * A[:, [o]]
        further_information[o, :, :size] = products[width + k :, :size] * A[own, o]
        further_information[o, :, at] = products[width + k :, size:]
    scale = np.sqrt(np.diagonal(information))
    scale = np.where(scale > 0, scale, 1.0)
    information /= scale * scale[:, None]
    # The shift makes the factor exist along the scale gauge, in which no score lies.
    information[np.diag_indices_from(information)] += 1e-10
    right = np.vstack([bias, further_information.reshape(m * q, -1)]) / scale
    projected = linalg.cho_solve(linalg.cho_factor(information), right.T) / scale[:, None]

    sums, squares, sizes = (np.zeros(k + m * q) for _ in range(3))
    for rows in blocks:
        slope, hidden, further = features(rows)
        residual = Y[rows] - network.predict(Z[rows])
        steep = slope * (residual @ A.T)
        tangent_scores = np.hstack(
            [
                (steep[:, :, None] * Z[rows][:, None]).reshape(-1, size),
                (residual[:, :, None] * hidden[:, None]).reshape(-1, k * m),
            ]
        )
        plain = np.hstack([steep, (residual[:, :, None] * further[:, None]).reshape(-1, m * q)])
        scores = plain - tangent_scores @ projected
        sums += w[rows] @ scores
        squares += w[rows] @ scores**2
        sizes += w[rows] @ plain**2
    told = squares > INDEPENDENT * np.maximum(sizes, np.finfo(float).tiny)
    # Residuals are shorter than the noise by the parameters that were fitted.
    z = np.where(told, np.abs(sums) / np.sqrt(np.where(told, squares, 1.0) / spare), 0.0)
    kind = np.concatenate([np.zeros(k), np.tile(np.repeat([0, 1, 2], [1, p, q - 1 - p]), m)])
    results = []
    for group, name in enumerate(GROUPS):
        chosen = z[kind == group]
        largest, count = float(chosen.max(initial=0.0)), int(np.sum(told[kind == group]))
        p_value = min(1.0, 2.0 * max(count, 1) * float(np.exp(-0.5 * largest**2)))
        results.append(ScoreTest(name, p_value, largest, count))
    return results
