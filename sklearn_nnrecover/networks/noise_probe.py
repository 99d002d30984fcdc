"""Is there noise? A quick look before an exact network is searched for.

Widths are doubled, each with one greedy fit. On noiseless data the information criterion keeps
falling until the residual vanishes; under noise it turns up once the network is wide enough and
more units only fit noise. Two doublings in a row without a gain are taken for noise.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.descent import Descent
from sklearn_nnrecover.networks.greedy_starts import greedy_start
from sklearn_nnrecover.networks.two_layer_network import Samples, relative_residual
from sklearn_nnrecover.networks.variable_projection import SeparableLeastSquares
from sklearn_nnrecover.networks.width_selection import bic

PATIENCE = 2
# Relative residual that no noise worth the name leaves; the descent has not converged yet.
SMALL_RESIDUAL = 1e-8
# Share of the equations that the free parameters of a probe may use.
MAX_PARAMETERS = 0.8


def looks_noisy(samples: Samples, *, rng: np.random.RandomState, max_iter: int = 40) -> Steps[bool]:
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
    bool
        False also where the samples are too few to tell.
    """
    problem = SeparableLeastSquares(samples)
    criteria: list[float] = []
    width = 1
    while samples.n_parameters(width) <= MAX_PARAMETERS * samples.Y.size:
        descent = Descent(problem, budget=4 * max_iter)
        at = descent.run(greedy_start(descent, width, rng), max_iter=max_iter)
        yield Step(at.loss, state=at.V)
        if relative_residual(at.loss, samples) <= SMALL_RESIDUAL:
            return False
        criteria.append(bic(at.loss, width, samples))
        if len(criteria) - 1 - int(np.argmin(criteria)) >= PATIENCE:
            return True
        width *= 2
    return False
