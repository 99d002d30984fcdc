"""Recover a ReLU network of unknown width: over-parametrise, then reduce.

For noiseless data and any number of outputs, one included. More hidden units than the network
has, with free linear features beside them so that each matters only up to its sign, are fitted
to zero residual (:mod:`variable_projection`, on few samples :mod:`iterated_local_search`), reduced
to the fewest hyperplanes that keep it zero (:mod:`hyperplane_grouping`), and given their signs by
the linear part (:mod:`sign_resolution`). The width comes out.

A zero residual alone proves nothing: starts go on until several, independent of each other, have
arrived at the same network.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.exact.always_on_units import always_on_span
from sklearn_nnrecover.networks.exact.sign_resolution import resolve_signs
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork
from sklearn_nnrecover.networks.search.hyperplane_grouping import is_zero, reduce_units
from sklearn_nnrecover.networks.search.iterated_local_search import iterated_search
from sklearn_nnrecover.networks.search.random_hyperplanes import random_hyperplanes
from sklearn_nnrecover.networks.search.variable_projection import Fit, variable_projection

# Residual at which a fit counts as zero: it converges quadratically from there.
ZERO_RESIDUAL = 1e-10
# Free parameters of a fit, as a share of the equations: beyond it anything can be interpolated.
MAX_PARAMETERS = 0.8
MATCH_TOL = 1e-6
# Arrivals in all after which networks that never agree are not determined by the data.
ARRIVALS_PER_AGREEMENT = 2


class Reduction(NamedTuple):
    """A network that reproduces the data, and how it was come by.

    Attributes
    ----------
    network : TwoLayerNetwork
        Kinked units first, always-on units last.
    loss : float
        Weighted residual sum of squares.
    n_always_on : int
        Units that are never inactive on the samples: together they make a linear function, which
        is all that the data determine of them.
    signs_identified : bool
        Whether the data decide on which side each kinked unit is active. If not, each is inactive
        at the mean input, and one always-on unit an output direction makes up for it.
    n_agreeing : int
        Independent starts that arrived at this network.
    n_rivals : int
        Other networks of this width and zero residual that starts arrived at.
    unit_agreement : ndarray of int, shape (k,)
        Per unit, the starts of zero residual that arrived at this unit, whatever their others.
    n_starts : int
        Starts in all.
    """

    network: TwoLayerNetwork
    loss: float
    n_always_on: int
    signs_identified: bool
    n_agreeing: int
    n_rivals: int
    unit_agreement: np.ndarray
    n_starts: int


class Plan(NamedTuple):
    """How one start is made."""

    excess: float  # units, as a multiple of the width
    searched: bool  # by iterated local search, or a single descent


# Descents from many units succeed at once where samples abound; where they are few, the search
# with no unit to spare does.
PLANS: tuple[Plan, ...] = (Plan(1.5, False), Plan(1.0, True), Plan(2.0, False), Plan(1.0, True))


def reduce_recovery(
    samples: Samples,
    *,
    rng: np.random.RandomState,
    n_hidden: int | None = None,
    n_init: int = 16,
    max_iter: int = 100,
    n_agreeing: int = 3,
) -> Steps[Reduction | None]:
    """Recover a ReLU network from noiseless samples, of given or of unknown width.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    rng : RandomState
        Source of the random starts.
    n_hidden : int or None, default=None
        Width from which the number of units fitted is derived; None tries a ladder of widths,
        smallest first. The network returned may be narrower.
    n_init : int, default=16
        Budget of starts, for each width of the ladder.
    max_iter : int, default=100
        Iterations of one fit.
    n_agreeing : int, default=3
        Stop when this many starts have arrived at the same network.

    Yields
    ------
    Step
        Those of the fits.

    Returns
    -------
    Reduction or None
        The narrowest network of zero residual, the one met most often among equals; None if no
        start reached zero residual.
    """
    limit = max_hidden(samples)
    widths = width_ladder(limit) if n_hidden is None else [n_hidden]
    tol = zero_tolerance(samples)
    arrivals: list[Reduction] = []
    plans = PLANS
    n_starts = 0
    for attempt in range(n_init):
        plan = plans[attempt % len(plans)]
        for width in widths:
            n_units = max(width, min(int(np.ceil(plan.excess * width)), limit))
            n_starts += 1
            if plan.searched:
                fit = yield from iterated_search(samples, n_units, rng=rng, tol=tol)
            else:
                V = random_hyperplanes(samples, n_units, rng)
                fit = yield from variable_projection(
                    samples, V, linear_part=True, max_iter=max_iter
                )
            if not is_zero(fit, tol):
                continue
            reduction = yield from reduce_fit(samples, fit, tol=tol)
            if reduction is None or (n_hidden and reduction.network.n_hidden > n_hidden):
                continue
            arrivals.append(reduction)
            n_alike = agreement(arrivals).n_agreeing
            if n_alike >= n_agreeing or len(arrivals) >= ARRIVALS_PER_AGREEMENT * n_agreeing:
                return agreement(arrivals)._replace(n_starts=n_starts)
            # What led to zero once will again.
            widths, plans = [max(1, reduction.network.n_hidden - reduction.n_always_on)], (plan,)
            break
    return agreement(arrivals)._replace(n_starts=n_starts) if arrivals else None


def zero_tolerance(samples: Samples) -> float:
    """Residual norm taken for zero."""
    relative = max(ZERO_RESIDUAL, 1e3 * samples.rounding)
    return relative * float(np.sqrt(samples.weight.sum() * samples.Y.shape[1]))


def agreement(arrivals: list[Reduction]) -> Reduction:
    """The network that most starts arrived at, among the narrowest, with the count of votes."""
    narrowest = min(reduction.network.n_hidden for reduction in arrivals)
    arrivals = [one for one in arrivals if one.network.n_hidden == narrowest]
    shared = np.array(
        [[shared_units(one.network, other.network) for other in arrivals] for one in arrivals]
    )
    same = shared.all(axis=2)
    votes = same.sum(axis=1)
    # Among those of most votes, the one nearest to the data.
    chosen = min(range(len(arrivals)), key=lambda i: (-votes[i], arrivals[i].loss))
    return arrivals[chosen]._replace(
        n_agreeing=int(votes[chosen]),
        n_rivals=len(np.unique(same, axis=0)) - 1,
        unit_agreement=shared[chosen].sum(axis=0),
    )


def shared_units(network: TwoLayerNetwork, other: TwoLayerNetwork) -> np.ndarray:
    """Which unit-norm units of a network another one has too, with their output weights, (k,)."""
    nearest = np.argmax(network.V.T @ other.V, axis=1)
    inputs = np.linalg.norm(network.V - other.V[:, nearest], axis=0)
    outputs = np.abs(network.A - other.A[nearest]).max(axis=1)
    return (inputs <= MATCH_TOL) & (outputs <= MATCH_TOL * np.abs(network.A).max())


def max_hidden(samples: Samples) -> int:
    """Largest number of units fitted beside a linear part, at least 1."""
    n, p = samples.Z.shape
    m = samples.Y.shape[1]
    return max(1, int((MAX_PARAMETERS * n - p) * m / (p - 1 + m)))


def width_ladder(limit: int) -> list[int]:
    """Widths to be tried, about a factor 1.5 apart."""
    widths = [1]
    while widths[-1] < limit:
        widths.append(min(limit, int(np.ceil(1.5 * widths[-1]))))
    return widths


def reduce_fit(samples: Samples, fit: Fit, *, tol: float) -> Steps[Reduction | None]:
    """Reduce a fit of zero residual to a network without a linear part.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    fit : Fit
        Fit with a linear part and zero residual.
    tol : float
        Residual norm taken for zero.

    Yields
    ------
    Step
        Those of the refits.

    Returns
    -------
    Reduction or None
        None if the network does not reach zero residual without the linear part.
    """
    fit = yield from reduce_units(samples, fit, tol=tol)
    assert fit.linear is not None
    signs = resolve_signs(fit.network, fit.linear, intercept=samples.intercept)
    V_on = always_on_span(row_directions(signs.linear), samples)
    if V_on is None:
        return None
    V = np.hstack([signs.network.V, V_on])
    polished = yield from variable_projection(samples, V, max_iter=20)
    if not is_zero(polished, tol):
        return None
    return Reduction(
        polished.network,
        polished.loss,
        n_always_on=V_on.shape[1],
        signs_identified=signs.identified,
        n_agreeing=1,
        n_rivals=0,
        unit_agreement=np.ones(V.shape[1], int),
        n_starts=1,
    )


def row_directions(linear: np.ndarray) -> np.ndarray:
    """Orthonormal basis (p, r) of the input directions that a linear part (p, m) uses."""
    left, singular, _ = np.linalg.svd(linear, full_matrices=False)
    return left[:, singular > max(1e-9 * singular.max(initial=0.0), np.finfo(float).tiny)]
