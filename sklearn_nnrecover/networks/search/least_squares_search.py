"""Search for the global least-squares optimum of a two-layer network of given width.

Under noise, whether error bars can be believed is decided by whether the optimum was found. One
random start finds it in a minority of data sets. One *run* of this search is: a few greedy starts
(:mod:`greedy_starts`), the best k units out of all they found (:mod:`recombination`), replacement
of single units until none helps (:mod:`unit_surgery`), and jitter by the standard errors, since
every kink that crosses a sample makes small local minima. Runs start afresh until two of them,
independent of each other, end in the same optimum. With fewer outputs than units, or many units, a
run also starts from units fitted beside a free linear part (:mod:`sign_free_starts`), where their
signs do not matter yet; with activations that are not piecewise linear, from units to spare
(:mod:`surplus_starts`).

The local minima visited on the way are kept: those that fit almost as well are *rivals*, and no
interval around the best one is honest for a unit that a rival places elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dtrtrs

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.model.balanced_units import balanced_sets, linear_functions
from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    relative_residual,
)
from sklearn_nnrecover.networks.search.descent import Descent
from sklearn_nnrecover.networks.search.greedy_starts import greedy_start
from sklearn_nnrecover.networks.search.recombination import select_units
from sklearn_nnrecover.networks.search.sign_free_starts import sign_free_start
from sklearn_nnrecover.networks.search.surplus_starts import surplus_start
from sklearn_nnrecover.networks.search.unit_surgery import replace_units
from sklearn_nnrecover.networks.search.variable_projection import (
    Projection,
    SeparableLeastSquares,
    damped_factor,
)

# Two runs agree when their n m log(loss) differ by less than this: far below what the data can
# tell apart (1 is one standard deviation), above the micro-minima that kinks at samples make.
AGREEMENT = 0.5
# Independent runs that have to end in the same optimum: under noise, and at zero residual.
NOISY_AGREEMENT = 2
EXACT_AGREEMENT = 3
# Zero residual, as a multiple of what rounding of the user's data makes.
ZERO_RESIDUAL = 10.0
# Bounds on the length of units that have no scale gauge, in whitened coordinates, start by start:
# without one, units run away to serve a single extreme sample.
NORM_BOUNDS = (1.5, 4.0, np.inf)
# Sums of linear functions, relative to the longest, that a descent may make up for when their units
# are mirrored; and most such sets that are tried.
BALANCED = 0.3
MOST_BALANCED = 6
# Relative distance of two units that are the same unit.
SAME_UNIT = 1e-3


class Rival(NamedTuple):
    """A visited local minimum that fits almost as well as the best.

    Attributes
    ----------
    network : TwoLayerNetwork
        The other solution.
    evidence : float
        ``n m log(loss / best loss)``: minus twice the log-likelihood ratio.
    """

    network: TwoLayerNetwork
    evidence: float


class Search(NamedTuple):
    """The best network found, and how far it can be trusted to be the optimum.

    Attributes
    ----------
    network : TwoLayerNetwork
        Lowest loss found.
    loss : float
        Its weighted residual sum of squares.
    rivals : list of Rival
        Other minima within 12 units of ``n m log(loss)``, best first; at zero residual, other
        networks of zero residual.
    n_agreeing : int
        Independent runs that ended in the best optimum; at zero residual, independent starts.
    n_starts : int
        Independent runs made.
    n_iter : int
        Normal matrices formed: the work.
    """

    network: TwoLayerNetwork
    loss: float
    rivals: list[Rival]
    n_agreeing: int
    n_starts: int
    n_iter: int


def jitter(
    descent: Descent,
    at: Projection,
    rng: np.random.RandomState,
    *,
    n_trials: int,
) -> Projection:
    """Restart from the optimum displaced by its own standard errors, while that lowers the loss.

    Displacements are .4 to 7.4 standard errors long; ``n_trials`` failures in a row end it.
    """
    problem = descent.problem
    homogeneous = problem.activation.degree is not None
    p, k = at.V.shape
    left = n_trials
    factored: np.ndarray | None = None
    while left and not descent.exhausted:
        if factored is None:
            solved = damped_factor(problem.normal_matrix(at), at.V, 1e-8, homogeneous)
            descent.work += 1
            if solved is None:
                return at
            factored = solved[0]
        noise = np.sqrt(at.loss / descent.n_observations) * np.exp(rng.uniform(-1.0, 2.0))
        shift, _ = dtrtrs(factored, noise * rng.standard_normal(k * p), lower=1, trans=1)
        trial = descent.run(at.V + shift.reshape(k, p).T, beat=at.loss)
        left -= 1
        if trial.loss < at.loss:
            if trial.loss < at.loss * (1 - descent.margin):
                left, factored = n_trials, None
            at = trial
    return at


def mirror_balanced_units(descent: Descent, at: Projection) -> Projection:
    """Descend from the mirror images of sets of units that nearly allow it: likely rivals."""
    V = at.V[:-1] if descent.problem.samples.intercept else at.V
    functions = linear_functions(V, at.coefficients[: V.shape[1]])
    for members in balanced_sets(functions, BALANCED)[:MOST_BALANCED]:
        mirrored = at.V.copy()
        mirrored[:, members] *= -1
        trial = descent.run(mirrored, beat=at.loss)
        if trial.loss < at.loss:
            at = trial
    return at


def starts(
    descent: Descent, n_hidden: int, rng: np.random.RandomState, n_greedy: int, sign_free: bool
) -> Iterator[Projection]:
    """Local optima from independent starts, one at a time."""
    if sign_free:
        yield descent.run(sign_free_start(descent, n_hidden, rng))
    samples, activation = descent.problem.samples, descent.problem.activation
    for start in range(n_greedy):
        if activation.negative_slope is not None:
            yield descent.run(greedy_start(descent, n_hidden, rng))
            continue
        bound = NORM_BOUNDS[start % len(NORM_BOUNDS)] if activation.degree is None else np.inf
        problem = SeparableLeastSquares(samples, activation, largest_norm=bound)
        # Minima with units to spare are no rivals: they stay apart.
        surplus = Descent(problem, descent.budget - descent.work)
        V = surplus_start(surplus, n_hidden, rng)
        descent.work += surplus.work
        yield descent.run(V)


def improve(
    descent: Descent,
    best: Projection,
    pool: np.ndarray,
    n_hidden: int,
    rng: np.random.RandomState,
    n_jitter: int,
) -> Steps[Projection]:
    """Recombination, surgery and jitter, from the best optimum and the units found so far."""
    recombined = descent.run(select_units(descent.problem, pool, n_hidden), beat=best.loss)
    best = min(best, recombined, key=lambda at: at.loss)
    yield Step(best.loss, state=best.V)
    best = replace_units(descent, best, pool, rng)
    yield Step(best.loss, state=best.V)
    best = jitter(descent, best, rng, n_trials=n_jitter)
    yield Step(best.loss, state=best.V)
    return best


def search_least_squares(
    samples: Samples,
    n_hidden: int,
    *,
    rng: np.random.RandomState,
    activation: Activation = RELU,
    n_init: int = 6,
    n_greedy: int = 3,
    n_jitter: int = 4,
    n_polish: int = 10,
    max_iter: int = 20000,
    known: np.ndarray | None = None,
) -> Steps[Search]:
    """Find the least-squares optimum of a network of given width.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    n_hidden : int
        Number of hidden units.
    rng : RandomState
        Source of randomness.
    activation : Activation, default=RELU
        Elementwise activation.
    n_init : int, default=6
        Most independent runs; they end as soon as two agree on the best optimum, or three starts
        on one network of zero residual.
    n_greedy : int, default=3
        Greedy starts per run.
    n_jitter : int, default=4
        Jitters that have to fail in a row before a run ends.
    n_polish : int, default=10
        The same for the best of all runs. With ``n_init=1`` nothing could agree, and neither is
        done: a quick look, good enough to compare widths by.
    max_iter : int, default=20000
        Most Levenberg-Marquardt iterations over all runs.
    known : ndarray of shape (p, n_hidden) or None
        Hidden units that an earlier run of this search ended with; they count as the first run.

    Yields
    ------
    Step
        Best loss so far, relative distance of the last two runs, hidden units.

    Returns
    -------
    Search
    """
    problem = SeparableLeastSquares(samples, activation)
    descent = Descent(problem, max_iter)
    piecewise_linear = activation.negative_slope is not None
    sign_free = piecewise_linear and (samples.Y.shape[1] < n_hidden or n_hidden >= 10)
    if n_init == 1:
        n_jitter = n_polish = 0
    ends: list[Projection] = []
    units: list[np.ndarray] = []
    best: Projection | None = None
    n_runs = 0
    if known is not None:
        best = descent.run(known)
        n_runs, ends, units = 1, [best], [best.V]
        # Runs that are to confirm a zero residual need every kind of start.
        sign_free = piecewise_linear and (sign_free or is_exact(best, samples))
    while n_runs < max(n_init, 1) and not (n_runs and descent.exhausted):
        n_runs += 1
        end: Projection | None = None
        found: list[np.ndarray] = []
        settled = False
        for at in starts(descent, n_hidden, rng, n_greedy, sign_free):
            found.append(at.V)
            end = at if end is None or at.loss < end.loss else end
            yield Step(at.loss, state=at.V)
            if is_exact(at, samples):
                # Each start at zero residual is a run of its own: nothing is left to improve.
                ends.append(at)
                best = at if best is None or not is_exact(best, samples) else best
                settled = count_agreeing(descent, ends, best) >= EXACT_AGREEMENT
            elif best is not None:
                settled = descent.evidence(at.loss, best.loss) < AGREEMENT
            if settled or descent.exhausted:
                break
        assert end is not None
        if best is not None and is_exact(best, samples) and (settled or is_exact(end, samples)):
            if settled:
                break
            continue
        if not (settled or descent.exhausted):
            end = yield from improve(descent, end, np.hstack(found), n_hidden, rng, n_jitter)
        ends.append(end)
        units += [*found, end.V]
        best = end if best is None or end.loss < best.loss else best
        if is_exact(best, samples):
            if count_agreeing(descent, ends, best) >= EXACT_AGREEMENT:
                break
        else:
            if count_agreeing(descent, ends, best) >= NOISY_AGREEMENT:
                break
            if len(ends) > 1 and not descent.exhausted:
                # Runs that disagree may each hold a part of the answer.
                best = yield from improve(descent, best, np.hstack(units), n_hidden, rng, n_jitter)
    assert best is not None
    n_agreeing = count_agreeing(descent, ends, best)
    if not is_exact(best, samples):
        best = jitter(descent, best, rng, n_trials=n_polish)
        if piecewise_linear and n_init > 1:
            best = mirror_balanced_units(descent, best)
    best = descent.run(best.V, tol=1e-12, max_iter=200)
    yield Step(best.loss, 0.0, best.V)
    return Search(
        problem.fit(best, True, descent.work).network,
        best.loss,
        rival_minima(descent, best),
        n_agreeing,
        n_runs,
        descent.work,
    )


def is_exact(at: Projection, samples: Samples) -> bool:
    """Whether the residual cannot be told from rounding of the data."""
    return relative_residual(at.loss, samples) <= ZERO_RESIDUAL * samples.rounding


def count_agreeing(descent: Descent, ends: list[Projection], best: Projection) -> int:
    """Number of runs that ended in the best optimum.

    Under noise the losses are compared, as far as data can tell; at zero residual the units, since
    there different networks may have the same loss.
    """
    if is_exact(best, descent.problem.samples):
        mirrored = descent.problem.activation.mirrored
        return sum(same_units(end.V, best.V, mirrored) for end in ends)
    return sum(descent.evidence(end.loss, best.loss) < AGREEMENT for end in ends)


def same_units(V: np.ndarray, other: np.ndarray, mirrored: bool = False) -> bool:
    """Whether two networks have the same hidden units, in any order (and sign, if mirrored)."""
    if mirrored:
        V = V * facing(V, other)
    squared = np.sum(V**2, axis=0)[:, None] + np.sum(other**2, axis=0) - 2 * V.T @ other
    near = squared <= SAME_UNIT**2 * np.sum(V**2, axis=0)[:, None]
    return bool(near.any(axis=0).all() and near.any(axis=1).all())


def facing(V: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Signs that turn each unit towards the nearest one of another network, shape (k,)."""
    products = (other / np.maximum(np.linalg.norm(other, axis=0), 1e-300)).T @ V
    nearest = products[np.argmax(np.abs(products), axis=0), np.arange(V.shape[1])]
    return np.where(nearest < 0, -1.0, 1.0)


def rival_minima(descent: Descent, best: Projection, limit: int = 50) -> list[Rival]:
    """Visited minima within the window of the best, without near-copies, best first."""
    kept: list[Projection] = [best]
    rivals: list[Rival] = []
    problem = descent.problem
    exact = is_exact(best, problem.samples)
    for at in sorted(descent.minima, key=lambda at: at.loss):
        evidence = 0.0 if exact else descent.evidence(at.loss, best.loss)
        far = not is_exact(at, problem.samples) if exact else evidence > descent.window
        if far or len(rivals) == limit:
            break
        if problem.activation.mirrored:
            at = problem.project(at.V * facing(at.V, best.V))
        if not any(same_units(at.V, other.V) for other in kept):
            kept.append(at)
            network = problem.fit(at, True, 0).network
            rivals.append(Rival(network, max(evidence, 0.0)))
    return rivals
