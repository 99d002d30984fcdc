"""The mixin that turns a recovery into fitted attributes: weights, error bars, report."""

from __future__ import annotations

import warnings

import numpy as np

from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.networks._stored_net import StoredNetMixin, recovery_in_fitted_order
from sklearn_nnrecover.networks.evidence.error_bars import mark_not_pinned, standard_errors
from sklearn_nnrecover.networks.evidence.lack_of_fit import lack_of_fit
from sklearn_nnrecover.networks.evidence.noiseless_verdict import noiseless_verdict
from sklearn_nnrecover.networks.evidence.noisy_verdict import noisy_verdict
from sklearn_nnrecover.networks.evidence.verdict import is_zero_residual, linear_verdict
from sklearn_nnrecover.networks.gross_errors.masked_verdict import masked_verdict
from sklearn_nnrecover.networks.task import Outcome


class RecoveredNetMixin(StoredNetMixin):
    """Judges a :class:`~sklearn_nnrecover.networks.solvers.Recovery` and stores it."""

    def _set_recovery(self, outcome: Outcome, rng: np.random.RandomState) -> None:
        """Set weights, standard errors, loss and report; warn unless all is recovered."""
        samples, design = outcome.samples, outcome.design
        recovery = recovery_in_fitted_order(outcome.recovery, design)
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
            test = lack_of_fit(network, samples, rng)
            verdict = noisy_verdict(recovery, samples, design, test, errors)
        open_units = np.array([not unit["identified"] for unit in verdict.units], dtype=bool)
        errors = mark_not_pinned(errors, open_units, samples.intercept)

        self._store(network, design, errors)
        equations = samples.weight.sum() * samples.Y.shape[1]
        self.loss_ = recovery.loss * design.output_scale**2 / equations
        self.solver_ = recovery.solver
        self.n_rows_ = float(samples.weight.sum())
        self._report(verdict, design, note=recovery.note)
        if verdict.status in ("partial", "not_recovered"):
            warnings.warn(self.report_.reason, RecoveryWarning, stacklevel=4)
