"""What can be claimed of a network that was refined from a moment estimate, and by what.

Claims are settled on a bounded random part of the samples:

* at zero residual by the null space of the lifted system (any subset of rows proves it), else by
  independent starts that end in the same network;
* under noise by independent searches that end in the same optimum, and by score tests.

A refined moment estimate counts as one start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.evidence.lack_of_fit import LackOfFit
from sklearn_nnrecover.networks.evidence.score_tests import ScoreTest, score_tests
from sklearn_nnrecover.networks.evidence.verdict import LACK_OF_FIT_LEVEL, is_zero_residual
from sklearn_nnrecover.networks.exact.lifted_system import Lifted, lifted_recovery
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    residual_sum_of_squares,
)
from sklearn_nnrecover.networks.search.least_squares_search import (
    AGREEMENT,
    Rival,
    same_units,
    search_least_squares,
)
from sklearn_nnrecover.networks.search.variable_projection import step_work, variable_projection
from sklearn_nnrecover.networks.solvers import SEARCH_WORK, Options, Recovery

# Samples that tests and proofs look at, and operations of one step of the searches.
MOST_JUDGED = 4000
SEARCH_STEP_WORK = 1.5e7
# Relative fall of the loss, in units of the likelihood, that ends the refinement under noise; kinks
# that cross samples keep a streamed one from settling as closely.
NEGLIGIBLE = 1e-3
STREAMED_NEGLIGIBLE = 0.05


class Evidence(NamedTuple):
    """What a refined network was judged by.

    Attributes
    ----------
    recovery : Recovery
        The network with proof or agreement.
    tests : list of ScoreTest
        Score tests under noise; empty at zero residual.
    """

    recovery: Recovery
    tests: list[ScoreTest]

    @property
    def lack_of_fit(self) -> LackOfFit:
        """The score tests as one test."""
        tested = [test for test in self.tests if test.n_scores]
        if not tested:
            return LackOfFit(1.0, 0.0, 0)
        p_value = min(1.0, len(tested) * min(test.p_value for test in tested))
        return LackOfFit(
            p_value, max(test.score for test in tested), sum(test.n_scores for test in tested)
        )


def some_rows(
    samples: Samples, n_hidden: int, rng: np.random.RandomState, most: int = MOST_JUDGED
) -> Samples:
    """A random part of the samples, large enough for a network of this width."""
    n, p = samples.Z.shape
    needed = 10 * samples.n_parameters(n_hidden) // samples.Y.shape[1]
    rows = max(most, needed, 10 * p)
    if rows >= n:
        return samples
    kept = np.sort(rng.permutation(n)[:rows])
    return samples._replace(Z=samples.Z[kept], Y=samples.Y[kept], weight=samples.weight[kept])


def refine(
    samples: Samples, network: TwoLayerNetwork, options: Options, part: Samples
) -> Steps[TwoLayerNetwork]:
    """Gauss-Newton steps to the least-squares optimum next to a network.

    Parameters
    ----------
    samples : Samples
        All samples.
    network : TwoLayerNetwork
        Start.
    options : Options
        Budget of iterations.
    part : Samples
        Part of the samples on which the first steps are made.

    Yields
    ------
    Step

    Returns
    -------
    TwoLayerNetwork
    """
    for some in [part, samples] if len(part.Z) < len(samples.Z) // 2 else [samples]:
        tol = max(options.tol, NEGLIGIBLE / (some.weight.sum() * some.Y.shape[1]))
        fit = yield from variable_projection(
            some, network.V, activation=options.activation, max_iter=options.max_iter, tol=tol
        )
        network = fit.network
        if is_zero_residual(residual_sum_of_squares(network, samples), samples):
            # What a part determines to rounding, all samples do not improve.
            break
    return network


def prove(network: TwoLayerNetwork, samples: Samples, rng: np.random.RandomState) -> Lifted | None:
    """The lifted system's null space, if it proves this very network."""
    if not network.activation.is_relu or network.n_hidden > samples.Y.shape[1]:
        return None
    try:
        lifted = lifted_recovery(samples, rng=rng, n_hidden=network.n_hidden, known=network)
    except MemoryError:
        return None
    if not lifted.proven or lifted.network is None:
        return None
    return lifted if same_units(lifted.network.normalized().V, network.V) else None


def same_optimum(loss: float, other: float, samples: Samples) -> bool:
    """Whether two losses differ by less than the data can tell."""
    observations = samples.weight.sum() * samples.Y.shape[1]
    return bool(observations * abs(np.log(loss / other)) < AGREEMENT)


def gather_evidence(
    network: TwoLayerNetwork,
    loss: float,
    samples: Samples,
    part: Samples,
    options: Options,
    rng: np.random.RandomState,
    level: float = LACK_OF_FIT_LEVEL,
) -> Steps[Evidence]:
    """Settle what can be claimed of a refined network.

    Parameters
    ----------
    network : TwoLayerNetwork
        Least-squares optimum on all samples.
    loss : float
        Its residual sum of squares on ``samples``.
    samples : Samples
        All samples that are at hand.
    part : Samples
        Part of them that proofs and tests look at.
    options : Options
        Activation and budgets.
    rng : RandomState
        Source of randomness.
    level : float
        p-value of the score tests below which no search has to confirm the network.

    Yields
    ------
    Step

    Returns
    -------
    Evidence
        Its network may be better than the given one, where a search found a better optimum.
    """
    k = network.n_hidden
    exact = is_zero_residual(loss, samples)
    if exact and (lifted := prove(network, part, rng)) is not None:
        return Evidence(Recovery(network, "moments", loss, lifted=lifted), [])
    tests = [] if exact else score_tests(network, part, rng)
    found = Evidence(Recovery(network, "moments", loss), tests)
    if not exact and found.lack_of_fit.p_value < level:
        return found
    seen = some_rows(part, k, rng, int(SEARCH_STEP_WORK * len(part.Z) / step_work(part, k)))
    complete = len(seen.Z) == len(samples.Z)
    search = yield from search_least_squares(
        seen,
        k,
        rng=rng,
        activation=options.activation,
        n_init=max(options.n_init, 3),
        # The optimum of all samples is polished; that of some only confirms.
        n_jitter=4 if complete else 2,
        n_polish=4 if complete else 0,
        max_iter=max(100, int(SEARCH_WORK / step_work(seen, k))),
        known=network.V,
    )
    if exact:
        agreeing = search.n_agreeing if same_units(search.network.V, network.V) else 1
        recovery = Recovery(network, "moments", loss, n_agreeing=agreeing, search=search)
        return Evidence(recovery, [])
    better = yield from refine(samples, search.network, options, samples)
    better_loss = residual_sum_of_squares(better, samples)
    agreeing = search.n_agreeing
    if not same_optimum(better_loss, loss, samples):
        if better_loss < loss:
            tests = score_tests(better, part, rng)
        else:
            # The searches agree on another optimum, of some samples only.
            agreeing = 1
    if better_loss < loss:
        network, loss = better, better_loss
    share = samples.weight.sum() / seen.weight.sum()
    rivals = [Rival(rival.network, rival.evidence * share) for rival in search.rivals]
    search = search._replace(network=network, loss=loss, rivals=rivals)
    recovery = Recovery(network, "moments", loss, agreeing, search=search)
    return Evidence(recovery, tests)
