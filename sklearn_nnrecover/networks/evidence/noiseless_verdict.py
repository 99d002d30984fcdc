"""From the evidence on a noiseless fit to a status, with every condition and one plain reason.

``"exact"`` needs a zero residual (to rounding), a Jacobian of full rank, every unit seen on active
rows of full rank with equations to spare, and either the lifted system's null space of exactly the
right dimension (proof ``"global"``) or three independent starts that agree (proof ``"local"``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_nnrecover.networks.evidence.identification import Identification, identify
from sklearn_nnrecover.networks.evidence.verdict import (
    MIN_AGREEING,
    ZERO_RESIDUAL_FACTOR,
    Verdict,
    describe_units,
    is_zero_residual,
    rows_needed,
    unpinned,
    withdrawn,
)
from sklearn_nnrecover.networks.exact.lifted_system import PROOF_GAP
from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.two_layer_network import Samples, relative_residual
from sklearn_nnrecover.networks.solvers import Recovery


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
    return withdrawn(Verdict(status, reason, proof, conditions, units))


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
        what = unpinned(units) or "the output intercepts"
        reason = (
            f"The data do not pin down {what}; add samples that vary where these units are "
            "active, and on both sides of their kinks."
        )
        # All starts agree, so that each unit is known on the span of its active rows at least.
        located = proven or recovery.n_agreeing >= MIN_AGREEING
        return ("partial" if good or located else "not_recovered"), reason, None
    return "not_recovered", reason, None
