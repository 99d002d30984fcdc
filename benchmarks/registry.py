"""The list of benchmark cases, filled by the decorator `case`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One measured claim.

    Attributes
    ----------
    name : str
        Name of the function, unique over all groups.
    group : str
        The wing that it measures, which is also the module that holds it.
    figure : str
        The claim in words, for example ``"exact in >= 9 of 10 seeds"``.
    run : callable
        ``run(seed)`` returns a dict of plain numbers and strings with a boolean ``"success"``.
    goal : float
        Success rate that the claim asks for, between 0 and 1.
    requires : tuple of str
        Modules without which the case is skipped.
    """

    name: str
    group: str
    figure: str
    run: Callable[[int], dict[str, Any]]
    goal: float = 1.0
    requires: tuple[str, ...] = ()


CASES: dict[str, Case] = {}


def case(
    *, group: str, figure: str, goal: float = 1.0, requires: tuple[str, ...] = ()
) -> Callable[[Callable[[int], dict[str, Any]]], Callable[[int], dict[str, Any]]]:
    """Register the decorated function as a `Case` under its own name.

    Modules named in ``requires`` are imported inside the function, never at the top of the file.
    """

    def register(run: Callable[[int], dict[str, Any]]) -> Callable[[int], dict[str, Any]]:
        name = run.__name__
        if name in CASES:
            raise ValueError(f"two benchmark cases are named {name!r}")
        CASES[name] = Case(name, group, figure, run, goal, requires)
        return run

    return register
