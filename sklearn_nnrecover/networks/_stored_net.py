"""The mixin that stores a judged network: weights in the fitted order, error bars, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.linalg.collinear_columns import column_relations, describe_relations
from sklearn_nnrecover.networks._two_layer_net import TwoLayerNetMixin, unit_order
from sklearn_nnrecover.networks.evidence.error_bars import UserWeights, user_weights
from sklearn_nnrecover.networks.evidence.verdict import Verdict
from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork, count_parameters
from sklearn_nnrecover.networks.solvers import Recovery


class StoredNetMixin(TwoLayerNetMixin):
    """Decides what a fit leaves behind: weights, standard errors, and a report in the user's terms.

    The estimator's mixins judge; units are in the fitted order (:func:`in_fitted_order`) by then.
    """

    def _store(self, network: TwoLayerNetwork, design: Design, errors: UserWeights) -> None:
        """Set weights, their standard errors and their number."""
        self._set_network(*design.weights(network))
        self.coefs_std_ = [errors.W.astype(self.dtype_), errors.A.astype(self.dtype_)]
        self.intercepts_std_ = [errors.b.astype(self.dtype_), errors.c.astype(self.dtype_)]
        p, m = len(network.V), network.A.shape[1]
        self.n_parameters_ = count_parameters(
            p, m, network.n_hidden, network.activation, design.intercept
        )

    def _report(
        self,
        verdict: Verdict,
        design: Design,
        *,
        conditions: Sequence[tuple[str, Any, Any, bool, str]] = (),
        note: str = "",
    ) -> None:
        """Set the report: conditions of the method, of the verdict, and of the inputs."""
        unvarying = self._unvarying_directions(design)
        variation = (
            "dimensions in which X varies",
            design.whitening.rank,
            len(design.whitening.mean),
            not unvarying,
            "no constant or collinear columns, in whose directions weights are set to zero",
        )
        self.report_ = RecoveryReport(
            verdict.status,
            " ".join(filter(None, [verdict.reason, note, unvarying])),
            verdict.proof,
            [*conditions, *verdict.conditions, variation],
            verdict.units,
        )

    def _unvarying_directions(self, design: Design) -> str:
        """Name the columns that are constant or follow from others; empty if there are none."""
        relations = column_relations(design.whitening.null_basis)
        if not relations:
            return ""
        columns = [f"column {j}" for j in range(len(design.whitening.mean))]
        names = getattr(self, "feature_names_in_", columns)
        told = describe_relations(relations, [str(name) for name in names])
        return f"X does not vary in every direction ({told}): weights there are set to zero."


def in_fitted_order(network: TwoLayerNetwork, design: Design) -> TwoLayerNetwork:
    """Put the units in the order in which the estimator stores them."""
    order = unit_order(user_weights(network, design).A)
    return replace(network, V=network.V[:, order], A=network.A[order])


def recovery_in_fitted_order(recovery: Recovery, design: Design) -> Recovery:
    """Put the units of a recovery, and what was counted for them, in that order."""
    order = unit_order(user_weights(recovery.network, design).A)
    counts = recovery.unit_agreement
    return recovery._replace(
        network=in_fitted_order(recovery.network, design),
        unit_agreement=None if counts is None else np.asarray(counts)[order],
    )
