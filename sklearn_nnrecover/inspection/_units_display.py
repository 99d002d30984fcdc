"""What the data say about each unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.inspection._axes import IDENTIFIED, NOT_IDENTIFIED, axes_or_new


class UnitsDisplay:
    """What the data say about each unit: how often it is active, and what is left open.

    Use :meth:`from_estimator` or :meth:`from_report` to make one.

    Parameters
    ----------
    units : list of dict
        `report_.units` of a fitted network.
    standard_errors : ndarray of shape (n_hidden,) or None, default=None
        Largest standard error of each unit's input weights and bias.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> from sklearn_nnrecover.inspection import UnitsDisplay
    >>> UnitsDisplay([{"unit": 0, "identified": True, "n_active": 30, "n_inactive": 10}]).active
    array([0.75])
    """

    def __init__(
        self, units: list[dict[str, Any]], standard_errors: np.ndarray | None = None
    ) -> None:
        self.units = units
        self.standard_errors = standard_errors

    @property
    def active(self) -> np.ndarray:
        """Share of the distinct samples on which each unit is active; nan where not reported."""
        return np.array(
            [
                unit["n_active"] / (unit["n_active"] + unit["n_inactive"])
                if "n_active" in unit
                else np.nan
                for unit in self.units
            ]
        )

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> UnitsDisplay:
        """Draw the units of a fitted network.

        Parameters
        ----------
        estimator : fitted ReLUNetRecovery
            The recovered network.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        UnitsDisplay
            The display, drawn.
        """
        W, b = estimator.coefs_std_[0], estimator.intercepts_std_[0]
        errors = np.max(np.vstack([W, b]), axis=0)
        return cls(estimator.report_.units, errors).plot(ax=ax)

    @classmethod
    def from_report(cls, report: RecoveryReport, *, ax: Any = None) -> UnitsDisplay:
        """Draw the units of a report, which knows no standard errors.

        Parameters
        ----------
        report : RecoveryReport
            Report of a network.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        UnitsDisplay
            The display, drawn.
        """
        return cls(report.units).plot(ax=ax)

    def notes(self) -> list[str]:
        """One phrase a unit: why it is not pinned down, or how well it is.

        Returns
        -------
        list of str
            Phrases, in the order of the units.
        """
        phrases = []
        for j, unit in enumerate(self.units):
            if not unit.get("identified", False):
                phrases.append(str(unit.get("problem") or "not pinned down"))
            elif self.standard_errors is not None and self.standard_errors[j] > 0:
                phrases.append(f"standard errors up to {self.standard_errors[j]:.1g}")
            elif "active_rank" in unit:
                phrases.append(f"active rows span all {unit['active_rank']} dimensions")
            else:
                phrases.append("identified")
        return phrases

    def plot(self, ax: Any = None, **bar_options: Any) -> UnitsDisplay:
        """Draw one bar a unit, as long as the share of samples on which it is active.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        **bar_options
            Passed to :meth:`matplotlib.axes.Axes.barh`.

        Returns
        -------
        UnitsDisplay
            The display itself, with `ax_` and `figure_` set.
        """
        ax = axes_or_new(ax, figsize=(6.4, 1.2 + 0.3 * len(self.units)))
        identified = [unit.get("identified", False) for unit in self.units]
        colors = [IDENTIFIED if known else NOT_IDENTIFIED for known in identified]
        positions = np.arange(len(self.units))
        ax.barh(
            positions, np.nan_to_num(self.active), **{"color": colors, "alpha": 0.6, **bar_options}
        )
        for position, phrase in zip(positions, self.notes(), strict=True):
            ax.text(0.01, position, phrase, va="center", fontsize="small")
        ax.set_yticks(positions, [str(unit["unit"]) for unit in self.units])
        ax.invert_yaxis()
        ax.set(xlim=(0, 1), xlabel="share of samples on which the unit is active", ylabel="unit")
        ax.set_title(f"{sum(identified)} of {len(identified)} units identified")
        self.ax_, self.figure_ = ax, ax.figure
        return self
