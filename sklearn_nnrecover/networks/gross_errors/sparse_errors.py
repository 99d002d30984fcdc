"""Recovery from exact outputs of which a minority of entries is arbitrarily wrong (section 8).

Model: ``Y = f(Z V) A + c + E``, E zero except on a minority of the entries. With more outputs than
units the errors are found before the inputs are looked at (:mod:`robust_low_rank`), and the network
is recovered from the completed outputs; every entry that it does not reproduce to rounding is an
error, also in rows that could not be completed. With fewer outputs a network is fitted robustly
(:mod:`robust_regression`), and the solvers are given the rows that it leaves without an error.

The status is judged on the unmasked entries. A proof that no other network of this width gives the
completed outputs is one for the unmasked entries if these determine the others
(:mod:`unique_completion`). No proof says that the mask is right: fewer errors might be possible
with another network, but not a network that leaves these entries as they are.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.evidence.verdict import is_zero_residual
from sklearn_nnrecover.networks.gross_errors.arbitrary_noise import robust_search
from sklearn_nnrecover.networks.gross_errors.masked_verdict import (
    DEPENDENCE_LEVEL,
    error_dependence,
)
from sklearn_nnrecover.networks.gross_errors.robust_low_rank import (
    LARGEST_SHARE,
    ROUNDING_UNITS,
    LowRankSplit,
    robust_low_rank,
)
from sklearn_nnrecover.networks.gross_errors.robust_regression import (
    RobustFit,
    graduated_regression,
    huber_fit,
    huber_losses,
    network_of_units,
    robust_design,
    some_rows,
    winsorized,
)
from sklearn_nnrecover.networks.gross_errors.unique_completion import determined_rows
from sklearn_nnrecover.networks.model.design import Design, orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork
from sklearn_nnrecover.networks.recovery import recover
from sklearn_nnrecover.networks.search.least_squares_search import search_least_squares
from sklearn_nnrecover.networks.solvers import Recovery
from sklearn_nnrecover.networks.task import GrossErrors, Outcome, Task

NO_MASK = "The gross errors could not be told from the rest."
# Robust standard deviations beyond which an output is called an error when nothing is proven.
LARGE_RESIDUAL = 6.0


def recover_despite_sparse_errors(
    X: np.ndarray, Y: np.ndarray, weight: np.ndarray, task: Task, rng: np.random.RandomState
) -> Steps[Outcome]:
    """Recover a network from outputs with sparse gross errors.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Inputs.
    Y : ndarray of shape (n, m)
        Outputs.
    weight : ndarray of shape (n,)
        Positive frequencies.
    task : Task
        What was asked for.
    rng : RandomState
        Source of randomness.

    Yields
    ------
    Step
        Steps of the low-rank fit, then of the solvers.

    Returns
    -------
    Outcome
        With the entries taken for errors, replaced in its samples by the network's outputs.
    """
    rank = None if task.n_hidden is None else task.n_hidden + int(task.intercept)
    split = yield from robust_low_rank(Y, max_rank=rank, eps=task.eps)
    if not split.reason:
        return (yield from _recover_split(X, Y, weight, task, rng, split))
    return (yield from _recover_by_regression(X, Y, weight, task, rng))


def _recover_split(
    X: np.ndarray,
    Y: np.ndarray,
    weight: np.ndarray,
    task: Task,
    rng: np.random.RandomState,
    split: LowRankSplit,
) -> Steps[Outcome]:
    """Give the complete rows to the solvers; mask what their network does not explain."""
    samples, design, clean = _completed_samples(X, split, weight, task)
    recovery = yield from recover(
        clean, task.n_hidden, solver=task.solver, noise="none", options=task.options, rng=rng
    )
    given = samples._replace(Y=Y / design.output_scale)
    if not is_zero_residual(recovery.loss, clean):
        recovery = recovery._replace(note=f"{NO_MASK} {recovery.note}".strip())
        return with_errors_replaced(recovery, given, design, split.outliers, determined=False)
    network = recovery.network
    outliers = entries_not_reproduced(network, given)
    if split.outliers[split.complete].any():
        rows = determined_rows(network, given, ~outliers & split.complete[:, None])
        determined = bool(rows[split.complete].all())
    else:
        determined = True  # The solver saw no masked entry.
    return with_errors_replaced(recovery, given, design, outliers, determined)


def _recover_by_regression(
    X: np.ndarray, Y: np.ndarray, weight: np.ndarray, task: Task, rng: np.random.RandomState
) -> Steps[Outcome]:
    """Find the errors by a network fitted to the majority, for outputs too few to do without."""
    activation = task.options.activation
    samples, design = robust_design(X, Y, weight, task)
    if samples.Z.shape[1] == int(task.intercept):
        clipped = winsorized(samples)
        recovery = yield from recover(
            clipped, task.n_hidden, solver="auto", noise="none", options=task.options, rng=rng
        )
        nothing = np.zeros(Y.shape, dtype=bool)
        return Outcome(recovery, clipped, design, GrossErrors(nothing, False))
    few = some_rows(winsorized(samples), task.n_hidden, rng)
    first = yield from robust_search(samples, task.n_hidden, task.options, rng)
    best: tuple[RobustFit, np.ndarray] | None = None
    for attempt in range(2 * task.options.n_init):
        fit = first
        if attempt:
            # A start that is too wide still tells errors from the rest, one too narrow does not.
            wider = 0 if task.n_hidden is not None else attempt % 4
            search = yield from search_least_squares(
                few,
                first.network.n_hidden + wider,
                rng=rng,
                activation=activation,
                n_init=1,
                n_greedy=1,
            )
            start = network_of_units(search.network.V, samples, activation)
            fit = yield from huber_fit(samples, start, max_iter=20)
        network, residual = yield from graduated_regression(samples, fit)
        size = np.maximum(1.0, np.abs(network.predict(samples.Z)))
        outliers = residual > ROUNDING_UNITS * samples.rounding * size
        complete = ~outliers.any(axis=1)
        plausible = np.mean(outliers) < LARGEST_SHARE and complete.sum() > samples.Z.shape[1]
        if plausible and error_dependence(outliers, samples, network.V) >= DEPENDENCE_LEVEL:
            split = LowRankSplit(Y, outliers, complete, 0)
            outcome = yield from _recover_split(X, Y, weight, task, rng, split)
            if not outcome.recovery.note.startswith(NO_MASK):
                return outcome
        if best is None or np.argmin(huber_losses(samples, [best[0], fit])):
            left = np.abs(samples.Y - fit.network.predict(samples.Z))
            best = fit, left > LARGE_RESIDUAL * np.maximum(fit.scale, samples.rounding)
    assert best is not None
    recovery = Recovery(best[0].network, "varpro", np.inf, note=NO_MASK)
    return with_errors_replaced(recovery, samples, design, best[1], determined=False)


def _completed_samples(
    X: np.ndarray, split: LowRankSplit, weight: np.ndarray, task: Task
) -> tuple[Samples, Design, Samples]:
    """Samples of all rows, their design, and the samples whose outputs are complete."""
    complete, Y = split.complete, split.low_rank
    # Rows that could not be completed must not set the scale of the outputs.
    average = np.average(Y[complete], axis=0, weights=weight[complete])
    Y = np.where(complete[:, None], Y, average)
    samples, design = orthonormal_design(X, Y, weight, intercept=task.intercept, eps=task.eps)
    clean = samples._replace(Z=samples.Z[complete], Y=samples.Y[complete], weight=weight[complete])
    return samples, design, clean


def entries_not_reproduced(network: TwoLayerNetwork, samples: Samples) -> np.ndarray:
    """Entries of the outputs that differ from the network's by more than rounding.

    Returns
    -------
    ndarray of bool, shape (n, m)
    """
    predicted = network.predict(samples.Z)
    spread = np.sqrt(np.mean((predicted - predicted.mean(axis=0)) ** 2))
    size = np.maximum(np.abs(predicted), spread)
    return np.abs(samples.Y - predicted) > ROUNDING_UNITS * samples.rounding * size


def with_errors_replaced(
    recovery: Recovery, given: Samples, design: Design, outliers: np.ndarray, determined: bool
) -> Outcome:
    """Judge a network on the entries that are not masked."""
    predicted = recovery.network.predict(given.Z)
    samples = given._replace(Y=np.where(outliers, predicted, given.Y))
    residual = samples.Y - predicted
    loss = float(np.einsum("ij,ij,i->", residual, residual, given.weight))
    # As if the residuals of masked entries were those of the others.
    loss /= max(1.0 - float(np.mean(outliers)), np.finfo(float).tiny)
    errors = GrossErrors(outliers, determined)
    return Outcome(recovery._replace(loss=loss), samples, design, errors)
