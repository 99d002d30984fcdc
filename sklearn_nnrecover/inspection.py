"""Pictures of what was recovered, in the style of scikit-learn's Display objects.

Matplotlib is imported when a picture is drawn, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.metrics import match_components

__all__ = ["AtomsDisplay", "RecoveryDisplay", "UnitsDisplay"]

IDENTIFIED, NOT_IDENTIFIED, UNJUDGED = "tab:blue", "tab:orange", "tab:gray"
# Errors below this are drawn at it: zero has no logarithm.
SMALLEST_ERROR = 1e-18


def _axes(ax: Any, **figure_options: Any) -> Any:
    """Axes to draw on: those given, or the only ones of a new figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Drawing needs matplotlib, which is not installed; "
            "pip install 'sklearn-nnrecover[plots]' installs it."
        ) from error
    return plt.subplots(**figure_options)[1] if ax is None else ax


def _unit_rows(network: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights in the gauge of unit-norm input weights: (k, d + 1) and (k, m)."""
    coefs, intercepts = (
        (network.coefs_, network.intercepts_) if hasattr(network, "coefs_") else network
    )
    W, A = (np.asarray(part, dtype=np.float64) for part in coefs)
    b = np.asarray(intercepts[0], dtype=np.float64)
    norms = np.linalg.norm(W, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    return np.column_stack([W.T, b]) / norms[:, None], A * norms[:, None]


class RecoveryDisplay:
    """True against recovered weights of a two-layer network, unit by unit.

    Use :meth:`from_estimator` or :meth:`from_weights` to make one.

    Parameters
    ----------
    recovered, true : ndarray of shape (n_matched, n_features + 1 + n_outputs)
        Input weights, bias and output weights of matched units, one unit a row: unit-norm input
        weights, output weights relative to the largest true one.
    identified : ndarray of bool, shape (n_matched,), or None
        Whether the data pin down the recovered unit; None if nothing is known of it.
    n_missed : int, default=0
        True units for which none was recovered.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_nnrecover.inspection import RecoveryDisplay
    >>> true = ([np.eye(2), np.ones((2, 1))], [np.zeros(2), np.zeros(1)])
    >>> recovered = ([np.eye(2)[::-1], np.ones((2, 1))], [np.zeros(2), np.zeros(1)])
    >>> display = RecoveryDisplay.from_weights(recovered, true)
    >>> display.errors.tolist()
    [0.0, 0.0]
    """

    def __init__(
        self,
        recovered: np.ndarray,
        true: np.ndarray,
        identified: np.ndarray | None = None,
        n_missed: int = 0,
    ) -> None:
        self.recovered = recovered
        self.true = true
        self.identified = identified
        self.n_missed = n_missed

    @property
    def errors(self) -> np.ndarray:
        """Largest absolute error of each matched unit."""
        return np.max(np.abs(self.recovered - self.true), axis=1, initial=0.0)

    @classmethod
    def from_estimator(cls, estimator: Any, truth: Any, *, ax: Any = None) -> RecoveryDisplay:
        """Draw the weights of a fitted estimator against the true ones.

        Parameters
        ----------
        estimator : fitted ReLUNetRecovery
            The recovered network; its report says which units are identified.
        truth : fitted MLPRegressor or MLPClassifier, Bunch, or pair (coefs, intercepts)
            The network behind the data.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        RecoveryDisplay
            The display, drawn.
        """
        return cls.from_weights(estimator, truth, identified=estimator.report_.identified, ax=ax)

    @classmethod
    def from_weights(
        cls, estimated: Any, truth: Any, *, identified: Sequence[bool] | None = None, ax: Any = None
    ) -> RecoveryDisplay:
        """Draw one network's weights against another's.

        Parameters
        ----------
        estimated, truth : fitted estimator, Bunch, or pair (coefs, intercepts)
            Networks in the format of :class:`sklearn.neural_network.MLPRegressor`.
        identified : sequence of bool or None, default=None
            For each unit of `estimated`, whether the data pin it down, if that is known.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        RecoveryDisplay
            The display, drawn.
        """
        (inputs, outputs), (true_inputs, true_outputs) = _unit_rows(estimated), _unit_rows(truth)
        size = float(np.max(np.abs(true_outputs), initial=0.0)) or 1.0
        recovered = np.hstack([inputs, outputs / size])
        true = np.hstack([true_inputs, true_outputs / size])
        match = match_components(recovered, true, signed=False)
        known = None if identified is None else np.asarray(identified, dtype=bool)
        display = cls(
            recovered[match.permutation],
            true[match.matched],
            None if known is None else known[match.permutation],
            n_missed=len(true) - len(match.matched),
        )
        return display.plot(ax=ax)

    def plot(
        self, ax: Any = None, *, inset: bool = True, **scatter_options: Any
    ) -> RecoveryDisplay:
        """Draw recovered against true weights, with the distribution of errors beside them.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        inset : bool, default=True
            Draw a histogram of the absolute errors, on a logarithmic scale, in a corner.
        **scatter_options
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        RecoveryDisplay
            The display itself, with `ax_` and `figure_` set.
        """
        ax = _axes(ax)
        low = float(min(self.true.min(initial=0.0), self.recovered.min(initial=0.0)))
        high = float(max(self.true.max(initial=0.0), self.recovered.max(initial=0.0)))
        ax.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
        groups: list[tuple[np.ndarray, str, str]]
        if self.identified is None:
            groups = [(np.ones(len(self.true), dtype=bool), UNJUDGED, "")]
        else:
            groups = [
                (self.identified, IDENTIFIED, "identified"),
                (~self.identified, NOT_IDENTIFIED, "not pinned down"),
            ]
        for chosen, color, label in groups:
            if chosen.any():
                options = {"s": 14, "color": color, "alpha": 0.8, **scatter_options}
                count = int(chosen.sum())
                name = f"{count} unit{'s' * (count > 1)} {label}".strip()
                ax.scatter(self.true[chosen], self.recovered[chosen], label=name, **options)
        ax.set(xlabel="true weight", ylabel="recovered weight")
        missed = f"; {self.n_missed} not found" if self.n_missed else ""
        ax.set_title(f"largest error {self.errors.max(initial=0.0):.1e}{missed}")
        if len(self.true):
            ax.legend(loc="upper left")
        if inset and self.true.size:
            self._draw_errors(ax.inset_axes((0.62, 0.1, 0.34, 0.28)), groups)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_errors(self, ax: Any, groups: Sequence[tuple[np.ndarray, str, str]]) -> None:
        errors = np.log10(np.maximum(np.abs(self.recovered - self.true), SMALLEST_ERROR))
        bins = np.arange(np.floor(errors.min()), np.ceil(errors.max()) + 1.5) - 0.5
        for chosen, color, _ in groups:
            ax.hist(errors[chosen].ravel(), bins=bins, color=color, alpha=0.8)
        ax.set_title("log10 of the error", fontsize="small")
        ax.tick_params(labelsize="x-small")
        ax.set_yticks([])


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
        ax = _axes(ax, figsize=(6.4, 1.2 + 0.3 * len(self.units)))
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


class AtomsDisplay:
    """Mosaic of the atoms of a dictionary, drawn as small images.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, height, width)
        Images.
    identified : ndarray of bool, shape (n_atoms,)
        Whether the data pin the atom down; others are framed.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Its figure.
    """

    def __init__(self, atoms: np.ndarray, identified: np.ndarray) -> None:
        self.atoms = atoms
        self.identified = identified

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, int] | None = None,
        max_atoms: int = 144,
        ax: Any = None,
    ) -> AtomsDisplay:
        """Draw the atoms of a fitted estimator.

        Parameters
        ----------
        estimator : fitted TiedAutoencoder
            Its ``components_`` are drawn in their order, its report frames what is not identified.
        image_shape : pair of int or None, default=None
            Height and width of an atom; None: square.
        max_atoms : int, default=144
            Largest number of atoms drawn.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        AtomsDisplay
            The display, drawn.
        """
        atoms = np.asarray(estimator.components_)[:max_atoms]
        side = int(np.sqrt(atoms.shape[1]))
        shape = (side, side) if image_shape is None else image_shape
        if shape[0] * shape[1] != atoms.shape[1]:
            raise ValueError(
                f"atoms have {atoms.shape[1]} entries, which image_shape={shape} does not hold."
            )
        identified = np.asarray(estimator.report_.identified, dtype=bool)[: len(atoms)]
        return cls(atoms.reshape(-1, *shape), identified).plot(ax=ax)

    def plot(self, ax: Any = None, **image_options: Any) -> AtomsDisplay:
        """Draw the mosaic; every atom has its own symmetric grey scale.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        **image_options
            Passed to `Axes.imshow`.

        Returns
        -------
        AtomsDisplay
            This display, drawn.
        """
        ax = _axes(ax, figsize=(6, 6))
        n_atoms, height, width = self.atoms.shape
        columns = max(1, int(np.ceil(np.sqrt(n_atoms))))
        rows = -(-n_atoms // columns)
        mosaic = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
        for index, atom in enumerate(self.atoms):
            top = index // columns * (height + 1) + 1
            left = index % columns * (width + 1) + 1
            size = np.max(np.abs(atom)) or 1.0
            mosaic[top : top + height, left : left + width] = atom / size
            if not self.identified[index]:
                ax.plot(
                    left - 0.75 + np.array([0, width + 0.5, width + 0.5, 0, 0]),
                    top - 0.75 + np.array([0, 0, height + 0.5, height + 0.5, 0]),
                    color=NOT_IDENTIFIED,
                    linewidth=0.8,
                )
        options = {"cmap": "gray", "vmin": -1, "vmax": 1, "interpolation": "nearest"}
        ax.imshow(mosaic, **{**options, **image_options})
        ax.set_axis_off()
        self.ax_, self.figure_ = ax, ax.figure
        return self
