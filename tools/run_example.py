"""Run a gallery script without a screen and save its pictures.

``python tools/run_example.py examples/networks/plot_x.py folder``
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt


def main(script: str, folder: str) -> None:
    """Run ``script`` as a program; each figure that it leaves open becomes a PNG in ``folder``."""
    plt.show = lambda *args, **kwargs: None
    runpy.run_path(script, run_name="__main__")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    name = Path(script).stem.removeprefix("plot_")
    for number in plt.get_fignums():
        picture = target / f"{name}_{number}.png"
        plt.figure(number).savefig(picture, dpi=150, bbox_inches="tight")
        print(f"picture: {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
