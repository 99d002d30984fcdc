"""Samples on which one unit alone is active: a noiseless network with any number of outputs >= 2.

Section 6 of the paper (Algorithm 7). Where unit j alone is active the output is
``(z v_j) a_j + c``: a point on a ray of direction a_j. Two samples on which different units, or
several, are active have the same direction with probability zero, so equal directions single such
samples out, and v_j is linear least squares on them. No inverse of the output layer is needed,
hence no bound on the number of units; but a unit has to be active alone on more than p samples, a
share of about 2^-k.

What is done here beyond the printed algorithm:

* output intercepts: where no unit is active the output is c, the one value that is repeated;
* *peeling*: a unit that was found is subtracted, which leaves a network of one unit less with twice
  as many samples on which one unit alone is active; the printed algorithm needs all units at once;
* Theorem 11 allows output weights u and -u, where it does not hold: the samples of direction u are
  then those of the first unit, alone *or* with the second, and least squares on them gives neither
  (the same with one output only, where all directions are equal). A group that is not linear in
  the inputs is refused, and said to mix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.model.rectified_activations import RELU
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    fit_output_layer,
    relative_residual,
    residual_sum_of_squares,
)

# Errors of directions and residuals, in units of the rounding of the outputs.
ROUNDING_UNITS = 1e3
# Outputs shorter than this, relative to the longest, have no direction worth the name.
SHORTEST = 1e-3
# Rows beyond the number of weights that a group must explain.
SPARE = 2


@dataclass(frozen=True)
class OneSparse:
    """Result of :func:`one_sparse_recovery`.

    Attributes
    ----------
    network : TwoLayerNetwork or None
        The network, its residual at rounding level.
    reason : str
        Why there is none.
    n_determinations : int
        How many disjoint sets of samples, each enough for its weights, gave the same unit; the
        fewest over all units.
    """

    network: TwoLayerNetwork | None
    reason: str = ""
    n_determinations: int = 0


def one_sparse_recovery(samples: Samples, *, n_hidden: int | None = None) -> Steps[OneSparse]:
    """Recover a noiseless network from samples on which one unit alone is active.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    n_hidden : int or None
        Known number of units; None goes on until nothing is left to explain.

    Yields
    ------
    Step
        Relative residual after each unit.

    Returns
    -------
    OneSparse
    """
    Z, m = samples.Z, samples.Y.shape[1]
    p = Z.shape[1]
    if m < 2:
        return OneSparse(None, "one output has one direction, which all units share")
    tolerance = ROUNDING_UNITS * samples.rounding * max(1.0, float(np.abs(samples.Y).max()))
    rest = samples.Y
    if samples.intercept:
        c = _repeated_row(rest, tolerance)
        if c is None:
            return OneSparse(None, "there are no two samples on which no unit is active")
        rest = rest - c
    units: list[np.ndarray] = []
    counts: list[int] = []
    mixed = False
    while np.abs(rest).max() > tolerance:
        if n_hidden is not None and len(units) == n_hidden:
            return OneSparse(None, f"more than {n_hidden} units are in the outputs")
        best: tuple[int, np.ndarray, np.ndarray] | None = None
        for group in _groups(rest, tolerance, p + SPARE):
            direction = rest[group].sum(axis=0)
            direction /= np.linalg.norm(direction)
            values = rest[group] @ direction
            v, _, rank, _ = np.linalg.lstsq(Z[group], values, rcond=1e-10)
            wrong = np.abs(Z[group] @ v - values).max() > tolerance * p
            mixed |= bool(wrong and rank == p)
            if not wrong and rank == p and (best is None or len(group) > best[0]):
                best = len(group), v, direction
        if best is None:
            return OneSparse(None, _shortage(len(units), mixed, p))
        counts.append(best[0])
        units.append(best[1])
        rest = rest - np.maximum(Z @ best[1], 0.0)[:, None] * best[2]
        yield Step(float(np.sqrt(np.mean(rest**2))), float(len(units)))
        if len(units) >= len(Z):
            return OneSparse(None, _shortage(len(units), mixed, p))
    if not units:
        return OneSparse(None, "constant outputs")
    V = np.column_stack(units)
    network = fit_output_layer(V / np.linalg.norm(V, axis=0), samples, RELU)
    if relative_residual(residual_sum_of_squares(network, samples), samples) > tolerance:
        return OneSparse(None, "the units found do not explain the outputs")
    return OneSparse(network, n_determinations=min(counts) // p)


def _shortage(n_units: int, mixed: bool, p: int) -> str:
    found = f"{n_units} units were found, and "
    if mixed:
        return found + (
            "samples of one output direction mix one active unit with several: output weights of "
            "opposite directions, for which the theorem does not hold"
        )
    return found + f"no other is active alone on {p + SPARE} samples"


def _repeated_row(Y: np.ndarray, tolerance: float) -> np.ndarray | None:
    """The row that most others are equal to; None if no two are."""
    groups = _equal_rows(Y, tolerance)
    largest = max(groups, key=len)
    return Y[largest].mean(axis=0) if len(largest) > 1 else None


def _groups(Y: np.ndarray, tolerance: float, least: int) -> list[np.ndarray]:
    """Samples of equal output direction, in groups of at least this many."""
    lengths = np.linalg.norm(Y, axis=1)
    told = np.flatnonzero(lengths > max(SHORTEST * lengths.max(), 10 * tolerance))
    directions = Y[told] / lengths[told, None]
    # The relative error of the shortest outputs bounds that of a direction.
    error = 4 * tolerance / lengths[told].min()
    return [told[rows] for rows in _equal_rows(directions, error) if len(rows) >= least]


def _equal_rows(rows: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Rows that agree up to a tolerance, by one sort along a line in general position."""
    line = np.cos(1.0 + np.arange(rows.shape[1]) ** 2)
    order = np.argsort(rows @ line, kind="stable")
    steps = np.abs(np.diff(rows[order], axis=0)).max(axis=1)
    return list(np.split(order, np.flatnonzero(steps > tolerance) + 1))
