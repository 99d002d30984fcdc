"""From measured evidence to a status, with every condition and one plain reason.

``"exact"`` needs a zero residual (to rounding), a Jacobian of full rank, every unit seen on active
rows of full rank with equations to spare, and either the lifted system's null space of exactly the
right dimension (proof ``"global"``) or three independent starts that agree (proof ``"local"``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sklearn_nnrecover.networks.design import Design
from sklearn_nnrecover.networks.identification import Identification, UnitIdentification, identify
from sklearn_nnrecover.networks.lack_of_fit import LackOfFit
from sklearn_nnrecover.networks.lifted_system import PROOF_GAP
from sklearn_nnrecover.networks.rectified_activations import Activation
from sklearn_nnrecover.networks.solvers import Recovery
from sklearn_nnrecover.networks.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    relative_residual,
)

# Residuals of a least-squares solution computed in floating point, over the rounding of its data.
ZERO_RESIDUAL_FACTOR = 10.0
MIN_AGREEING = 3
MIN_REDUNDANCY = 3.0
# Nominal; of 1000 data sets of the right model none had a p-value below it (3 were below .001).
LACK_OF_FIT_LEVEL = 1e-4
# Active rows, per free input weight, below which error bars of a unit are not trusted.
NOISY_ACTIVE_ROWS = 4


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
        return f"too few {_telling(activation)} to check it"
    return None


def _telling(activation: Activation) -> str:
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
    for j, unit in enumerate(identification.units):
        problem = unit_problem(unit, p, network.activation)
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


def _mark_disagreement(units: list[dict[str, Any]], recovery: Recovery) -> None:
    """Withdraw units that independent starts place elsewhere, or whose side is open."""
    counts = recovery.unit_agreement
    for j, unit in enumerate(units):
        if not unit["identified"]:
            continue
        if counts is not None and counts[j] < MIN_AGREEING:
            unit["problem"] = f"only {int(counts[j])} independent starts agree on it"
        elif not recovery.signs_identified:
            unit["problem"] = "its kink is known, but not on which side of it the unit is active"
        unit["identified"] = unit["problem"] is None


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


def noiseless_verdict(
    recovery: Recovery, samples: Samples, design: Design, observed: np.ndarray | None = None
) -> Verdict:
    """Judge a network whose residual is at rounding level, or was asked to be.

    Parameters
    ----------
    recovery : Recovery
        The network and its solver's evidence.
    samples : Samples
        Distinct samples in design coordinates.
    design : Design
        Map to the user's coordinates.
    observed : ndarray of bool, shape (n, m) or None
        Entries of the outputs that the network is judged on; None means all.

    Returns
    -------
    Verdict
    """
    network = recovery.network
    n_equations = samples.Y.size if observed is None else int(np.count_nonzero(observed))
    residual = relative_residual(recovery.loss, samples)
    zero = is_zero_residual(recovery.loss, samples)
    # Weights cannot be told apart below the rounding of the data.
    tolerance = max(1e-9, 10 * samples.rounding)
    identification = identify(network, samples, tolerance=tolerance, observed=observed)
    units = describe_units(network, identification, samples, design)
    lifted = recovery.lifted
    proven = recovery.proven
    agree = recovery.n_agreeing >= MIN_AGREEING
    if not proven:
        _mark_disagreement(units, recovery)
    conditions: list[tuple[str, Any, Any, bool, str]] = [
        (
            "relative residual",
            residual,
            ZERO_RESIDUAL_FACTOR * samples.rounding,
            zero,
            "the network reproduces the outputs to rounding",
        ),
        (
            "equations",
            n_equations,
            identification.n_parameters,
            n_equations > identification.n_parameters,
            "more equations than free parameters",
        ),
        (
            "Jacobian rank",
            identification.rank,
            identification.n_parameters,
            identification.rank == identification.n_parameters,
            "no direction in which the network moves and no output changes",
        ),
        (
            "Jacobian conditioning",
            identification.smallest_singular,
            tolerance,
            identification.smallest_singular > tolerance,
            "smallest singular value over the largest; rounding over it bounds the weights' error",
        ),
        (
            "units pinned down",
            sum(unit["identified"] for unit in units),
            len(units),
            all(unit["identified"] for unit in units),
            "active rows of full rank, with equations to spare",
        ),
    ]
    if lifted is not None:
        conditions += [
            (
                "lifted nullity",
                lifted.nullity,
                lifted.expected_nullity,
                lifted.nullity == lifted.expected_nullity,
                "no other network of this width gives these outputs",
            ),
            (
                "lifted gap",
                lifted.gap,
                PROOF_GAP,
                lifted.gap >= PROOF_GAP,
                "first non-zero singular value over rounding",
            ),
        ]
    if recovery.exhaustive:
        conditions.append(
            (
                "activation patterns",
                "all",
                "all",
                True,
                "each was tried, and no other unit of any pattern is in the outputs' space",
            )
        )
    if not proven:
        conditions.append(
            (
                "independent starts that agree",
                recovery.n_agreeing,
                MIN_AGREEING,
                agree,
                "other starts arrived at the same network",
            )
        )
    complete = (
        zero
        and recovery.signs_identified
        and identification.rank == identification.n_parameters
        and identification.intercepts_pinned
        and all(unit["identified"] for unit in units)
    )
    if complete and proven:
        return Verdict(
            "exact",
            f"All {len(units)} hidden units are recovered; the data admit no other network of "
            "this width.",
            "global",
            conditions,
            units,
        )
    if complete and agree:
        return Verdict(
            "exact",
            f"All {len(units)} hidden units are recovered: the network is isolated and "
            f"{recovery.n_agreeing} independent starts agree; another, distant network of this "
            "width is not excluded.",
            "local",
            conditions,
            units,
        )
    status, reason, proof = _shortfall(recovery, samples, identification, units, zero, n_equations)
    return _withdrawn(Verdict(status, reason, proof, conditions, units))


def _shortfall(
    recovery: Recovery,
    samples: Samples,
    identification: Identification,
    units: list[dict[str, Any]],
    zero: bool,
    n_equations: int,
) -> tuple[str, str, None]:
    """Status and reason of a noiseless fit that is not exact."""
    k = len(units)
    proven = recovery.proven
    counts = recovery.unit_agreement
    some_agree = counts is not None and bool(np.any(counts >= MIN_AGREEING))
    supported = proven or recovery.n_agreeing >= MIN_AGREEING or some_agree
    good = [unit["unit"] for unit in units if unit["identified"]]
    if not zero:
        reason = (
            f"No network of {k} hidden units was found that reproduces the outputs: allow noise "
            '(noise="gaussian"), another n_hidden, or more starts (n_init).'
        )
    elif n_equations <= identification.n_parameters:
        reason = (
            f"{len(samples.Z)} distinct samples give {n_equations} equations for "
            f"{identification.n_parameters} parameters: {k} hidden units need at least "
            f"{rows_needed(samples, recovery.network)} samples."
        )
    elif not supported:
        reason = (
            f"The outputs are reproduced, but {recovery.n_agreeing} of {MIN_AGREEING} independent "
            "starts arrived at this network: give more samples, or more starts (n_init)."
        )
    else:
        named = [f"unit {u['unit']} ({u['problem']})" for u in units if not u["identified"]]
        shown = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        what = shown if named else "the output intercepts"
        reason = (
            f"The data do not pin down {what}; add samples that vary where these units are "
            "active, and on both sides of their kinks."
        )
        # All starts agree, so that each unit is known on the span of its active rows at least.
        located = proven or recovery.n_agreeing >= MIN_AGREEING
        return ("partial" if good or located else "not_recovered"), reason, None
    return "not_recovered", reason, None


def noisy_verdict(
    recovery: Recovery,
    samples: Samples,
    design: Design,
    fit_test: LackOfFit,
    rival_units: np.ndarray,
) -> Verdict:
    """Judge a least-squares optimum under noise.

    Parameters
    ----------
    recovery : Recovery
        The optimum; its ``search`` counts the runs that agree.
    samples : Samples
        Samples in design coordinates.
    design : Design
        Map to the user's coordinates.
    fit_test : LackOfFit
        Test of the residuals.
    rival_units : ndarray of bool, shape (k,)
        Units that a minimum of nearly the same loss places elsewhere.

    Returns
    -------
    Verdict
    """
    network, p = recovery.network, samples.Z.shape[1]
    identification = identify(network, samples, tolerance=1e-6)
    units = describe_units(network, identification, samples, design)
    telling = samples.weight @ network.activation.telling_rows(samples.Z @ network.V)
    for unit, count, rival in zip(units, telling, rival_units, strict=True):
        if unit["identified"] and rival:
            unit["problem"] = "several solutions fit nearly as well"
        elif unit["identified"] and count < NOISY_ACTIVE_ROWS * p:
            rows = _telling(network.activation)
            unit["problem"] = f"too few {rows}: error bars need {NOISY_ACTIVE_ROWS * p}"
        unit["identified"] = unit["problem"] is None
    spare = samples.weight.sum() * samples.Y.shape[1] - identification.n_parameters
    conditions: list[tuple[str, Any, Any, bool, str]] = [
        (
            "relative residual",
            relative_residual(recovery.loss, samples),
            None,
            True,
            "noise, relative to the spread of the outputs",
        ),
        (
            "degrees of freedom",
            float(spare),
            0,
            spare > 0,
            "more equations than free parameters",
        ),
        (
            "runs that agree",
            recovery.n_agreeing,
            2,
            recovery.n_agreeing >= 2,
            "independent searches ended in the same optimum",
        ),
        (
            "lack of fit (p-value)",
            fit_test.p_value,
            LACK_OF_FIT_LEVEL,
            fit_test.p_value >= LACK_OF_FIT_LEVEL and fit_test.n_features > 0,
            "residuals show no structure that further hinges explain",
        ),
        (
            "units pinned down",
            sum(unit["identified"] for unit in units),
            len(units),
            all(unit["identified"] for unit in units),
            "active rows enough, no rival solution",
        ),
    ]
    good = sum(unit["identified"] for unit in units)
    if spare <= 0 or fit_test.n_features == 0:
        status = "not_recovered"
        reason = (
            f"{len(samples.Z)} distinct samples leave nothing to check {len(units)} hidden units "
            f"with; they need at least {rows_needed(samples, network)}, and several times that "
            "under noise."
        )
    elif fit_test.p_value < LACK_OF_FIT_LEVEL:
        status = "not_recovered"
        reason = (
            f"The residuals are not noise (lack-of-fit p-value {fit_test.p_value:.1e}): try more "
            "hidden units (n_hidden), another activation, or inputs that the outputs depend on."
        )
    elif recovery.n_agreeing < 2:
        status = "not_recovered"
        reason = (
            "Independent searches ended in different optima, so the best one may not be the "
            "least-squares solution: allow more of them (n_init, max_iter)."
        )
    elif good == len(units):
        status = "approximate"
        reason = (
            f"All {good} hidden units are estimated at the least-squares optimum; "
            "coefs_std_ and intercepts_std_ hold their standard errors."
        )
    else:
        named = [f"unit {u['unit']} ({u['problem']})" for u in units if not u["identified"]]
        status = "partial" if good else "not_recovered"
        reason = (
            f"The data do not pin down {', '.join(named[:4])}"
            + (f" and {len(named) - 4} more" if len(named) > 4 else "")
            + "; more samples or less noise would."
        )
    return _withdrawn(Verdict(status, reason, None, conditions, units))


def _withdrawn(verdict: Verdict) -> Verdict:
    """Claim no unit of a network that is not recovered."""
    if verdict.status == "not_recovered":
        for unit in verdict.units:
            unit["problem"] = unit["problem"] or "nothing is proven of this fit"
            unit["identified"] = False
    return verdict
