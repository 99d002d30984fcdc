"""Recovery under noise of any distribution that does not depend on the inputs (section 7).

Model: ``Y = f(Z V) A + c + E``, the rows of E independent of the inputs: heavy tails without a mean
or a variance, skew, any location. Algorithm 8 guesses the output layer on a net over all matrices
of a sketch, (kappa / eps)^O(k^2) of them, and competes with |E|_F in prediction error only. What is
done here instead finds the weights themselves:

1. outputs are winsorised, and the least-squares optimum of the winsorised outputs is searched; with
   many samples on some of them;
2. from each start Huber's loss is minimised over all samples (:mod:`robust_regression`), where the
   location of the noise is a parameter of its own;
3. at the working outputs of the best one the least-squares search is run again, as a check, and
   repeated from what it finds.

Kept: V, the hidden biases and A are estimated consistently, at the rate 1 / sqrt(n), for any
distribution of the noise with a density around the estimated location; error bars come from the
sandwich of the working outputs. Lost: the output intercepts (the location of the noise cannot be
told from them), any bound at finite n, and, beyond several starts that agree, the certainty that
the best optimum was found.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.gross_errors.robust_regression import (
    RobustFit,
    huber_fit,
    huber_losses,
    network_of_units,
    robust_design,
    some_rows,
    winsorized,
)
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    fit_output_layer,
    residual_sum_of_squares,
)
from sklearn_nnrecover.networks.recovery import recover
from sklearn_nnrecover.networks.search.least_squares_search import search_least_squares
from sklearn_nnrecover.networks.search.variable_projection import step_work
from sklearn_nnrecover.networks.search.width_selection import largest_width, select_width
from sklearn_nnrecover.networks.solvers import SEARCH_WORK, Options, Recovery
from sklearn_nnrecover.networks.task import Outcome, Task

# Searches at the working outputs before the last is believed.
MAX_CHECKS = 3
# Changes of the width that winsorising misled.
MAX_WIDTH_MOVES = 6
# Scale of residuals that are rounding, in units of the rounding of the outputs.
ZERO_SCALE = 10.0
# Fall of the loss, in units of a log-likelihood ratio, that makes another optimum worth a descent.
BETTER = 0.5

GUARANTEE = (
    "Consistent for noise of any distribution that is independent of X; output intercepts include "
    "the location of the noise."
)


def recover_under_arbitrary_noise(
    X: np.ndarray, Y: np.ndarray, weight: np.ndarray, task: Task, rng: np.random.RandomState
) -> Steps[Outcome]:
    """Estimate a network under noise of any distribution that is independent of the inputs.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Inputs.
    Y : ndarray of shape (n, m)
        Outputs.
    weight : ndarray of shape (n,)
        Positive frequencies.
    task : Task
        What was asked for; the solver is always the one described above.
    rng : RandomState
        Source of randomness.

    Yields
    ------
    Step
        Steps of the searches and of Huber's iterations.

    Returns
    -------
    Outcome
        Its samples have the working outputs.
    """
    samples, design = robust_design(X, Y, weight, task)
    if samples.Z.shape[1] == int(task.intercept):
        clipped = winsorized(samples)
        recovery = yield from recover(
            clipped, task.n_hidden, solver="auto", noise="gaussian", options=task.options, rng=rng
        )
        return Outcome(recovery, clipped, design, robust=True)
    fit = yield from robust_search(samples, task.n_hidden, task.options, rng)
    for _ in range(MAX_CHECKS):
        judged = samples._replace(Y=fit.working)
        k = fit.network.n_hidden
        search = yield from search_least_squares(
            judged,
            k,
            rng=rng,
            activation=task.options.activation,
            n_init=task.options.n_init,
            max_iter=max(100, int(SEARCH_WORK / step_work(judged, k))),
            known=fit.network.V,
        )
        other = yield from huber_fit(samples, search.network, scale=fit.scale)
        losses = huber_losses(samples, [fit, other], fit.scale)
        if losses[1] >= losses[0] - BETTER:
            break
        fit = other
    recovery = Recovery(
        search.network, "varpro", search.loss, search.n_agreeing, search=search, note=GUARANTEE
    )
    return Outcome(recovery, judged, design, robust=True)


def robust_search(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[RobustFit]:
    """Best of several stationary points of Huber's loss, at the best width if none is given.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    n_hidden : int or None
        Width; None chooses it by a criterion like BIC with Huber's loss.
    options : Options
        Activation and budgets.
    rng : RandomState
        Source of randomness.

    Yields
    ------
    Step
        Steps of the searches.

    Returns
    -------
    RobustFit
    """
    few = some_rows(winsorized(samples), n_hidden, rng)
    if n_hidden is None:
        path = yield from select_width(few, rng=rng, activation=options.activation)
        starts = [search.network.V for search in path.searches]
    else:
        starts = []
        for _ in range(max(1, options.n_init // 3)):
            search = yield from search_least_squares(
                few, n_hidden, rng=rng, activation=options.activation, n_init=2
            )
            starts += [search.network.V, *(rival.network.V for rival in search.rivals[:2])]
    fits: list[RobustFit] = []
    for V in starts:
        start = network_of_units(V, samples, options.activation)
        fits.append((yield from huber_fit(samples, start)))
    best = _better_of(samples, fits)
    for _ in range(MAX_WIDTH_MOVES if n_hidden is None else 0):
        if np.all(best.scale <= ZERO_SCALE * samples.rounding):
            break
        # Winsorising bends the outputs, so that the path may stop too early or too late.
        fits = yield from _neighbours(samples, best, options, rng)
        found = _better_of(samples, [best, *fits])
        if found is best:
            break
        best = found
    return best


def _neighbours(
    samples: Samples, fit: RobustFit, options: Options, rng: np.random.RandomState
) -> Steps[list[RobustFit]]:
    """Fits of one unit less, without the one that is missed least, and of one unit more."""
    fits: list[RobustFit] = []
    V, activation = fit.network.V, options.activation
    judged = samples._replace(Y=fit.working)
    if V.shape[1] > 1:
        fewer = [
            fit_output_layer(np.delete(V, j, 1), judged, activation) for j in range(V.shape[1])
        ]
        missed = [residual_sum_of_squares(network, judged) for network in fewer]
        fits.append((yield from huber_fit(samples, fewer[int(np.argmin(missed))])))
    if V.shape[1] < largest_width(samples, activation):
        few = some_rows(judged, V.shape[1] + 1, rng)
        search = yield from search_least_squares(
            few, V.shape[1] + 1, rng=rng, activation=activation, n_init=1
        )
        start = fit_output_layer(search.network.V, judged, activation)
        fits.append((yield from huber_fit(samples, start)))
    return fits


def _better_of(samples: Samples, fits: list[RobustFit]) -> RobustFit:
    """Fit of the lowest criterion."""
    equations = samples.weight.sum() * samples.Y.shape[1]
    networks = [fit.network for fit in fits]
    sizes = [samples.n_parameters(net.n_hidden, net.activation) for net in networks]
    return fits[int(np.argmin(huber_losses(samples, fits) + np.log(equations) * np.array(sizes)))]
