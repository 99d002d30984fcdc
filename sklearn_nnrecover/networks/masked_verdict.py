"""The verdict on a network that reproduces all outputs but those taken for gross errors.

It is the noiseless verdict on the unmasked entries, and three conditions more: errors are a
minority; every output keeps entries to spare beside its own weights; and what the solver saw is
determined by the unmasked entries, else a proof about it would not be one about them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_nnrecover.networks.design import Design
from sklearn_nnrecover.networks.solvers import Recovery
from sklearn_nnrecover.networks.task import GrossErrors
from sklearn_nnrecover.networks.two_layer_network import Samples
from sklearn_nnrecover.networks.verdict import MIN_REDUNDANCY, Verdict, noiseless_verdict

# Share of the outputs that may be taken for gross errors: the others must be the majority.
LARGEST_ERROR_SHARE = 0.5


def masked_verdict(
    recovery: Recovery, samples: Samples, design: Design, errors: GrossErrors
) -> Verdict:
    """Judge a network on the entries that are not taken for errors.

    Parameters
    ----------
    recovery : Recovery
        The network, its loss over the unmasked entries, and its solver's evidence.
    samples : Samples
        Distinct samples; masked entries of Y play no role.
    design : Design
        Map to the user's coordinates.
    errors : GrossErrors
        The mask.

    Returns
    -------
    Verdict
    """
    if not errors.determined:
        recovery = recovery._replace(lifted=None, n_agreeing=min(recovery.n_agreeing, 1))
    verdict = noiseless_verdict(recovery, samples, design, ~errors.outliers)
    share = float(np.mean(errors.outliers))
    spare = np.sum(~errors.outliers, axis=0) - recovery.network.n_hidden - samples.intercept
    conditions: list[tuple[str, Any, Any, bool, str]] = [
        (
            "outputs taken for gross errors",
            share,
            LARGEST_ERROR_SHARE,
            share < LARGEST_ERROR_SHARE,
            "the network reproduces a clear majority of the outputs",
        ),
        (
            "unmasked entries to spare",
            int(spare.min()),
            MIN_REDUNDANCY,
            bool(spare.min() >= MIN_REDUNDANCY),
            "of the output with the fewest, beyond its own weights",
        ),
        (
            "masked outputs determined",
            errors.determined,
            True,
            errors.determined,
            "every network of this width that reproduces the unmasked outputs agrees on the others",
        ),
    ]
    verdict = verdict._replace(conditions=verdict.conditions + conditions)
    if verdict.status == "not_recovered":
        return verdict
    told = f"{np.count_nonzero(errors.outliers)} outputs ({share:.1%}) are taken for gross errors."
    if all(condition[3] for condition in conditions[:2]):
        return verdict._replace(reason=f"{verdict.reason} {told}")
    few = [str(j) for j in np.flatnonzero(spare < MIN_REDUNDANCY)[:4]]
    if share >= LARGEST_ERROR_SHARE:
        why = f"{told} Errors must be a minority."
        units = [
            {**unit, "identified": False, "problem": "errors abound"} for unit in verdict.units
        ]
        return verdict._replace(status="not_recovered", proof=None, reason=why, units=units)
    why = f"{told} Too few entries are left of output(s) {', '.join(few)} to fix their weights."
    return verdict._replace(status="partial", proof=None, reason=why)
