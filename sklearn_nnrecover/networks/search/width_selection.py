"""Width of a network from noisy data: Bartlett's lower bound, then an information criterion.

The signal of k units spans at most k dimensions of output space, so the rank of the regression of
the outputs on any features of the inputs is a lower bound on k; Bartlett's test on canonical
correlations reads it off. From there widths are tried upwards, each with a search of its own, and

    BIC(k) = n m log(RSS_k / (n m)) + P_k log(n m)

decides, n the sum of frequencies and P_k the free parameters. The path ends once two widths in a
row fail to improve on the best, or one does decisively (three in any case where the residual is
small), or the work granted is spent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation
from sklearn_nnrecover.networks.model.two_layer_network import Samples, relative_residual
from sklearn_nnrecover.networks.search.least_squares_search import Search, search_least_squares
from sklearn_nnrecover.networks.search.random_hyperplanes import random_hyperplanes
from sklearn_nnrecover.networks.search.variable_projection import step_work

# A lower bound must hold; what the test misses, the path finds.
BARTLETT_LEVEL = 1e-3
PATIENCE = 2
# A rise of the criterion that counts as decisive (Kass and Raftery, 1995): one such width suffices.
DECISIVE = 10.0
# A residual below this, relative to the spread of the outputs, may be a noiseless network half
# found: its searches get stuck at one width and succeed at another.
SMALL_RESIDUAL = 0.05
SMALL_RESIDUAL_PATIENCE = 3
# Levenberg-Marquardt iterations granted to a width, however little work is left.
MIN_ITERATIONS = 100


class WidthPath(NamedTuple):
    """Widths tried, and the chosen one.

    Attributes
    ----------
    width : int
        Width of least BIC.
    widths : list of int
        Widths tried, ascending.
    bic : list of float
        Their criterion.
    searches : list of Search
        Their searches.
    """

    width: int
    widths: list[int]
    bic: list[float]
    searches: list[Search]

    @property
    def best(self) -> Search:
        """Search at the chosen width."""
        return self.searches[self.widths.index(self.width)]


def largest_width(samples: Samples, activation: Activation = RELU) -> int:
    """Most units that the equations can determine with one to spare, at least 1."""
    equations = samples.Y.size
    width = 1
    while samples.n_parameters(width + 1, activation) < equations:
        width += 1
    return width


def rank_lower_bound(samples: Samples, rng: np.random.RandomState) -> int:
    """Rank of the regression of the outputs on inputs and random hinges, by Bartlett's test.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    rng : RandomState
        Draws the hinges.

    Returns
    -------
    int
        At least 1, at most the number of outputs; 1 where too few rows are left for the test.
    """
    n, m = samples.Y.shape
    p = samples.Z.shape[1]
    n_hinges = min(2 * p, n // 20 - p)
    if m == 1 or n_hinges < 1:
        return 1
    root = np.sqrt(samples.weight)[:, None]
    hinges = np.maximum(samples.Z @ random_hyperplanes(samples, n_hinges, rng), 0.0)
    features, outputs = np.hstack([samples.Z, hinges]), samples.Y
    if samples.intercept:
        share = samples.weight / samples.weight.sum()
        features = (features - share @ features)[:, np.arange(features.shape[1]) != p - 1]
        outputs = outputs - share @ outputs
    bases = [_orthonormal(root * block) for block in (features, outputs)]
    q, m = bases[0].shape[1], bases[1].shape[1]
    correlation = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    logs = np.log1p(-(np.minimum(correlation, 1 - 1e-12) ** 2))
    for rank in range(min(q, m)):
        statistic = -(n - 1 - (m + q + 1) / 2) * logs[rank:].sum()
        if chi2.sf(statistic, (m - rank) * (q - rank)) > BARTLETT_LEVEL:
            return max(1, rank)
    return max(1, min(q, m))


def _orthonormal(matrix: np.ndarray) -> np.ndarray:
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    return left[:, singular > 1e-10 * max(singular[0], np.finfo(float).tiny)]


def bic(loss: float, n_hidden: int, samples: Samples, activation: Activation = RELU) -> float:
    """Bayesian information criterion of a width; losses below rounding count as rounding."""
    observations = float(samples.weight.sum()) * samples.Y.shape[1]
    variance = max(loss / observations, samples.rounding**2)
    n_parameters = samples.n_parameters(n_hidden, activation)
    return observations * np.log(variance) + n_parameters * np.log(observations)


def select_width(
    samples: Samples,
    *,
    rng: np.random.RandomState,
    activation: Activation = RELU,
    n_init: int = 1,
    max_work: float = 3e10,
) -> Steps[WidthPath]:
    """Choose the width by the information criterion along a path of searches.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    rng : RandomState
        Source of randomness.
    activation : Activation, default=RELU
        Activation of the hidden layer.
    n_init : int, default=1
        Independent runs of the search at each width.
    max_work : float, default=3e10
        Floating-point operations of the whole path; it ends at the width that exceeds them.

    Yields
    ------
    Step
        Steps of the searches.

    Returns
    -------
    WidthPath
    """
    limit = largest_width(samples, activation)
    width = min(rank_lower_bound(samples, rng), limit)
    widths: list[int] = []
    criteria: list[float] = []
    searches: list[Search] = []
    work = 0.0
    while width <= limit and work < max_work:
        cost = step_work(samples, width)
        affordable = max(MIN_ITERATIONS, int((max_work - work) / cost))
        search = yield from search_least_squares(
            samples, width, rng=rng, activation=activation, n_init=n_init, max_iter=affordable
        )
        work += search.n_iter * cost
        widths.append(width)
        searches.append(search)
        criteria.append(bic(search.loss, width, samples, activation))
        best = int(np.argmin(criteria))
        without_gain = len(widths) - 1 - best
        if SMALL_RESIDUAL > relative_residual(searches[best].loss, samples) > samples.rounding:
            if without_gain >= SMALL_RESIDUAL_PATIENCE:
                break
        elif without_gain >= PATIENCE or criteria[-1] > min(criteria) + DECISIVE:
            break
        width += 1
    return WidthPath(widths[int(np.argmin(criteria))], widths, criteria, searches)
