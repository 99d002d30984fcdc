"""What every verdict on a network shares: its form, its constants, the description of units.

``noiseless_verdict.py`` and ``noisy_verdict.py`` judge; outputs without any kink are judged here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sklearn_nnrecover.networks.evidence.identification import Identification, UnitIdentification
from sklearn_nnrecover.networks.evidence.open_sides import open_sides
from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.rectified_activations import Activation
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    relative_residual,
)
from sklearn_nnrecover.networks.solvers import Recovery

# Residuals of a least-squares solution computed in floating point, over the rounding of its data.
ZERO_RESIDUAL_FACTOR = 10.0
MIN_AGREEING = 3
MIN_REDUNDANCY = 3.0
# Nominal; of 1000 data sets of the right model none had a p-value below it (3 were below .001).
LACK_OF_FIT_LEVEL = 1e-4


class Verdict(NamedTuple):
    """Status, proof, reason, conditions and units, as the report takes them.

    Attributes
    ----------
    status, reason, proof
        See :class:`~sklearn_nnrecover.base.RecoveryReport`.
    conditions : list of tuple
        ``(name, value, threshold, passed, meaning)``.
    units : list of dict
        One a hidden unit, in the order of the network.
    """

    status: str
    reason: str
    proof: str | None
    conditions: list[tuple[str, Any, Any, bool, str]]
    units: list[dict[str, Any]]


def is_zero_residual(loss: float, samples: Samples) -> bool:
    """Whether a loss cannot be told from rounding of the data."""
    return relative_residual(loss, samples) <= ZERO_RESIDUAL_FACTOR * samples.rounding


def is_conclusive(recovery: Recovery, samples: Samples) -> bool:
    """Whether a solver's own evidence suffices, should the data pin its network down."""
    proven = recovery.proven
    agreed = recovery.n_agreeing >= MIN_AGREEING
    return is_zero_residual(recovery.loss, samples) and (proven or agreed)


def unit_problem(unit: UnitIdentification, p: int, activation: Activation) -> str | None:
    """Why the data do not pin a unit down; None if they do."""
    if activation.rectified:
        if unit.n_active == 0:
            return "never active"
        if not unit.pinned and unit.n_inactive == 0:
            return "never inactive"
        if unit.active_rank < p:
            return f"its active rows span {unit.active_rank} of {p} dimensions"
    elif activation.negative_slope is not None and min(unit.n_active, unit.n_inactive) == 0:
        # On one side of its kink a leaky unit v equals the unit -v, with other output weights.
        return "no sample lies beyond its kink"
    if not unit.pinned:
        return f"can move along {max(1, unit.undetermined.shape[1])} direction(s) unseen"
    if unit.redundancy < MIN_REDUNDANCY:
        return f"too few {rows_that_tell(activation)} to check it"
    return None


def rows_that_tell(activation: Activation) -> str:
    """What the rows are called that are evidence for a unit."""
    if activation.rectified:
        return "active rows"
    return "rows" if activation.negative_slope is None else "rows on one side of its kink"


def describe_units(
    network: TwoLayerNetwork, identification: Identification, samples: Samples, design: Design
) -> list[dict[str, Any]]:
    """One entry a unit, with undetermined directions in the user's coordinates and gauge."""
    p = samples.Z.shape[1]
    entries = []
    open_units = open_sides(network, samples)
    for j, unit in enumerate(identification.units):
        problem = unit_problem(unit, p, network.activation)
        if problem is None and open_units[j]:
            problem = "units may lie on the other side of their kinks, with another linear part"
        entry: dict[str, Any] = {
            "unit": j,
            "identified": problem is None,
            "problem": problem,
            "n_active": unit.n_active,
            "n_inactive": unit.n_inactive,
            "active_rank": unit.active_rank,
            "spare_equations": round(unit.redundancy, 1),
        }
        if unit.undetermined.shape[1]:
            W, b = design.input_vectors(unit.undetermined)
            if network.activation.degree is not None:
                # Moves that keep the norm of the unit's input weights.
                own, bias = design.input_vectors(network.V[:, [j]])
                along = own.T @ W / max(float(np.sum(own**2)), np.finfo(float).tiny)
                W, b = W - own @ along, b - bias @ along
            entry["undetermined_directions"] = np.vstack([W, b]).T.tolist()
        entries.append(entry)
    return entries


def rows_needed(samples: Samples, network: TwoLayerNetwork) -> int:
    """Fewest samples whose equations outnumber the parameters of a network of this width."""
    n_parameters = samples.n_parameters(network.n_hidden, network.activation)
    return -(-(n_parameters + 1) // samples.Y.shape[1])


def linear_verdict(recovery: Recovery, samples: Samples) -> Verdict:
    """Judge outputs that are a linear (or constant) function of the inputs: no kink to be seen."""
    constant = not np.any(np.abs(recovery.network.A) > ZERO_RESIDUAL_FACTOR * samples.rounding)
    kind = "constant" if constant else "a linear function of the inputs"
    residual = relative_residual(recovery.loss, samples)
    limit = ZERO_RESIDUAL_FACTOR * samples.rounding
    meaning = "the outputs are not linear in the inputs, so that kinks can be seen"
    units = [
        {"unit": j, "identified": False, "problem": "no kink in the outputs"}
        for j in range(recovery.network.n_hidden)
    ]
    return Verdict(
        "not_recovered",
        f"The outputs are {kind} on these samples, which any number of never inactive hidden units "
        "can produce: give samples on both sides of the units' kinks.",
        None,
        [("residual of the linear fit", residual, limit, False, meaning)],
        units,
    )


def unpinned(units: list[dict[str, Any]]) -> str:
    """Name the units that the data do not pin down, the first four with their problems."""
    named = [f"unit {u['unit']} ({u['problem']})" for u in units if not u["identified"]]
    return ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")


def withdrawn(verdict: Verdict) -> Verdict:
    """Claim no unit of a network that is not recovered."""
    if verdict.status == "not_recovered":
        for unit in verdict.units:
            unit["problem"] = unit["problem"] or "nothing is proven of this fit"
            unit["identified"] = False
    return verdict
