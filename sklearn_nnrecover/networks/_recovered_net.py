"""The mixin that turns a recovery into fitted attributes: weights, error bars, report."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.collinear_columns import column_relations, describe_relations
from sklearn_nnrecover.networks._two_layer_net import TwoLayerNetMixin, unit_order
from sklearn_nnrecover.networks.design import Design
from sklearn_nnrecover.networks.error_bars import (
    mark_not_pinned,
    standard_errors,
    units_moved_by_rivals,
    user_weights,
)
from sklearn_nnrecover.networks.lack_of_fit import lack_of_fit
from sklearn_nnrecover.networks.masked_verdict import masked_verdict
from sklearn_nnrecover.networks.solvers import Recovery
from sklearn_nnrecover.networks.task import Outcome
from sklearn_nnrecover.networks.verdict import (
    is_zero_residual,
    linear_verdict,
    noiseless_verdict,
    noisy_verdict,
)


class RecoveredNetMixin(TwoLayerNetMixin):
    """Judges a :class:`~sklearn_nnrecover.networks.solvers.Recovery` and stores it."""

    def _set_recovery(self, outcome: Outcome, rng: np.random.RandomState) -> None:
        """Set weights, standard errors, loss and report; warn unless all is recovered."""
        samples, design = outcome.samples, outcome.design
        recovery = _in_fitted_order(outcome.recovery, design)
        network = recovery.network
        exact = is_zero_residual(recovery.loss, samples)
        errors = standard_errors(samples, design, network, exact=exact, sandwich=outcome.robust)
        if recovery.solver == "linear":
            verdict = linear_verdict(recovery, samples)
        elif outcome.errors is not None:
            verdict = masked_verdict(recovery, samples, design, outcome.errors)
        elif exact or self.noise == "none" or recovery.search is None:
            verdict = noiseless_verdict(recovery, samples, design)
            if outcome.robust and verdict.status == "exact":
                # Robust estimates prove nothing, even where no noise was met.
                verdict = verdict._replace(status="approximate", proof=None)
        else:
            rivals = units_moved_by_rivals(network, errors, recovery.search.rivals, design)
            test = lack_of_fit(network, samples, rng)
            verdict = noisy_verdict(recovery, samples, design, test, rivals)
        open_units = np.array([not unit["identified"] for unit in verdict.units], dtype=bool)
        errors = mark_not_pinned(errors, open_units, samples.intercept)

        self._set_network(*design.weights(network))
        self.coefs_std_ = [errors.W.astype(self.dtype_), errors.A.astype(self.dtype_)]
        self.intercepts_std_ = [errors.b.astype(self.dtype_), errors.c.astype(self.dtype_)]
        equations = samples.weight.sum() * samples.Y.shape[1]
        self.loss_ = recovery.loss * design.output_scale**2 / equations
        self.solver_ = recovery.solver
        self.n_parameters_ = samples.n_parameters(network.n_hidden, network.activation)
        self.n_rows_ = float(samples.weight.sum())
        unvarying = self._unvarying_directions(design)
        reason = " ".join(filter(None, [verdict.reason, recovery.note, unvarying]))
        variation = (
            "dimensions in which X varies",
            design.whitening.rank,
            self.n_features_in_,
            not unvarying,
            "no constant or collinear columns, in whose directions weights are set to zero",
        )
        self.report_ = RecoveryReport(
            verdict.status, reason, verdict.proof, [*verdict.conditions, variation], verdict.units
        )
        if verdict.status in ("partial", "not_recovered"):
            warnings.warn(reason, RecoveryWarning, stacklevel=4)

    def _unvarying_directions(self, design: Design) -> str:
        """Name the columns that are constant or follow from others; empty if there are none."""
        relations = column_relations(design.whitening.null_basis)
        if not relations:
            return ""
        names = getattr(
            self, "feature_names_in_", [f"column {j}" for j in range(self.n_features_in_)]
        )
        told = describe_relations(relations, [str(name) for name in names])
        return f"X does not vary in every direction ({told}): weights there are set to zero."


def _in_fitted_order(recovery: Recovery, design: Design) -> Recovery:
    """Put the units in the order in which the estimator stores them."""
    network = recovery.network
    order = unit_order(user_weights(network, design).A)
    sorted_network = replace(network, V=network.V[:, order], A=network.A[order])
    counts = recovery.unit_agreement
    return recovery._replace(
        network=sorted_network, unit_agreement=None if counts is None else counts[order]
    )
