"""A test whether the residuals of a fitted network are noise.

At a least-squares optimum of the right model, residuals are noise projected off the tangent space
of the model. Any other feature h of the inputs, projected off that space too, then has a score

    t(h) = sum over outputs of (r' h)^2 / Var(r' h)        ~ chi^2 with m degrees of freedom.

Features are hinges: along the fitted units at other offsets (they see a wrong activation, such as
tanh or swish) and along random directions (they see a missed unit or a deeper network). The
p-value is Bonferroni's bound over all features, so that the level is kept whatever their
correlation. Variances are the larger of the classic and the heteroscedasticity-consistent one, and
features carried by a handful of rows are left out, so that neither unequal variances nor heavy
tails feign a misfit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import chi2

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.networks.evidence.identification import jacobian
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

OFFSETS_PER_UNIT = 9
N_RANDOM_HINGES = 200
# Features whose mass sits on fewer effective rows are not judged by the normal approximation.
MIN_EFFECTIVE_ROWS = 30.0


class LackOfFit(NamedTuple):
    """Result of the test.

    Attributes
    ----------
    p_value : float
        Upper bound on the probability of scores this large if the model is right.
    largest_score : float
        Largest t(h).
    n_features : int
        Number of features tried.
    """

    p_value: float
    largest_score: float
    n_features: int


def hinge_features(
    network: TwoLayerNetwork, samples: Samples, rng: np.random.RandomState
) -> np.ndarray:
    """Hinges to test the residual with, as columns of design space vectors (p, n_features).

    Parameters
    ----------
    network : TwoLayerNetwork
        Fitted network.
    samples : Samples
        Its samples.
    rng : RandomState
        Draws the random hinges.
    """
    p = samples.Z.shape[1]
    n_inputs = p - 1 if samples.intercept else p
    V = network.V
    directions = [V[:n_inputs], -V[:n_inputs]]
    if n_inputs > 1:
        directions.append(rng.standard_normal((n_inputs, N_RANDOM_HINGES)))
    if not samples.intercept:
        return np.hstack(directions[2:]) if n_inputs > 1 else np.zeros((p, 0))
    levels = np.linspace(0.1, 0.9, OFFSETS_PER_UNIT)
    D = np.hstack([directions[0]] * OFFSETS_PER_UNIT)
    level = np.repeat(levels, V.shape[1])
    if n_inputs > 1:
        D = np.hstack([D, directions[2]])
        level = np.concatenate([level, rng.uniform(0.1, 0.9, N_RANDOM_HINGES)])
    D = D / np.maximum(np.linalg.norm(D, axis=0), np.finfo(float).tiny)
    # Offsets at quantiles of the projections; a few thousand rows place them well enough.
    some = samples.Z[:: max(1, len(samples.Z) // 4000), :n_inputs]
    offsets = np.array([np.quantile(t, q) for t, q in zip((some @ D).T, level, strict=True)])
    return np.vstack([D, -offsets])


def lack_of_fit(
    network: TwoLayerNetwork, samples: Samples, rng: np.random.RandomState
) -> LackOfFit:
    """Test the residuals of a least-squares optimum against further hinges.

    Parameters
    ----------
    network : TwoLayerNetwork
        A least-squares optimum.
    samples : Samples
        Samples it was fitted to; ``weight`` are frequencies.
    rng : RandomState
        Draws the random hinges.

    Returns
    -------
    LackOfFit
        With ``p_value`` 1 when no degrees of freedom are left for a test.
    """
    n, m = samples.Y.shape
    hinges = hinge_features(network, samples, rng)
    n_features = hinges.shape[1]
    n_parameters = samples.n_parameters(network.n_hidden, network.activation)
    degrees = samples.weight.sum() * m - n_parameters
    if n_features == 0 or degrees < m or n * m <= n_parameters + m:
        return LackOfFit(1.0, 0.0, 0)
    residual = samples.Y - network.predict(samples.Z)
    variance = float(samples.weight @ np.sum(residual**2, axis=1)) / degrees

    bytes_per_row = 32.0 * m * (n_parameters + n_features)
    blocks = list(row_blocks(n, bytes_per_row))
    gram = np.zeros((n_parameters, n_parameters))
    cross = np.zeros((n_parameters, m, n_features))
    for rows in blocks:
        root = np.sqrt(samples.weight[rows])
        J = jacobian(network, samples, rows).reshape(-1, m, n_parameters) * root[:, None, None]
        H = np.maximum(samples.Z[rows] @ hinges, 0.0) * root[:, None]
        gram += np.tensordot(J, J, axes=([0, 1], [0, 1]))
        cross += np.einsum("nmp,nh->pmh", J, H, optimize=True)
    scale = np.sqrt(np.diagonal(gram))
    scale = np.where(scale > 0, scale, 1.0)
    gram /= scale[:, None] * scale
    # The shift only has to make the factor exist: directions it touches carry no information.
    gram[np.diag_indices_from(gram)] += 1e-10
    solved = cho_solve(cho_factor(gram), (cross / scale[:, None, None]).reshape(n_parameters, -1))
    solved = (solved.reshape(n_parameters, m, n_features)) / scale[:, None, None]

    score = np.zeros((m, n_features))
    classic, robust, fourth = (np.zeros((m, n_features)) for _ in range(3))
    for rows in blocks:
        weight = samples.weight[rows]
        J = jacobian(network, samples, rows).reshape(-1, m, n_parameters)
        H = np.maximum(samples.Z[rows] @ hinges, 0.0)
        for output in range(m):
            # Feature h on this output, projected off the tangent space: it has all m outputs.
            shadow = np.einsum("nop,ph->noh", J, solved[:, output], optimize=True)
            perpendicular = -shadow
            perpendicular[:, output] += H
            squared = perpendicular**2
            score[output] += np.einsum(
                "noh,no,n->h", perpendicular, residual[rows], weight, optimize=True
            )
            mass = squared.sum(axis=1)
            classic[output] += weight @ mass
            fourth[output] += weight @ mass**2
            row_scores = np.einsum("noh,no->nh", perpendicular, residual[rows])
            robust[output] += weight @ row_scores**2
    spread = np.maximum(variance * classic, robust)
    judged = (classic**2 >= MIN_EFFECTIVE_ROWS * fourth) & (classic > 1e-9 * samples.weight.sum())
    t = np.sum(np.where(judged, score**2 / np.where(judged, spread, 1.0), 0.0), axis=0)
    largest = float(t.max(initial=0.0))
    return LackOfFit(float(min(1.0, n_features * chi2.sf(largest, m))), largest, n_features)
