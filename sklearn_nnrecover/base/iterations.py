"""The mixin of iterative estimators: counting, the loss curve and scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar

import numpy as np
from sklearn.callback import CallbackSupportMixin

from sklearn_nnrecover.base._sklearn_compat import Interval
from sklearn_nnrecover.linalg.steps import Step, Steps

Result = TypeVar("Result")


class IterationMixin(CallbackSupportMixin):
    """Drives a generator of steps: ``n_iter_``, ``loss_curve_`` and callbacks.

    Callbacks set by ``set_callbacks`` see one task per outer iteration; this is how progress is
    shown (``sklearn.callback.ProgressBar``). With none set an iteration costs nothing extra.
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def _iterate(
        self,
        steps: Steps[Result],
        *,
        max_steps: int | None = None,
        attributes: Callable[[Step], Mapping[str, Any]] | None = None,
    ) -> Result:
        """Run ``steps`` to its end and return its result.

        Parameters
        ----------
        steps : generator of Step
            The algorithm.
        max_steps : int or None, default=None
            Known upper bound on the number of steps, for progress bars.
        attributes : callable or None, default=None
            Maps a step to the fitted attributes of the estimator as if the fit had stopped there;
            called only when a callback asks for a fitted estimator.

        Returns
        -------
        result : object
            What the generator returned.
        """
        context = self._init_callback_context(max_subtasks=max_steps)
        context.call_on_fit_task_begin(estimator=self)
        listening = bool(getattr(self, "_skl_callbacks", ()))
        curve = []
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result = end.value
                break
            curve.append(float(step.objective))
            if listening:
                task = context.subcontext(task_name="iteration")
                task.call_on_fit_task_begin(estimator=self)
                task.call_on_fit_task_end(
                    estimator=self,
                    reconstruction_attributes=(
                        None if attributes is None else lambda step=step: attributes(step)
                    ),
                )
        self.n_iter_ = max(1, len(curve))
        self.loss_curve_ = np.array(curve)
        context.call_on_fit_task_end(estimator=self)
        return result
