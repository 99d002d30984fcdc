"""The report that every fit leaves behind: what holds, what does not, and why."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Condition", "RecoveryReport"]

STATUSES = ("exact", "approximate", "partial", "not_recovered")
PROOFS = (None, "global", "local")


class Condition(NamedTuple):
    """One thing that was checked on the user's data.

    Attributes
    ----------
    name : str
        Short name of the quantity.
    value : float, int, str or None
        What was measured.
    threshold : float, int, str or None
        What it was compared with.
    passed : bool
        Whether the check passed.
    meaning : str
        What a passed check says, in one phrase.
    """

    name: str
    value: Any
    threshold: Any
    passed: bool
    meaning: str


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and arrays into plain Python data."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _short(value: Any) -> str:
    """Format one table entry."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return ", ".join(_short(item) for item in value[:6]) + (", ..." if len(value) > 6 else "")
    return "-" if value is None else str(value)


class RecoveryReport:
    """What a fit recovered and how far it can be trusted.

    Parameters
    ----------
    status : {"exact", "approximate", "partial", "not_recovered"}
        ``"exact"``: the model reproduces these data to rounding and is proven, up to the gauge.
        ``"approximate"``: the optimum was found from several starts, the residual passes a
        lack-of-fit test and error bars hold. ``"partial"``: what ``units`` marks as identified is
        proven (or estimated, under noise), the rest is not determined by these data.
        ``"not_recovered"``: nothing is claimed.
    reason : str
        One plain sentence: why this status, and what can be done about it.
    proof : {"global", "local"} or None, default=None
        Kind of proof, for ``"exact"`` only: no other model of this class and width reproduces the
        data, or none nearby does and independent starts agree.
    conditions : iterable of Condition, default=()
        Everything that was checked on the data.
    units : iterable of dict, default=()
        One entry per unit, atom, column or layer: how often it was active, whether the data pin it
        down (key ``"identified"``).

    Examples
    --------
    >>> from sklearn_nnrecover.base import RecoveryReport
    >>> report = RecoveryReport("partial", "Unit 1 is never inactive.", units=[
    ...     {"unit": 0, "identified": True}, {"unit": 1, "identified": False}])
    >>> print(report)
    partial: Unit 1 is never inactive.
      unit  identified
      0     yes
      1     no
    >>> RecoveryReport.from_dict(report.to_dict()) == report
    True
    """

    def __init__(
        self,
        status: str,
        reason: str,
        proof: str | None = None,
        conditions: Iterable[tuple] = (),
        units: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        if status not in STATUSES:
            raise ValueError(f"status must be one of {STATUSES}, got {status!r}")
        if proof not in PROOFS or (proof is not None) != (status == "exact"):
            raise ValueError(
                f"an exact status needs proof 'global' or 'local', any other status none; "
                f"got status={status!r} with proof={proof!r}"
            )
        self.status = status
        self.proof = proof
        self.reason = reason
        self.conditions = [
            Condition(str(name), _plain(value), _plain(threshold), bool(passed), str(meaning))
            for name, value, threshold, passed, meaning in conditions
        ]
        self.units = [_plain(unit) for unit in units]

    @property
    def identified(self) -> list[bool]:
        """Whether each unit is pinned down by the data."""
        return [bool(unit.get("identified", False)) for unit in self.units]

    def __getitem__(self, name: str) -> Condition:
        """Return the condition of this name."""
        for condition in self.conditions:
            if condition.name == name:
                return condition
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "status": self.status,
            "proof": self.proof,
            "reason": self.reason,
            "conditions": [condition._asdict() for condition in self.conditions],
            "units": [dict(unit) for unit in self.units],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RecoveryReport:
        """Rebuild a report from plain data.

        Parameters
        ----------
        data : mapping
            What :meth:`to_dict` returned.

        Returns
        -------
        RecoveryReport
            An equal report.
        """
        conditions = [
            tuple(item[field] for field in Condition._fields) for item in data["conditions"]
        ]
        return cls(data["status"], data["reason"], data["proof"], conditions, data["units"])

    # Mutable, as its lists are, and so not hashable: there is no __hash__ beside __eq__.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecoveryReport) and _same(self.to_dict(), other.to_dict())

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(type(self).from_dict(state).__dict__)

    def _title(self) -> str:
        return self.status + (f" ({self.proof} proof)" if self.proof else "")

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Header and rows of the tables of conditions and units."""
        tables = []
        if self.conditions:
            header = ["", "condition", "value", "threshold", "meaning"]
            rows = [
                [
                    "ok" if c.passed else "FAILED",
                    c.name,
                    _short(c.value),
                    _short(c.threshold),
                    c.meaning,
                ]
                for c in self.conditions
            ]
            tables.append((header, rows))
        if self.units:
            keys = list(dict.fromkeys(key for unit in self.units for key in unit))
            tables.append((keys, [[_short(unit.get(key)) for key in keys] for unit in self.units]))
        return tables

    def __str__(self) -> str:
        lines = [f"{self._title()}: {self.reason}"]
        for header, rows in self._tables():
            widths = [max(len(row[j]) for row in [header, *rows]) for j in range(len(header))]
            lines += [
                "  "
                + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
                for row in [header, *rows]
            ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        proof = f", proof={self.proof!r}" if self.proof else ""
        return f"RecoveryReport({self.status!r}{proof}, {self.reason!r})"

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{html.escape(self._title())}</b>: {html.escape(self.reason)}</p>"]
        for header, rows in self._tables():
            head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
            body = "".join(
                "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
                for row in rows
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        return "\n".join(parts)


def _same(left: Any, right: Any) -> bool:
    """Equality of plain data in which nan equals nan."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return bool(left == right)
