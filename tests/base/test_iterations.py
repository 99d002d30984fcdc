"""The iteration mixin: counts, curve, callbacks, results."""

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_nnrecover.base._sklearn_compat import _fit_context
from sklearn_nnrecover.base.iterations import IterationMixin
from sklearn_nnrecover.linalg.steps import Step, run_to_end


def halving(value, n_steps):
    for _ in range(n_steps):
        value /= 2
        yield Step(value, state=value)
    return value


class Halver(IterationMixin, BaseEstimator):
    _parameter_constraints = IterationMixin._parameter_constraints

    def __init__(self, max_iter=5, tol=0.0):
        self.max_iter = max_iter
        self.tol = tol

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X=None, y=None):
        self.value_ = self._iterate(
            halving(1.0, self.max_iter - 1), attributes=lambda step: {"value_": step.state}
        )
        return self


class Recorder:
    def __init__(self):
        self.tasks, self.values = [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.tasks.append(context.task_name)
        if fitted_estimator is not None:
            self.values.append(fitted_estimator.value_)


def test_result_curve_and_count():
    halver = Halver(max_iter=4).fit()
    assert halver.value_ == run_to_end(halving(1.0, 3)) == 0.125
    np.testing.assert_array_equal(halver.loss_curve_, [0.5, 0.25, 0.125])
    assert halver.n_iter_ == 3


def test_no_iteration_still_counts_one():
    assert Halver(max_iter=1).fit().n_iter_ == 1


def test_callbacks_see_every_iteration_and_a_fitted_estimator():
    recorder = Recorder()
    Halver(max_iter=4).set_callbacks(recorder).fit()
    assert recorder.tasks == ["iteration"] * 3 + ["fit"]
    assert recorder.values == [0.5, 0.25, 0.125]
