"""Axes to draw on, and the colours of what is identified and what is not."""

from __future__ import annotations

from typing import Any

IDENTIFIED, NOT_IDENTIFIED, UNJUDGED = "tab:blue", "tab:orange", "tab:gray"


def axes_or_new(ax: Any, **figure_options: Any) -> Any:
    """Axes to draw on: those given, or the only ones of a new figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Drawing needs matplotlib, which is not installed; "
            "pip install 'sklearn-nnrecover[plots]' installs it."
        ) from error
    return plt.subplots(**figure_options)[1] if ax is None else ax
