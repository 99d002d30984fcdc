"""Is there noise? A quick look before an exact network is searched for.

Widths are doubled, each with one greedy fit. On noiseless data the information criterion keeps
falling until the residual vanishes; under noise it turns up once the network is wide enough and
more units only fit noise. A greedy fit can also be stuck, so two doublings without a gain are taken
for noise only if the residual of the best width is large, or, where equations abound, passes the
test of lack of fit.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.evidence.lack_of_fit import lack_of_fit
from sklearn_nnrecover.networks.model.two_layer_network import Samples, relative_residual
from sklearn_nnrecover.networks.search.descent import Descent
from sklearn_nnrecover.networks.search.greedy_starts import greedy_start
from sklearn_nnrecover.networks.search.variable_projection import (
    Projection,
    SeparableLeastSquares,
    step_work,
)
from sklearn_nnrecover.networks.search.width_selection import bic

PATIENCE = 2
# Relative residual that no noise worth the name leaves; the descent has not converged yet.
SMALL_RESIDUAL = 1e-8
# Share of the equations that the free parameters of a probe may use.
MAX_PARAMETERS = 0.8
# Floating-point operations of the widest probe: some seconds.
MAX_WORK = 1e10
# Relative residual that stuck descents on noiseless data do not leave, in our experience.
LARGE_RESIDUAL = 0.12
# Equations per parameter from which the test of lack of fit sees what a stuck descent missed.
MANY_EQUATIONS = 6
NOISE_LEVEL = 0.01


def probe_noise(
    samples: Samples, *, rng: np.random.RandomState, max_iter: int = 40
) -> Steps[bool | None]:
    """Whether wider networks stop paying before the residual vanishes.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    rng : RandomState
        Source of randomness.
    max_iter : int, default=40
        Levenberg-Marquardt iterations of each fit.

    Yields
    ------
    Step
        Loss at each width.

    Returns
    -------
    bool or None
        True for noise, False where the residual vanishes, None where neither shows.
    """
    problem = SeparableLeastSquares(samples)
    criteria: list[float] = []
    fits: list[Projection] = []
    width = 1
    while (
        samples.n_parameters(width) <= MAX_PARAMETERS * samples.Y.size
        and max_iter * step_work(samples, width) <= MAX_WORK
    ):
        descent = Descent(problem, budget=4 * max_iter)
        at = descent.run(greedy_start(descent, width, rng), max_iter=max_iter)
        yield Step(at.loss, state=at.V)
        if relative_residual(at.loss, samples) <= SMALL_RESIDUAL:
            return False
        criteria.append(bic(at.loss, width, samples))
        fits.append(at)
        if len(criteria) - 1 - int(np.argmin(criteria)) >= PATIENCE:
            # The width after the best has every unit that a stuck fit of the best one missed.
            best = int(np.argmin(criteria))
            return any(_is_noise(problem, at, rng) for at in fits[best : best + 2]) or None
        width *= 2
    return None


def _is_noise(problem: SeparableLeastSquares, at: Projection, rng: np.random.RandomState) -> bool:
    """Whether the residual of a fit is noise rather than what a stuck descent left."""
    samples = problem.samples
    if relative_residual(at.loss, samples) > LARGE_RESIDUAL:
        return True
    if samples.Y.size < MANY_EQUATIONS * samples.n_parameters(at.V.shape[1]):
        return False
    network = problem.fit(at, True, 0).network
    return lack_of_fit(network, samples, rng).p_value > NOISE_LEVEL
