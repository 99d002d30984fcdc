"""The protocol of iterative algorithms.

An iterative algorithm is a generator: it yields a :class:`Step` after each outer iteration and
*returns* its result. Algorithms compose by ``result = yield from other(...)``; whoever drives the
outermost generator (an estimator, or :func:`run_to_end`) sees every step and decides what to do
with it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")


class Step(NamedTuple):
    """One outer iteration.

    Attributes
    ----------
    objective : float
        Value of the objective that the algorithm lowers.
    gap : float
        Distance to convergence, in the algorithm's own measure (relative decrease, gradient norm).
    state : object
        Current estimate, or None.
    """

    objective: float
    gap: float = float("nan")
    state: Any = None


Steps = Generator[Step, None, Result]


def run_to_end(steps: Steps[Result]) -> Result:
    """Drive a generator of steps to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
