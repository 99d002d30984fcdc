"""The registry of solvers: one signature over all algorithms of this wing.

A solver is a generator ``solver(samples, n_hidden, options, rng)`` that yields steps and returns a
:class:`Recovery`, or :class:`Declined` when the data are not of the kind it is for.
``n_hidden=None`` asks it to find the width. A new method is an algorithm file and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.exact.lifted_system import (
    Lifted,
    lifted_recovery,
    with_nested_units,
)
from sklearn_nnrecover.networks.exact.one_sparse_columns import one_sparse_recovery
from sklearn_nnrecover.networks.exact.orthant_enumeration import enumerate_patterns
from sklearn_nnrecover.networks.exact.output_rank import output_rank
from sklearn_nnrecover.networks.exact.pencil import pencil_recovery
from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    residual_sum_of_squares,
)
from sklearn_nnrecover.networks.moments.fourth_order_moments import SampleMoments
from sklearn_nnrecover.networks.moments.hermite_moments import hermite_start, looks_gaussian
from sklearn_nnrecover.networks.moments.independent_components import component_start
from sklearn_nnrecover.networks.moments.input_symmetry import symmetry_of_samples
from sklearn_nnrecover.networks.moments.pure_neuron_moments import estimate_network
from sklearn_nnrecover.networks.search.estimated_starts import (
    Start,
    search_from_estimates,
    width_of_estimates,
)
from sklearn_nnrecover.networks.search.least_squares_search import Search, search_least_squares
from sklearn_nnrecover.networks.search.overparametrized import (
    Reduction,
    max_hidden,
    reduce_recovery,
)
from sklearn_nnrecover.networks.search.superfluous_units import (
    search_with_spare_units,
    without_superfluous_units,
)
from sklearn_nnrecover.networks.search.variable_projection import step_work
from sklearn_nnrecover.networks.search.width_selection import select_width

# Floating-point operations on one core: some seconds, and about a minute.
SEARCH_WORK = 3e10
MOST_WORK = 3e11
# What calling an iteration costs, however small its matrices are.
CALL_WORK = 2e6
# Equations per free parameter from which moments of Gaussian inputs begin a search.
MOMENT_EQUATIONS = 20
# Iterations at the largest width that a reduction may spend: small samples need many starts.
REDUCTION_ITERATIONS = 2400


class Options(NamedTuple):
    """What the user fixed about a fit.

    Attributes
    ----------
    activation : Activation
        Activation of the hidden layer.
    n_init : int
        Independent starts of iterative solvers.
    max_iter : int
        Iterations of one start.
    tol : float
        Relative fall of the loss at which a start stops.
    """

    activation: Activation = RELU
    n_init: int = 6
    max_iter: int = 2000
    tol: float = 1e-12


class Recovery(NamedTuple):
    """A network found by a solver, with the evidence that the solver has for it.

    Attributes
    ----------
    network : TwoLayerNetwork
        The network, in design coordinates.
    solver : str
        Name of the solver.
    loss : float
        Weighted residual sum of squares.
    n_agreeing : int
        Independent starts that ended at this network.
    lifted : Lifted or None
        The lifted system's null space, if it was computed.
    search : Search or None
        The search for the least-squares optimum, with its rival minima, if there was one.
    unit_agreement : ndarray of shape (n_hidden,) or None
        Independent starts that had each unit, where they were counted one by one.
    signs_identified : bool
        Whether the data decide on which side of its kink each unit is active.
    note : str
        What the user should know about how it was come by.
    exhaustive : bool
        Whether the solver has excluded every other network of this width.
    """

    network: TwoLayerNetwork
    solver: str
    loss: float
    n_agreeing: int = 1
    lifted: Lifted | None = None
    search: Search | None = None
    unit_agreement: np.ndarray | None = None
    signs_identified: bool = True
    note: str = ""
    exhaustive: bool = False

    @property
    def proven(self) -> bool:
        """Whether no other network of this width gives these outputs."""
        return self.exhaustive or (self.lifted is not None and self.lifted.proven)


class Declined(NamedTuple):
    """What a solver returns when it has no network for the data.

    Attributes
    ----------
    reason : str
        Why, in a few words.
    """

    reason: str


Solver = Callable[
    [Samples, "int | None", Options, np.random.RandomState], Steps["Recovery | Declined"]
]


def for_relu(solver: Solver) -> Solver:
    """Let a solver decline every other activation."""

    @wraps(solver)
    def declining(
        samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
    ) -> Steps[Recovery | Declined]:
        if not options.activation.is_relu:
            return Declined("it is for ReLU units")
        return (yield from solver(samples, n_hidden, options, rng))

    return declining


def reduction_work(samples: Samples, n_hidden: int | None) -> float:
    """Operations granted to a reduction of the samples."""
    width = max_hidden(samples) if n_hidden is None else 2 * n_hidden
    return min(REDUCTION_ITERATIONS * (step_work(samples, width) + CALL_WORK), MOST_WORK)


def within_work(
    steps: Steps[Reduction | None], samples: Samples, budget: float
) -> Steps[Reduction | None]:
    """Pass steps on until their operations exceed a budget; then give up with None."""
    spent, width = 0.0, 1
    while spent < budget:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        if step.state is not None:
            width = step.state.shape[1]
        spent += step_work(samples, width) + CALL_WORK
        yield step
    return None


@for_relu
def solve_lifted(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[Recovery | Declined]:
    """Noiseless, at least as many outputs as units: null space of the lifted system."""
    lifted = lifted_recovery(samples, rng=rng, n_hidden=n_hidden)
    if lifted.reason == "null space too large":
        # Units active only where others are: pencils tell them apart, the null space proves them.
        pencil = yield from pencil_recovery(samples, rng=rng, n_hidden=n_hidden)
        if pencil.network is not None:
            lifted = with_nested_units(lifted, pencil.network, samples)
    if lifted.network is None:
        return Declined(lifted.reason)
    yield Step(lifted.residual)
    loss = residual_sum_of_squares(lifted.network, samples)
    return Recovery(lifted.network, "lifted", loss, lifted=lifted)


@for_relu
def solve_pencil(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[Recovery | Declined]:
    """Noiseless, at least as many outputs as units, few samples: activation-pattern pencils."""
    pencil = yield from pencil_recovery(samples, rng=rng, n_hidden=n_hidden)
    if pencil.network is None:
        return Declined(pencil.reason)
    loss = residual_sum_of_squares(pencil.network, samples)
    return Recovery(pencil.network, "pencil", loss, n_agreeing=int(min(pencil.hits)))


def solve_varpro(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[Recovery | Declined]:
    """Any data: search for the least-squares optimum, at a width chosen by BIC if none is given."""
    known = None
    chosen = n_hidden is None
    if n_hidden is None:
        path = yield from select_width(
            samples, rng=rng, activation=options.activation, max_work=SEARCH_WORK
        )
        n_hidden, known = path.width, path.best.network.V
        narrower = yield from search_narrower(samples, path.best, options, rng)
        if narrower is not None:
            return _of_search(narrower)
    elif moments_are_cheap(samples, n_hidden, options.activation):
        # A first run at the price of some matrix products; it still takes another one to agree.
        known = hermite_start(samples, n_hidden, options.activation, rng)
    elif symmetric_moments_are_cheap(samples, n_hidden, options.activation):
        slope = options.activation.negative_slope or 0.0
        known = estimate_network(SampleMoments(samples), n_hidden, rng=rng, slope=slope).V
    affordable = int(SEARCH_WORK / step_work(samples, n_hidden))
    search = yield from search_least_squares(
        samples,
        n_hidden,
        rng=rng,
        activation=options.activation,
        n_init=options.n_init,
        max_iter=max(options.max_iter, min(options.n_init * options.max_iter, affordable)),
        known=known,
    )
    if chosen:
        search = (yield from search_narrower(samples, search, options, rng)) or search
    return _of_search(search)


def moments_are_cheap(samples: Samples, n_hidden: int, activation: Activation) -> bool:
    """Whether second-order moments estimate the units well enough to begin with."""
    n_inputs = samples.Z.shape[1] - int(samples.intercept)
    equations = MOMENT_EQUATIONS * samples.n_parameters(n_hidden, activation)
    return (
        n_hidden <= n_inputs
        and samples.Y.size >= equations
        and (samples.Y.shape[1] > 1 or n_hidden == 1)
        and looks_gaussian(samples)
    )


def symmetric_moments_are_cheap(samples: Samples, n_hidden: int, activation: Activation) -> bool:
    """Whether inputs look symmetric, so that pure neurons estimate the units (Corollary 5)."""
    equations = MOMENT_EQUATIONS * samples.n_parameters(n_hidden, activation)
    return (
        not samples.intercept
        and activation.negative_slope is not None
        and n_hidden <= min(samples.Z.shape[1], samples.Y.shape[1])
        and samples.Y.size >= equations
        and symmetry_of_samples(samples).passed
    )


def _of_search(search: Search) -> Recovery:
    return Recovery(search.network, "varpro", search.loss, search.n_agreeing, search=search)


def search_narrower(
    samples: Samples, search: Search, options: Options, rng: np.random.RandomState
) -> Steps[Search | None]:
    """Search without the superfluous units of a network of zero residual; None if it has none."""
    if not options.activation.is_relu:
        return None
    fit = yield from without_superfluous_units(samples, search.network)
    if fit.network.n_hidden == search.network.n_hidden:
        return None
    return (
        yield from search_with_spare_units(
            samples, search.network.n_hidden, fit, rng=rng, n_init=2 * options.n_init
        )
    )


@for_relu
def solve_reduce(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[Recovery | Declined]:
    """Noiseless, any number of outputs: over-parametrise, then reduce."""
    steps = reduce_recovery(samples, rng=rng, n_hidden=n_hidden, n_init=4 * options.n_init)
    work = options.n_init / Options().n_init * reduction_work(samples, n_hidden)
    found = yield from within_work(steps, samples, work)
    if found is None:
        return Declined("no network")
    return Recovery(
        found.network,
        "reduce",
        found.loss,
        n_agreeing=found.n_agreeing if found.n_rivals == 0 else 0,
        unit_agreement=found.unit_agreement,
        signs_identified=found.signs_identified,
    )


def solve_by_estimates(
    name: str,
    start: Start,
    largest: int,
    samples: Samples,
    n_hidden: int | None,
    options: Options,
    rng: np.random.RandomState,
) -> Steps[Recovery | Declined]:
    """Refine a method's estimates; decline if they lead nowhere in common."""
    if n_hidden is not None and n_hidden > largest:
        return Declined(f"it finds at most {largest} units in these data")
    width = n_hidden or width_of_estimates(
        samples, start, largest, rng=rng, activation=options.activation
    )
    search = yield from search_from_estimates(
        samples,
        width,
        start,
        rng=rng,
        activation=options.activation,
        n_init=options.n_init,
        max_iter=options.n_init * options.max_iter,
    )
    if search.n_agreeing < 2:
        return Declined("its estimates lead to different networks")
    return Recovery(search.network, name, search.loss, search.n_agreeing, search=search)


def solve_moments(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[Recovery | Declined]:
    """Gaussian inputs, no more units than inputs: Hermite moments and joint diagonalisation."""
    n_inputs = samples.Z.shape[1] - int(samples.intercept)
    return (
        yield from solve_by_estimates(
            "moments", hermite_start, n_inputs, samples, n_hidden, options, rng
        )
    )


def solve_ica(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[Recovery | Declined]:
    """Gaussian inputs, orthogonal units, as many outputs: independent components."""
    n_inputs = samples.Z.shape[1] - int(samples.intercept)
    largest = min(n_inputs, output_rank(samples).rank)
    return (
        yield from solve_by_estimates(
            "ica", component_start, largest, samples, n_hidden, options, rng
        )
    )


@for_relu
def solve_enumerate(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[Recovery | Declined]:
    """Noiseless, at least as many outputs as units, a handful of samples: every pattern."""
    found = yield from enumerate_patterns(samples, n_hidden=n_hidden)
    if found.network is None:
        return Declined(found.reason)
    loss = residual_sum_of_squares(found.network, samples)
    return Recovery(found.network, "enumerate", loss, exhaustive=found.exhaustive)


@for_relu
def solve_one_sparse(
    samples: Samples, n_hidden: int | None, options: Options, rng: np.random.RandomState
) -> Steps[Recovery | Declined]:
    """Noiseless, at least two outputs, any number of units: samples with one active unit."""
    found = yield from one_sparse_recovery(samples, n_hidden=n_hidden)
    if found.network is None:
        return Declined(found.reason)
    loss = residual_sum_of_squares(found.network, samples)
    return Recovery(found.network, "one-sparse", loss, n_agreeing=found.n_determinations)


SOLVERS: dict[str, Solver] = {
    "enumerate": solve_enumerate,
    "ica": solve_ica,
    "lifted": solve_lifted,
    "moments": solve_moments,
    "one-sparse": solve_one_sparse,
    "pencil": solve_pencil,
    "reduce": solve_reduce,
    "varpro": solve_varpro,
}
