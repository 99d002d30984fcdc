"""
Which solver when
=================

Each solver of :class:`~sklearn_nnrecover.ReLUNetRecovery` has data it is for. This example plots
how often each finds a noiseless ReLU network, against the number of samples, and in which time. The
figures were measured beforehand (``python -m benchmarks.solver_grid``, some minutes) and are stored
beside this script; one cell is measured again here.
"""

# %%
# How often
# ---------
#
# A panel is a shape: inputs, units, outputs. The horizontal axis counts equations (samples times
# outputs) over free parameters: below 1 nothing can be recovered. The solver is told the width, and
# succeeds when all weights are within 1e-6 of the truth. Where several solvers share a plateau, the
# other networks have a unit that so few samples do not determine: no solver can find it.

import json
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.metrics import recovery_error

here = Path(__file__).parent if "__file__" in globals() else Path.cwd()
cells = json.loads((here / "which_solver.json").read_text())["cells"]
solvers = sorted({cell["solver"] for cell in cells})
shapes = list(dict.fromkeys((*cell["shape"], cell["orthogonal"]) for cell in cells))
colors = dict(zip(solvers, plt.get_cmap("tab10").colors, strict=False))


def of(solver, shape):
    """Cells of a solver and a shape, by number of samples."""
    chosen = [
        cell
        for cell in cells
        if cell["solver"] == solver and (*cell["shape"], cell["orthogonal"]) == shape
    ]
    return sorted(chosen, key=lambda cell: cell["ratio"])


def title(shape):
    """Shape in words."""
    d, k, m, orthogonal = shape
    outputs = f"{m} output{'s' if m > 1 else ''}"
    return f"{d} inputs, {k} units, {outputs}" + (", orthogonal" if orthogonal else "")


figure, axes = plt.subplots(2, 3, figsize=(12, 6.5), layout="constrained", sharey=True)
for ax, shape in zip(axes.ravel(), shapes, strict=False):
    for place, solver in enumerate(solvers):
        line = of(solver, shape)
        ratios = [cell["ratio"] * 1.02 ** (place - 3) for cell in line]
        rates = [cell["success"] for cell in line]
        ax.semilogx(ratios, rates, "o-", color=colors[solver], label=solver, markersize=4)
    ax.set(title=title(shape), xlabel="equations / parameters", ylim=(-0.05, 1.05))
    ticks = sorted({cell["ratio"] for cell in cells})
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
for ax in axes[:, 0]:
    ax.set_ylabel("share of networks found")
for ax in axes.ravel()[len(shapes) :]:
    ax.axis("off")
figure.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="lower right", bbox_to_anchor=(0.97, 0.1)
)

# %%
# In which time
# -------------
#
# Median CPU seconds where the solver succeeds at least half of the time, at the largest number of
# samples; a dash where it does not.

print(f"{'':44s}" + "".join(f"{solver:>11s}" for solver in solvers))
for shape in shapes:
    row = ""
    for solver in solvers:
        line = of(solver, shape)
        good = bool(line) and line[-1]["success"] >= 0.5
        row += f"{line[-1]['seconds']:11.3f}" if good else f"{'-':>11s}"
    print(f"{title(shape):44s}{row}")

# %%
# The rule
# --------
#
# * As many outputs as units: ``"lifted"`` where samples suffice for its null space, because it
#   proves what it finds; ``"pencil"`` below that.
# * A handful of samples: ``"enumerate"`` tries every activation pattern, as far as its budget goes.
# * Fewer outputs: ``"reduce"``, and ``"varpro"``, which also serves noise and other activations.
# * ``"moments"`` and ``"ica"`` rest on Gaussian inputs. Alone they would need many more samples;
#   with the patterns and descents that follow they are as frugal as the others, and moments are the
#   fastest way to begin a search under noise.
# * ``"one-sparse"`` waits for samples on which a single unit is active.
#
# ``solver="auto"`` follows this rule. One cell, measured here:

d, k, m = 10, 5, 5
X, y, truth = make_relu_network(300, d, n_hidden=k, n_outputs=m, random_state=3)
for solver in ("auto", "pencil", "varpro", "moments"):
    start = time.perf_counter()
    net = ReLUNetRecovery(solver=solver, random_state=0).fit(X, y)
    seconds = time.perf_counter() - start
    print(
        f"{solver:8s} {net.solver_:8s} {net.report_.status}, proof {net.report_.proof!s:7s} "
        f"error {recovery_error(net, truth):.0e}, {seconds:.2f} s"
    )

# %%
# The fewest samples
# ------------------
#
# Equations over parameters at which each solver first finds at least 5 of 6 networks.

table = np.full((len(solvers), len(shapes)), np.nan)
for row, solver in enumerate(solvers):
    for column, shape in enumerate(shapes):
        enough = [cell["ratio"] for cell in of(solver, shape) if cell["success"] >= 0.8]
        table[row, column] = min(enough, default=np.nan)
figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
image = ax.imshow(np.log(table), cmap="viridis_r", aspect="auto")
for (row, column), ratio in np.ndenumerate(table):
    label, color = ("never", "black") if np.isnan(ratio) else (f"{ratio:g}", "white")
    color = "black" if ratio < 4 else color
    ax.text(column, row, label, ha="center", va="center", color=color)
ax.set_xticks(range(len(shapes)), [title(shape).replace(", ", "\n") for shape in shapes])
ax.set_yticks(range(len(solvers)), solvers)
ax.set_title("equations per parameter that suffice")
plt.show()
