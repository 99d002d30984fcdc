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
from sklearn_nnrecover.networks.design import Design, orthonormal_design
from sklearn_nnrecover.networks.recovery import recover
from sklearn_nnrecover.networks.robust_low_rank import (
    ROUNDING_UNITS,
    LowRankSplit,
    robust_low_rank,
)
from sklearn_nnrecover.networks.solvers import Recovery
from sklearn_nnrecover.networks.task import GrossErrors, Outcome, Task
from sklearn_nnrecover.networks.two_layer_network import Samples, TwoLayerNetwork
from sklearn_nnrecover.networks.unique_completion import determined_rows
from sklearn_nnrecover.networks.verdict import is_zero_residual

NO_MASK = "The gross errors could not be told from the rest."


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
    if split.reason:
        split = LowRankSplit(Y, split.outliers, ~split.complete, 0, split.reason)
    samples, design, clean = _completed_samples(X, split, weight, task)
    recovery = yield from recover(
        clean, task.n_hidden, solver=task.solver, noise="none", options=task.options, rng=rng
    )
    given = samples._replace(Y=Y / design.output_scale)
    if split.reason or not is_zero_residual(recovery.loss, clean):
        recovery = recovery._replace(note=f"{NO_MASK} {recovery.note}".strip())
        return with_errors_replaced(recovery, given, design, split.outliers, determined=False)
    network = recovery.network
    outliers = entries_not_reproduced(network, given)
    rows = determined_rows(network, given, ~outliers & split.complete[:, None])
    determined = bool(rows[split.complete].all())
    if not determined:
        recovery = recovery._replace(n_agreeing=1)
    return with_errors_replaced(recovery, given, design, outliers, determined)


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
