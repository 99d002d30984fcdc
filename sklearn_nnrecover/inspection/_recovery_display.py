"""True against recovered weights of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_nnrecover.inspection._axes import IDENTIFIED, NOT_IDENTIFIED, UNJUDGED, axes_or_new
from sklearn_nnrecover.metrics import match_components

# Errors below this are drawn at it: zero has no logarithm.
SMALLEST_ERROR = 1e-18


def unit_rows(network: Any) -> tuple[np.ndarray, np.ndarray]:
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
        (inputs, outputs), (true_inputs, true_outputs) = unit_rows(estimated), unit_rows(truth)
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
        ax = axes_or_new(ax)
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
