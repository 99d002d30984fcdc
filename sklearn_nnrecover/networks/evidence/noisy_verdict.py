"""From the evidence on a least-squares optimum under noise to a status and one plain reason.

``"approximate"`` needs two searches that ended in the same optimum, residuals without structure
that further hinges would explain, and every unit pinned down: seen on rows enough, with a kink that
no linear function replaces, with standard errors below half its weights, and without a rival
solution. The best of many units explains some of pure noise too: a lower information criterion than
that of no units is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_nnrecover.networks.evidence.error_bars import (
    UserWeights,
    units_moved_by_rivals,
    units_too_uncertain,
)
from sklearn_nnrecover.networks.evidence.identification import identify
from sklearn_nnrecover.networks.evidence.kink_evidence import KINK_LEVEL, kink_p_values
from sklearn_nnrecover.networks.evidence.lack_of_fit import LackOfFit
from sklearn_nnrecover.networks.evidence.verdict import (
    LACK_OF_FIT_LEVEL,
    Verdict,
    describe_units,
    rows_needed,
    rows_that_tell,
    unpinned,
    withdrawn,
)
from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.two_layer_network import Samples, relative_residual
from sklearn_nnrecover.networks.search.width_selection import bic
from sklearn_nnrecover.networks.solvers import Recovery

# Active rows, per free input weight, below which error bars of a unit are not trusted.
NOISY_ACTIVE_ROWS = 4


def noisy_verdict(
    recovery: Recovery,
    samples: Samples,
    design: Design,
    fit_test: LackOfFit,
    errors: UserWeights,
) -> Verdict:
    """Judge a least-squares optimum under noise.

    Parameters
    ----------
    recovery : Recovery
        The optimum; its ``search`` counts the runs that agree, and holds the rival solutions.
    samples : Samples
        Samples in design coordinates.
    design : Design
        Map to the user's coordinates.
    fit_test : LackOfFit
        Test of the residuals.
    errors : UserWeights
        Standard errors.

    Returns
    -------
    Verdict
    """
    network = recovery.network
    identification = identify(network, samples, tolerance=1e-6)
    units = describe_units(network, identification, samples, design)
    doubts = _doubts(recovery, samples, design, errors)
    for unit, doubt in zip(units, doubts, strict=True):
        if unit["identified"]:
            unit["problem"] = doubt
        unit["identified"] = unit["problem"] is None
    spare = samples.weight.sum() * samples.Y.shape[1] - identification.n_parameters
    gain = bic(_loss_without_units(samples), 0, samples)
    gain -= bic(recovery.loss, network.n_hidden, samples, network.activation)
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
            "gain over no units",
            gain,
            0,
            gain > 0,
            "fall of the information criterion (BIC): units explain more than they do of noise",
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
            "rows enough, a kink, weights beyond their standard errors, no rival solution",
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
    elif gain <= 0:
        status = "not_recovered"
        reason = (
            f"{len(units)} hidden unit(s) explain no more than they would of noise: the outputs "
            "show no dependence on these inputs."
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
        status = "partial" if good else "not_recovered"
        reason = f"The data do not pin down {unpinned(units)}; more samples or less noise would."
    return withdrawn(Verdict(status, reason, None, conditions, units))


def _doubts(
    recovery: Recovery, samples: Samples, design: Design, errors: UserWeights
) -> list[str | None]:
    """What noise leaves open about each unit; None if nothing."""
    network, p = recovery.network, samples.Z.shape[1]
    rivals = recovery.search.rivals if recovery.search else []
    moved = units_moved_by_rivals(network, errors, rivals, design)
    vague = units_too_uncertain(network, errors, design)
    kinks = kink_p_values(network, samples)
    telling = samples.weight @ network.activation.telling_rows(samples.Z @ network.V)
    doubts: list[str | None] = []
    for j in range(network.n_hidden):
        if moved[j]:
            doubts.append("several solutions fit nearly as well")
        elif telling[j] < NOISY_ACTIVE_ROWS * p:
            rows = rows_that_tell(network.activation)
            doubts.append(f"too few {rows}: error bars need {NOISY_ACTIVE_ROWS * p}")
        elif kinks[j] > KINK_LEVEL:
            doubts.append("a linear function fits as well in its place")
        elif vague[j]:
            doubts.append("its standard errors exceed half its weights")
        else:
            doubts.append(None)
    return doubts


def _loss_without_units(samples: Samples) -> float:
    """Residual sum of squares of the best constant; of zero without intercepts."""
    Y, weight = samples.Y, samples.weight
    center = np.average(Y, axis=0, weights=weight) if samples.intercept else 0.0
    return float(weight @ np.sum((Y - center) ** 2, axis=1))
