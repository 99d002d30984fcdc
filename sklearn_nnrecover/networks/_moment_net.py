"""The mixin that turns moment estimates and their refinements into fitted attributes."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.networks._stored_net import (
    StoredNetMixin,
    in_fitted_order,
    recovery_in_fitted_order,
)
from sklearn_nnrecover.networks.evidence.error_bars import (
    UserWeights,
    mark_not_pinned,
    standard_errors,
)
from sklearn_nnrecover.networks.evidence.lack_of_fit import LackOfFit, lack_of_fit
from sklearn_nnrecover.networks.evidence.noiseless_verdict import noiseless_verdict
from sklearn_nnrecover.networks.evidence.noisy_verdict import noisy_verdict
from sklearn_nnrecover.networks.evidence.score_tests import ScoreTest, score_tests
from sklearn_nnrecover.networks.evidence.verdict import (
    LACK_OF_FIT_LEVEL,
    Verdict,
    is_zero_residual,
    linear_verdict,
)
from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork
from sklearn_nnrecover.networks.moment_evidence import Evidence, some_rows
from sklearn_nnrecover.networks.moment_recovery import Condition, MomentChecks
from sklearn_nnrecover.networks.solvers import Recovery

# Operations of the test for lack of fit of networks with biases.
MOST_TEST_WORK = 4e9


class Judged(NamedTuple):
    """What a verdict is passed on.

    Attributes
    ----------
    evidence : Evidence
        The network and what speaks for it.
    part : Samples
        Samples at hand: all, or a random part.
    weight : float
        Sum of the frequencies of all samples.
    errors : UserWeights
        Standard errors from all samples.
    checks : MomentChecks
        Conditions of the moment estimate, if there was one.
    """

    evidence: Evidence
    part: Samples
    weight: float
    errors: UserWeights
    checks: MomentChecks


def score_conditions(tests: list[ScoreTest]) -> list[Condition]:
    """Score tests as conditions of the report."""
    meanings = {
        "biases": "no hidden biases or output intercepts are missing",
        "linear part": "no linear part beside the units is missing",
        "further hinges": "no units are missing, and the activation is right",
    }
    return [
        (
            f"lack of fit: {test.name} (p-value)",
            test.p_value,
            LACK_OF_FIT_LEVEL,
            test.p_value >= LACK_OF_FIT_LEVEL,
            meanings[test.name],
        )
        for test in tests
        if test.n_scores
    ]


class MomentNetMixin(StoredNetMixin):
    """Judges networks that were refined from moments, and stores those that were not."""

    def _set_judged(self, judged: Judged, design: Design) -> None:
        """Set weights, standard errors, loss and report; warn unless all is recovered."""
        recovery, part = judged.evidence.recovery, judged.part
        exact = is_zero_residual(recovery.loss * part.weight.sum() / judged.weight, part)
        # The verdict speaks of the part of the samples at hand.
        seen = recovery._replace(loss=recovery.loss * part.weight.sum() / judged.weight)
        if recovery.solver == "linear":
            verdict = linear_verdict(seen, part)
        elif exact or recovery.search is None:
            verdict = noiseless_verdict(seen, part, design)
            if not exact and judged.evidence.lack_of_fit.p_value < LACK_OF_FIT_LEVEL:
                reason = (
                    "The residuals are neither zero nor noise: a network of this kind and width "
                    "does not explain the outputs (fit_intercept=True allows biases)."
                )
                verdict = verdict._replace(reason=reason)
        else:
            test = judged.evidence.lack_of_fit
            verdict = noisy_verdict(seen, part, design, test, judged.errors)
        open_units = np.array([not unit["identified"] for unit in verdict.units], dtype=bool)
        errors = mark_not_pinned(judged.errors, open_units, part.intercept)
        self._store(recovery.network, design, errors)
        self.loss_ = recovery.loss * design.output_scale**2 / (judged.weight * part.Y.shape[1])
        self.solver_ = recovery.solver
        conditions = [*judged.checks.conditions, *score_conditions(judged.evidence.tests)]
        note = recovery.note
        if judged.checks.failed and not note:
            note = f"Moments alone do not support it: {', and '.join(judged.checks.failed)}."
        self._report(verdict, design, conditions=conditions, note=note)
        if verdict.status in ("partial", "not_recovered") or judged.checks.failed:
            warnings.warn(self.report_.reason, RecoveryWarning, stacklevel=4)

    def _set_unrefined(
        self,
        network: TwoLayerNetwork,
        design: Design,
        checks: MomentChecks,
        *,
        loss: float = float("nan"),
        note: str = "",
        warn: bool = False,
    ) -> None:
        """Store a moment estimate, of which nothing is claimed."""
        network = in_fitted_order(network, design)
        shapes = (len(design.whitening.mean), network.n_hidden, network.A.shape[1])
        infinite = UserWeights(
            np.full(shapes[:2], np.inf),
            np.zeros(shapes[1]),
            np.full(shapes[1:], np.inf),
            np.zeros(shapes[2]),
        )
        self._store(network, design, infinite)
        self.loss_, self.solver_ = loss, "moments"
        failed = checks.failed
        reason = (
            f"Moment estimate: {', and '.join(failed)}, so that nothing supports it."
            if failed
            else "Moment estimate, consistent but not refined: its sampling error is not bounded, "
            'so nothing is claimed; method="refined" (or refine_partial and refine_step) settles '
            "it."
        )
        units = [
            {"unit": j, "identified": False, "problem": "not refined"}
            for j in range(network.n_hidden)
        ]
        verdict = Verdict("not_recovered", reason, None, [], units)
        self._report(verdict, design, conditions=checks.conditions, note=note)
        if warn or failed:
            warnings.warn(self.report_.reason, RecoveryWarning, stacklevel=4)


def evidence_of(
    recovery: Recovery, samples: Samples, design: Design, rng: np.random.RandomState
) -> Judged:
    """Judge a recovery of the registry of solvers, made without moments."""
    recovery = recovery_in_fitted_order(recovery, design)
    exact = is_zero_residual(recovery.loss, samples)
    errors = standard_errors(samples, design, recovery.network, exact=exact)
    part, tests = some_rows(samples, recovery.network.n_hidden, rng), []
    if recovery.search is not None and not exact:
        if samples.intercept:
            tests = [_hinge_test(recovery.network, part, rng)]
        else:
            tests = score_tests(recovery.network, part, rng)
    evidence = Evidence(recovery, tests)
    return Judged(evidence, part, float(samples.weight.sum()), errors, MomentChecks([]))


def _hinge_test(network: TwoLayerNetwork, part: Samples, rng: np.random.RandomState) -> ScoreTest:
    n, m = part.Y.shape
    work = 400.0 * m**2 * part.n_parameters(network.n_hidden)
    rows = slice(0, None, max(1, round(n * work / MOST_TEST_WORK)))
    some = part._replace(Z=part.Z[rows], Y=part.Y[rows], weight=part.weight[rows])
    test: LackOfFit = lack_of_fit(network, some, rng)
    return ScoreTest("further hinges", test.p_value, test.largest_score, test.n_features)
