"""Searches with a unit to spare, reduced afterwards.

At zero residual a search with one unit more than the network has succeeds far more often than one
without: the spare unit carries what a misplaced one cannot. The information criterion then settles
on a width that is too large by units that are mirror images, copies or always on. These are removed
as after over-parametrisation, and the network
that is left is confirmed by further searches of the same kind, independent of each other.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork
from sklearn_nnrecover.networks.search.hyperplane_grouping import is_zero
from sklearn_nnrecover.networks.search.least_squares_search import (
    EXACT_AGREEMENT,
    Rival,
    Search,
    same_units,
    search_least_squares,
)
from sklearn_nnrecover.networks.search.overparametrized import reduce_fit, zero_tolerance
from sklearn_nnrecover.networks.search.variable_projection import Fit, variable_projection


def without_superfluous_units(samples: Samples, network: TwoLayerNetwork) -> Steps[Fit]:
    """Fewest units that reproduce the samples as a network does, where its residual is zero.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    network : TwoLayerNetwork
        ReLU network.

    Yields
    ------
    Step
        Those of the refits.

    Returns
    -------
    Fit
        Of the given units, if their residual is not zero or none of them is superfluous.
    """
    tol = zero_tolerance(samples)
    beside_linear = yield from variable_projection(samples, network.V, linear_part=True, max_iter=1)
    if is_zero(beside_linear, tol):
        reduction = yield from reduce_fit(samples, beside_linear, tol=tol)
        if reduction is not None and reduction.network.n_hidden < network.n_hidden:
            return Fit(reduction.network, None, reduction.loss, True, 1)
    return (yield from variable_projection(samples, network.V, max_iter=1))


def search_with_spare_units(
    samples: Samples,
    n_searched: int,
    known: Fit,
    *,
    rng: np.random.RandomState,
    n_init: int = 6,
    max_iter: int = 20000,
) -> Steps[Search]:
    """Confirm a network of zero residual by searches of a larger width.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    n_searched : int
        Width of the searches.
    known : Fit
        The network, narrower than that; it counts as the first arrival.
    rng : RandomState
        Source of randomness.
    n_init : int, default=6
        Most searches, the one that found ``known`` included; they end once three agree.
    max_iter : int, default=20000
        Most Levenberg-Marquardt iterations over all searches.

    Yields
    ------
    Step
        Those of the searches.

    Returns
    -------
    Search
        Narrowest network met, with the networks of its width that differ as rivals.
    """
    tol = zero_tolerance(samples)
    arrivals, n_iter, n_starts = [known], 0, 1
    while n_starts < n_init and n_iter < max_iter:
        n_starts += 1
        search = yield from search_least_squares(
            samples, n_searched, rng=rng, n_init=1, max_iter=max_iter - n_iter
        )
        n_iter += search.n_iter
        fit = yield from without_superfluous_units(samples, search.network)
        if is_zero(fit, tol):
            arrivals.append(fit)
        if _count_alike(arrivals, _narrowest(arrivals)) >= EXACT_AGREEMENT:
            break
    best = _narrowest(arrivals)
    others = [fit for fit in arrivals if fit.network.n_hidden == best.network.n_hidden]
    rivals = [
        Rival(fit.network, 0.0) for fit in others if not same_units(fit.network.V, best.network.V)
    ]
    alike = _count_alike(arrivals, best)
    return Search(best.network, best.loss, rivals, alike, n_starts, n_iter)


def _narrowest(arrivals: list[Fit]) -> Fit:
    """Narrowest network, the one met most often among equals."""
    return min(arrivals, key=lambda fit: (fit.network.n_hidden, -_count_alike(arrivals, fit)))


def _count_alike(arrivals: list[Fit], fit: Fit) -> int:
    return sum(
        other.network.n_hidden == fit.network.n_hidden
        and same_units(other.network.V, fit.network.V)
        for other in arrivals
    )
