"""From moments to a network that can be judged: checks, refinement, and what else may be missing.

The moment estimate stands on conditions that the data can contradict: inputs are symmetric, outputs
beyond their linear part are even, and T has a null space of exactly as many dimensions as there are
units. Its refinement is the least-squares optimum next to it; :mod:`moment_evidence` settles what
is claimed of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.evidence.lack_of_fit import lack_of_fit
from sklearn_nnrecover.networks.evidence.verdict import LACK_OF_FIT_LEVEL, is_zero_residual
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    residual_sum_of_squares,
)
from sklearn_nnrecover.networks.moment_evidence import (
    Evidence,
    gather_evidence,
    refine,
    some_rows,
)
from sklearn_nnrecover.networks.moments.fourth_order_moments import SampleMoments
from sklearn_nnrecover.networks.moments.input_symmetry import (
    SymmetryTest,
    symmetry_of_outputs,
    symmetry_of_samples,
)
from sklearn_nnrecover.networks.moments.pure_neuron_moments import (
    MIN_GAP,
    MOST_WIDER,
    MomentEstimate,
    choose_width,
    estimate_network,
    estimate_with_width,
    largest_width,
    linear_part,
)
from sklearn_nnrecover.networks.recovery import linear_network
from sklearn_nnrecover.networks.search.least_squares_search import search_least_squares
from sklearn_nnrecover.networks.search.variable_projection import variable_projection
from sklearn_nnrecover.networks.search.width_selection import bic
from sklearn_nnrecover.networks.solvers import Options

# p-value below which more units than outputs are looked for.
SATURATED_LEVEL = 0.05
# Steps of the fit that tells whether biases are what is missing, and samples its test looks at.
MOST_BIASED_STEPS = 30
# Equations per parameter from which the tests can be relied on, and steps of a search that is made
# where they cannot.
MANY_EQUATIONS = 50
WIDER_STEPS = 100
MOST_TESTED = 500
# Score of the outputs' evenness, in thresholds of its test, from which no wider network is tried:
# inputs that are not quite symmetric stay below it.
CERTAINLY_ODD = 1.5

Condition = tuple[str, Any, Any, bool, str]


class MomentChecks(NamedTuple):
    """Conditions of the moment estimate.

    Attributes
    ----------
    conditions : list of tuple
        As the report takes them.
    """

    conditions: list[Condition]

    @property
    def failed(self) -> list[str]:
        """What the data contradict, in words."""
        words = {
            "symmetry of the inputs": "the inputs are not symmetric",
            "evenness of the outputs": "the outputs are not those of units without biases on "
            "symmetric inputs",
            "gap of the moments": "the moments do not tell the units apart",
        }
        return [words[name] for name, *_, passed, _ in self.conditions if not passed]


def moment_checks(
    inputs: SymmetryTest,
    outputs: SymmetryTest | None,
    width: int,
    estimate: MomentEstimate,
) -> MomentChecks:
    """Collect the conditions of a moment estimate.

    Parameters
    ----------
    inputs, outputs : SymmetryTest
        Tests of symmetry; that of the outputs needs a second look at the samples.
    width : int
        By :func:`~pure_neuron_moments.choose_width`.
    estimate : MomentEstimate
        The estimate.

    Returns
    -------
    MomentChecks
    """
    k = estimate.V.shape[1]
    conditions: list[Condition] = [
        (
            "symmetry of the inputs",
            inputs.score,
            inputs.threshold,
            inputs.passed,
            "sums of odd functions of the inputs are as small as random signs make them",
        )
    ]
    if outputs is not None:
        conditions.append(
            (
                "evenness of the outputs",
                outputs.score,
                outputs.threshold,
                outputs.passed,
                "beyond their linear part the outputs are even functions: no hidden biases",
            )
        )
    conditions += [
        (
            "gap of the moments",
            estimate.gap,
            MIN_GAP,
            bool(estimate.gap >= MIN_GAP),
            "the distinguishing matrix has full rank: fourth moments tell the units apart",
        ),
        (
            "width of the linear part",
            width,
            k,
            # A narrower linear part can be noise, or units that nearly cancel: no contradiction.
            True,
            "rank of E[y x'], by Bartlett's test; the number of hidden units is beside it",
        ),
    ]
    return MomentChecks(conditions)


def as_network(estimate: MomentEstimate, options: Options) -> TwoLayerNetwork:
    """The moment estimate as a network."""
    m = estimate.A.shape[1]
    return TwoLayerNetwork(estimate.V, estimate.A, np.zeros(m), options.activation).normalized()


class MomentResult(NamedTuple):
    """What a fit by moments came to.

    Attributes
    ----------
    evidence : Evidence or None
        The refined network; None if the moments gave none that fits.
    network : TwoLayerNetwork or None
        The estimate before refinement; None if the widths do not allow one.
    checks : MomentChecks
        Conditions of the moment estimate.
    problem : str
        Why the network is not to be believed, in words.
    settled : bool
        Whether to look no further all the same.
    """

    evidence: Evidence | None
    network: TwoLayerNetwork | None
    checks: MomentChecks
    problem: str = ""
    settled: bool = False


def fit_moments(
    samples: Samples,
    n_hidden: int | None,
    *,
    options: Options,
    n_refits: int,
    refined: bool,
    rng: np.random.RandomState,
) -> Steps[MomentResult]:
    """Estimate a network from the moments of samples, and refine it.

    Parameters
    ----------
    samples : Samples
        Samples without intercept, outputs not linear in the inputs.
    n_hidden : int or None
        Width; None reads it from the moments.
    options : Options
        Activation (ReLU or leaky) and budgets.
    n_refits : int
        How often the linear part is estimated again.
    refined : bool
        Whether to refine the estimate and gather evidence.
    rng : RandomState
        Source of randomness.

    Yields
    ------
    Step

    Returns
    -------
    MomentResult
    """
    m = samples.Y.shape[1]
    source = SampleMoments(samples)
    most = largest_width(source.low)
    if (n_hidden or 1) > most:
        problem = f"moments need n_hidden of at most {most} here"
        return MomentResult(None, None, MomentChecks([]), problem)
    slope = options.activation.negative_slope
    assert slope is not None
    if n_hidden is None:
        estimate, width = estimate_with_width(
            source, len(samples.Z), rng=rng, slope=slope, n_refits=n_refits
        )
    else:
        estimate = estimate_network(source, n_hidden, rng=rng, slope=slope, n_refits=n_refits)
        width = choose_width(source.low, len(samples.Z))[0]
    inputs = symmetry_of_samples(samples)
    outputs = symmetry_of_outputs(samples, linear_part(source.low))
    # The odd part of units without biases is linear, however many they are: on symmetric inputs no
    # such network has outputs with another one.
    hopeless = inputs.passed and outputs.score > CERTAINLY_ODD * outputs.threshold
    result: MomentResult | None = None
    k = estimate.V.shape[1]
    for wider in range(k, (k if n_hidden else max(k, min(most, k + MOST_WIDER))) + 1):
        if wider > k:
            estimate = estimate_network(source, wider, rng=rng, slope=slope, n_refits=n_refits)
        checks = moment_checks(inputs, outputs, width, estimate)
        network = as_network(estimate, options)
        yield Step(residual_sum_of_squares(network, samples), state=network.V)
        if not refined:
            return MomentResult(None, network, checks)
        part = some_rows(samples, wider, rng)
        better = yield from refine(samples, network, options, part)
        loss = residual_sum_of_squares(better, samples)
        # Where every output direction counts as a unit there may be more units than outputs, unless
        # fourth moments tell that there are just so many.
        counted = np.isfinite(estimate.gap) and estimate.gap >= MIN_GAP
        saturated = n_hidden is None and wider == most and not counted
        # One unit under suspicion is not kept, and need not be confirmed.
        level = SATURATED_LEVEL if saturated and wider == 1 else LACK_OF_FIT_LEVEL
        evidence = yield from gather_evidence(better, loss, samples, part, options, rng, level)
        found = MomentResult(evidence, network, checks)
        few = samples.Y.size < MANY_EQUATIONS * samples.n_parameters(wider)
        doubtful = n_hidden is None and (few or not counted)
        found = yield from _with_problem(found, samples, part, saturated, doubtful, rng)
        if found.problem and hopeless:
            found = found._replace(settled=True)
        if result is None or not found.problem:
            result = found
        if not found.problem or found.settled:
            break
    assert result is not None
    if result.problem and n_hidden is None and m == 1:
        straight = yield from _without_kinks(samples, options, rng)
        if straight is not None:
            note = f"Moments alone could not give the network: {result.problem}."
            recovery = straight.recovery._replace(solver="varpro", note=note)
            result = result._replace(evidence=straight._replace(recovery=recovery), settled=True)
    return result


def _without_kinks(
    samples: Samples, options: Options, rng: np.random.RandomState
) -> Steps[Evidence | None]:
    """Evidence for units that come in pairs v, -v, if the outputs show no other kinks.

    Noisy linear outputs are common, and no search over widths is needed for them.
    """
    network = linear_network(samples, activation=options.activation)
    if network.n_hidden > 2 or not network.activation.is_relu:
        return None
    part = some_rows(samples, network.n_hidden, rng)
    network = yield from refine(samples, network, options, part)
    loss = residual_sum_of_squares(network, samples)
    evidence = yield from gather_evidence(
        network, loss, samples, part, options, rng, SATURATED_LEVEL
    )
    fits = evidence.lack_of_fit.p_value >= SATURATED_LEVEL
    if not fits or (yield from wider_is_better(evidence.recovery.network, part, rng)):
        return None
    return evidence


def _with_problem(
    result: MomentResult,
    samples: Samples,
    part: Samples,
    saturated: bool,
    doubtful: bool,
    rng: np.random.RandomState,
) -> Steps[MomentResult]:
    """Say why a refined network is not to be believed, if it is not."""
    assert result.evidence is not None
    evidence = result.evidence
    fits = evidence.lack_of_fit.p_value >= (SATURATED_LEVEL if saturated else LACK_OF_FIT_LEVEL)
    if is_zero_residual(evidence.recovery.loss, samples):
        return result
    if fits:
        if doubtful and (yield from wider_is_better(evidence.recovery.network, part, rng)):
            return result._replace(problem="a wider network explains more than noise")
        return result
    worst = min(evidence.tests, key=lambda test: test.p_value)
    problem = f"its residuals point to {worst.name} (p-value {worst.p_value:.1e})"
    # One unit with a bias can be any linear function: nothing follows from its fit.
    biased = evidence.recovery.network.n_hidden > 1
    if biased:
        biased = yield from biases_explain(evidence.recovery.network, part, rng)
    return result._replace(problem=problem, settled=biased)


def wider_is_better(
    network: TwoLayerNetwork, samples: Samples, rng: np.random.RandomState
) -> Steps[bool]:
    """Whether one more unit lowers the information criterion.

    Tests of few samples see little; a criterion that favours a wider network says that the width
    is to be searched for.

    Parameters
    ----------
    network : TwoLayerNetwork
        Least-squares optimum.
    samples : Samples
        Some of its samples.
    rng : RandomState
        Draws the starts.

    Yields
    ------
    Step

    Returns
    -------
    bool
    """
    k = network.n_hidden
    if samples.n_parameters(k + 1) >= samples.Y.size:
        return False
    search = yield from search_least_squares(
        samples, k + 1, rng=rng, activation=network.activation, n_init=1, max_iter=WIDER_STEPS
    )
    own = bic(residual_sum_of_squares(network, samples), k, samples)
    return bool(bic(search.loss, k + 1, samples) < own)


def biases_explain(
    network: TwoLayerNetwork, samples: Samples, rng: np.random.RandomState
) -> Steps[bool]:
    """Whether the same units with biases leave nothing but noise.

    Parameters
    ----------
    network : TwoLayerNetwork
        Least-squares optimum without biases.
    samples : Samples
        Some of its samples.
    rng : RandomState
        Draws the features of the test for lack of fit.

    Yields
    ------
    Step

    Returns
    -------
    bool
    """
    ones, zeros = np.ones((len(samples.Z), 1)), np.zeros((1, network.n_hidden))
    biased = samples._replace(Z=np.hstack([samples.Z, ones]), intercept=True)
    fit = yield from variable_projection(
        biased,
        np.vstack([network.V, zeros]),
        activation=network.activation,
        max_iter=MOST_BIASED_STEPS,
        tol=1e-6,
    )
    if is_zero_residual(fit.loss, biased):
        return True
    some = some_rows(biased, network.n_hidden, rng, MOST_TESTED)
    return lack_of_fit(fit.network, some, rng).p_value >= LACK_OF_FIT_LEVEL
