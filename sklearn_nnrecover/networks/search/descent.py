"""Many descents on one problem: a shared budget, early abandonment, and the minima visited."""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.networks.search.variable_projection import (
    Projection,
    SeparableLeastSquares,
    minimize_separable,
)


class Descent:
    """Runs Levenberg-Marquardt from given units until a common budget is spent.

    Parameters
    ----------
    problem : SeparableLeastSquares
        The problem.
    budget : int
        Largest number of normal matrices over all runs.
    window : float, default=12
        A converged run is remembered as a visited minimum when its ``n m log(loss)`` (n the sum of
        weights, m the outputs) is within this of the best; a run that has to beat a loss is
        abandoned when it is heading further off than that.
    """

    def __init__(self, problem: SeparableLeastSquares, budget: int, window: float = 12.0) -> None:
        self.problem = problem
        self.budget = budget
        self.window = window
        self.work = 0
        self.minima: list[Projection] = []
        self.n_observations = float(problem.samples.weight.sum() * len(problem.weighted_Yt))
        # Falls of the loss below this fraction do not tell two minima apart.
        self.margin = 0.01 / self.n_observations

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent."""
        return self.work >= self.budget

    def evidence(self, loss: float, best: float) -> float:
        """Minus twice the log-likelihood ratio of two losses, ``n m log(loss / best)``."""
        return self.n_observations * float(np.log(max(loss, 1e-300) / max(best, 1e-300)))

    def run(
        self,
        V: np.ndarray,
        *,
        max_iter: int = 60,
        tol: float | None = None,
        beat: float | None = None,
        patience: float = 8.0,
    ) -> Projection:
        """Descend from V.

        Parameters
        ----------
        V : ndarray of shape (p, k)
            Start.
        max_iter : int, default=60
            Most normal matrices of this run.
        tol : float or None, default=None
            Relative fall at which to stop; None takes a fraction of what could matter to the
            likelihood.
        beat : float or None, default=None
            Loss to come near to; the run is abandoned when it is further above it than
            ``patience`` times its last fall.
        patience : float, default=8.0
            See ``beat``.

        Returns
        -------
        Projection
            Where the run ended; compare its loss.
        """
        if tol is None:
            tol = 0.1 * self.margin
        target = None if beat is None else beat * np.exp(self.window / self.n_observations)
        steps = minimize_separable(self.problem, V, max_iter=max_iter, tol=tol)
        at: Projection | None = None
        n_steps = 0
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                at, converged, n_iter = end.value
                self.work += n_iter
                if converged:
                    self.minima.append(at)
                return at
            n_steps += 1
            fall = np.inf if at is None else at.loss - step.objective
            at = step.state
            if target is not None and n_steps >= 3 and at.loss - target > patience * fall:
                self.work += n_steps
                return at
