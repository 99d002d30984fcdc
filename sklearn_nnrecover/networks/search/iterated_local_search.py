"""Iterated local search over hidden units: replace the least useful ones, fit again, keep gains.

A local minimum of the loss usually has most hyperplanes nearly right and a few misplaced. Those
contribute least, so that a new start that keeps the others is worth several from scratch. Fits
after a replacement start from a small smoothing width: wide enough for hyperplanes to pass
samples, too small to forget what was found.

References
----------
Lourenço, Martin and Stützle, "Iterated local search", Handbook of Metaheuristics (2003).
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.search.graduated_smoothing import WIDTHS, graduated_fit
from sklearn_nnrecover.networks.search.hyperplane_grouping import removal_costs, triangular_features
from sklearn_nnrecover.networks.search.random_hyperplanes import random_hyperplanes
from sklearn_nnrecover.networks.search.variable_projection import Fit

REPLACEMENT_WIDTHS = (0.12, 0.06, 0.03, 0.01)
LARGEST_REPLACEMENT = 2
RELATIVE_GAIN = 1e-3
# Odds of a unit being replaced are 1 / (usefulness + this), usefulness relative to the largest.
SPARED = 0.05


def replace_least_useful(samples: Samples, V: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Replace one or two units, chosen at random in favour of the least useful, shape (p, k)."""
    k = V.shape[1]
    usefulness = removal_costs(*triangular_features(samples, V))[:k]
    odds = 1 / (usefulness / max(usefulness.max(), np.finfo(float).tiny) + SPARED)
    size = min(k, rng.randint(1, LARGEST_REPLACEMENT + 1))
    units = rng.choice(k, size, replace=False, p=odds / odds.sum())
    V = V.copy()
    V[:, units] = random_hyperplanes(samples, size, rng)
    return V


def iterated_search(
    samples: Samples,
    n_units: int,
    *,
    rng: np.random.RandomState,
    tol: float,
    patience: int = 10,
    max_iter: int = 60,
) -> Steps[Fit]:
    """Search for units that, with a free linear part, fit to zero residual.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    n_units : int
        Number of units fitted.
    rng : RandomState
        Source of the start and the replacements.
    tol : float
        Residual norm (weighted, absolute) at which the search ends.
    patience : int, default=10
        Replacements in vain, in a row, after which the search gives up.
    max_iter : int, default=60
        Iterations of one fit after smoothing.

    Yields
    ------
    Step
        Those of the fits.

    Returns
    -------
    Fit
        The best found, with its linear part.
    """
    V = random_hyperplanes(samples, n_units, rng)
    best = yield from graduated_fit(samples, V, linear_part=True, widths=WIDTHS, max_iter=max_iter)
    in_vain = 0
    while np.sqrt(best.loss) > tol and in_vain < patience:
        V = replace_least_useful(samples, best.network.V, rng)
        fit = yield from graduated_fit(
            samples, V, linear_part=True, widths=REPLACEMENT_WIDTHS, max_iter=max_iter
        )
        gained = fit.loss < (1 - RELATIVE_GAIN) * best.loss
        in_vain = 0 if gained else in_vain + 1
        if fit.loss < best.loss:
            best = fit
    return best
