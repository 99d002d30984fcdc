"""The verdict on a network that reproduces all outputs but those taken for gross errors.

It is the noiseless verdict on the unmasked entries, and four conditions more: errors are a
minority; they do not depend on the inputs, as those would that cover up for a missing unit; every
output keeps entries to spare beside its own weights; and what the solver saw is determined by the
unmasked entries, else a proof about it would not be one about them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import f as f_distribution

from sklearn_nnrecover.networks.evidence.noiseless_verdict import noiseless_verdict
from sklearn_nnrecover.networks.evidence.verdict import MIN_REDUNDANCY, Verdict
from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.solvers import Recovery
from sklearn_nnrecover.networks.task import GrossErrors

# Share of the outputs that may be taken for gross errors: the others must be the majority.
LARGEST_ERROR_SHARE = 0.5
# Level of the test that the errors of a row do not depend on its inputs.
DEPENDENCE_LEVEL = 1e-4
# Directions whose products are features: enough to see cells in any of them.
MOST_DIRECTIONS = 12


def error_dependence(outliers: np.ndarray, samples: Samples, V: np.ndarray) -> float:
    """Test whether the number of errors in a row depends on its inputs.

    A network that lacks a unit reproduces the samples on which that unit is inactive, and nothing
    tells the others from errors but where they are.

    Parameters
    ----------
    outliers : ndarray of bool, shape (n, m)
        Entries taken for errors.
    samples : Samples
        Samples in design coordinates.
    V : ndarray of shape (p, k)
        Hidden units.

    Returns
    -------
    float
        p-value of the regression of the counts on the design, its products and the sides of all
        kinks; 1 where there are too few rows to tell.

    Notes
    -----
    A mask that covers up for missing units is a union of cells of their hyperplanes. Its odd part
    shows in linear functions; that of cells on opposite sides (one of two units active) is even,
    and shows in products only.
    """
    counts = outliers.sum(axis=1).astype(float)
    features = np.column_stack([np.ones(len(counts)), samples.Z, samples.Z @ V > 0])
    directions = np.eye(samples.Z.shape[1])
    if len(directions) > MOST_DIRECTIONS:
        random = np.random.RandomState(0).standard_normal((len(directions), MOST_DIRECTIONS))
        directions = np.linalg.qr(random)[0]
    along = samples.Z @ directions
    first, second = np.triu_indices(along.shape[1])
    if 3 * (features.shape[1] + len(first)) <= len(counts):
        features = np.hstack([features, along[:, first] * along[:, second]])
    basis, singular, _ = np.linalg.svd(features, full_matrices=False)
    basis = basis[:, singular > 1e-8 * singular[0]]
    spare = len(counts) - basis.shape[1]
    deviations = counts - counts.mean()
    total = float(deviations @ deviations)
    explained = float(np.sum((basis.T @ deviations) ** 2))
    if spare <= 0 or basis.shape[1] < 2 or total == 0:
        return 1.0
    degrees = basis.shape[1] - 1
    left = total - explained
    if left <= np.finfo(float).eps * total:
        return 0.0
    return float(f_distribution.sf(explained / degrees / (left / spare), degrees, spare))


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
        recovery = recovery._replace(
            lifted=None, exhaustive=False, n_agreeing=min(recovery.n_agreeing, 1)
        )
    verdict = noiseless_verdict(recovery, samples, design, ~errors.outliers)
    share = float(np.mean(errors.outliers))
    spare = np.sum(~errors.outliers, axis=0) - recovery.network.n_hidden - samples.intercept
    p_value = error_dependence(errors.outliers, samples, recovery.network.V)
    conditions: list[tuple[str, Any, Any, bool, str]] = [
        (
            "outputs taken for gross errors",
            share,
            LARGEST_ERROR_SHARE,
            share < LARGEST_ERROR_SHARE,
            "the network reproduces a clear majority of the outputs",
        ),
        (
            "errors depend on the inputs (p-value)",
            p_value,
            DEPENDENCE_LEVEL,
            p_value >= DEPENDENCE_LEVEL,
            "errors are not where a missing unit would be active",
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
    if all(condition[3] for condition in conditions[:3]):
        return verdict._replace(reason=f"{verdict.reason} {told}")
    if conditions[0][3] and conditions[1][3]:
        few = [str(j) for j in np.flatnonzero(spare < MIN_REDUNDANCY)[:4]]
        left = f"Too few entries are left of output(s) {', '.join(few)} to fix their weights."
        return verdict._replace(status="partial", proof=None, reason=f"{told} {left}")
    why = "Errors must be a minority."
    if conditions[0][3]:
        why = "They depend on the inputs, as if they covered up for a missing unit."
    units = [{**unit, "identified": False, "problem": "errors abound"} for unit in verdict.units]
    return verdict._replace(status="not_recovered", proof=None, reason=f"{told} {why}", units=units)
