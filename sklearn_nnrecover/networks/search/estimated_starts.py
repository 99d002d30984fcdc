"""From an estimator of the hidden units to the network: refine, descend, and see who agrees.

A moment or component method estimates all units at once, with an error of order n^-1/2. The
estimate is refined by sparsity patterns where the data are noiseless (which ends at the exact units
at once), and by Levenberg-Marquardt. What confirms a network is that estimates of other random
halves of the samples, refined on all of them, lead to the same one: three at zero residual, two
under noise, as in :mod:`least_squares_search`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.exact.sparsity_patterns import refine_by_patterns
from sklearn_nnrecover.networks.model.rectified_activations import Activation
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.search.descent import Descent
from sklearn_nnrecover.networks.search.least_squares_search import (
    EXACT_AGREEMENT,
    NOISY_AGREEMENT,
    Search,
    count_agreeing,
    is_exact,
    jitter,
    rival_minima,
)
from sklearn_nnrecover.networks.search.variable_projection import Projection, SeparableLeastSquares
from sklearn_nnrecover.networks.search.width_selection import bic

Start = Callable[[Samples, int, Activation, np.random.RandomState], np.ndarray]
# Widths beyond the best that are tried in vain before the criterion decides.
PATIENCE = 2


def random_half(samples: Samples, rng: np.random.RandomState) -> tuple[Samples, np.ndarray] | None:
    """Half of the samples, whitened by themselves, and the map of its units to all of them.

    Returns
    -------
    half : Samples
    transform : ndarray of shape (p, p)
        ``half.Z = samples.Z[rows] @ transform``, so that units are ``transform @ V``.
    None if the half does not span the design.
    """
    n, p = samples.Z.shape
    rows = rng.permutation(n)[: n // 2]
    Z, weight = samples.Z[rows], samples.weight[rows]
    share = weight / weight.sum()
    moments = Z.T @ (share[:, None] * Z)
    transform = np.eye(p)
    d = p - 1 if samples.intercept else p
    mean = moments[-1, :d] if samples.intercept else np.zeros(d)
    covariance = moments[:d, :d] - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= 1e-6 * values[-1]:
        return None
    transform[:d, :d] = vectors / np.sqrt(values)
    if samples.intercept:
        transform[-1, :d] = -mean @ transform[:d, :d]
    half = samples._replace(Z=Z @ transform, Y=samples.Y[rows], weight=weight)
    return half, transform


def descend_from(
    descent: Descent, V: np.ndarray, rng: np.random.RandomState, *, patterns: bool
) -> Projection:
    """Refine an estimate by sparsity patterns, if asked, and descend to the local optimum."""
    problem = descent.problem
    if patterns:
        V = refine_by_patterns(problem.samples, V, problem.activation).V
    at = descent.run(V)
    if not is_exact(at, problem.samples):
        at = jitter(descent, at, rng, n_trials=4)
    return at


def search_from_estimates(
    samples: Samples,
    n_hidden: int,
    start: Start,
    *,
    rng: np.random.RandomState,
    activation: Activation,
    n_init: int = 6,
    max_iter: int = 20000,
) -> Steps[Search]:
    """Find the least-squares optimum near the estimates of a method.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    n_hidden : int
        Number of hidden units.
    start : callable
        ``start(samples, n_hidden, activation, rng)`` returns hidden units (p, n_hidden).
    rng : RandomState
        Source of randomness.
    activation : Activation
        Elementwise activation.
    n_init : int, default=6
        Most estimates: the first of all samples, the others of random halves.
    max_iter : int, default=20000
        Most Levenberg-Marquardt iterations.

    Yields
    ------
    Step
        Best loss so far.

    Returns
    -------
    Search
    """
    descent = Descent(SeparableLeastSquares(samples, activation), max_iter)
    patterns = activation.rectified and samples.Y.shape[1] >= n_hidden
    ends: list[Projection] = []
    best: Projection | None = None
    for attempt in range(n_init):
        part: tuple[Samples, np.ndarray] | None = (samples, np.eye(samples.Z.shape[1]))
        if attempt > 0:
            part = random_half(samples, rng)
        if part is None:
            continue
        V = part[1] @ start(part[0], n_hidden, activation, rng)
        end = descend_from(descent, V, rng, patterns=patterns)
        ends.append(end)
        best = end if best is None or end.loss < best.loss else best
        yield Step(best.loss, state=best.V)
        enough = EXACT_AGREEMENT if is_exact(best, samples) else NOISY_AGREEMENT
        if count_agreeing(descent, ends, best) >= enough or descent.exhausted:
            break
    assert best is not None
    n_agreeing = count_agreeing(descent, ends, best)
    best = descent.run(best.V, tol=1e-12, max_iter=200)
    return Search(
        descent.problem.fit(best, True, descent.work).network,
        best.loss,
        rival_minima(descent, best),
        n_agreeing,
        len(ends),
        descent.work,
    )


def width_of_estimates(
    samples: Samples,
    start: Start,
    largest: int,
    *,
    rng: np.random.RandomState,
    activation: Activation,
) -> int:
    """Width of least information criterion, each width fitted from one estimate."""
    criteria: list[float] = []
    problem = SeparableLeastSquares(samples, activation)
    for width in range(1, largest + 1):
        descent = Descent(problem, 1000)
        patterns = activation.rectified and samples.Y.shape[1] >= width
        V = start(samples, width, activation, rng)
        end = descend_from(descent, V, rng, patterns=patterns)
        criteria.append(bic(end.loss, width, samples, activation))
        if is_exact(end, samples) or len(criteria) - 1 - int(np.argmin(criteria)) >= PATIENCE:
            break
    return 1 + int(np.argmin(criteria))
