"""What is assumed of the noise, and how each assumption turns data into a recovery.

A noise model is a generator ``model(X, Y, weight, task, rng)`` that yields steps and returns an
:class:`Outcome`: the recovery, and the samples on which it is to be judged. With gross errors these
are not the outputs as given: errors must neither set the scale of the problem nor be fitted. A new
noise model is an algorithm file and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.gross_errors.arbitrary_noise import recover_under_arbitrary_noise
from sklearn_nnrecover.networks.gross_errors.sparse_errors import recover_despite_sparse_errors
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.recovery import recover
from sklearn_nnrecover.networks.task import Outcome, Task


def recover_given_outputs(
    X: np.ndarray, Y: np.ndarray, weight: np.ndarray, task: Task, rng: np.random.RandomState
) -> Steps[Outcome]:
    """Noiseless outputs or noise of finite variance: the outputs are taken as they are."""
    samples, design = orthonormal_design(X, Y, weight, intercept=task.intercept, eps=task.eps)
    recovery = yield from recover(
        samples,
        task.n_hidden,
        solver=task.solver,
        noise=task.noise,
        options=task.options,
        rng=rng,
    )
    return Outcome(recovery, samples, design)


NoiseModel = Callable[
    [np.ndarray, np.ndarray, np.ndarray, Task, np.random.RandomState], Steps[Outcome]
]

NOISE_MODELS: dict[str, NoiseModel] = {
    "auto": recover_given_outputs,
    "none": recover_given_outputs,
    "gaussian": recover_given_outputs,
    "sparse": recover_despite_sparse_errors,
    "arbitrary": recover_under_arbitrary_noise,
}
