"""Which solver when: success rate of each solver over shapes and numbers of samples.

``python -m benchmarks.solver_grid --out examples/networks/which_solver.json`` measures the grid
that the example of that name plots. A success is a network within 1e-6 of the truth, found by the
solver itself, from noiseless samples of a network with biases whose width it is told.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import recovery_error
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.solvers import SOLVERS, Options, Recovery

# (inputs, units, outputs, whether the units are orthogonal)
SHAPES = (
    (5, 3, 3, False),
    (10, 5, 5, False),
    (10, 5, 5, True),
    (10, 5, 2, False),
    (5, 4, 1, False),
)
# Equations over free parameters.
RATIOS = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
TOLERANCE = 1e-6


def n_samples(d: int, k: int, m: int, ratio: float) -> int:
    """Samples whose equations are so many times the free parameters."""
    return int(np.ceil(ratio * (k * (d + m) + m) / m))


def attempt(
    solver: str, d: int, k: int, m: int, orthogonal: bool, ratio: float, seed: int
) -> tuple[bool, float]:
    """Whether a solver finds the network of one seed, and the CPU seconds it takes."""
    n = n_samples(d, k, m, ratio)
    X, y, truth = make_relu_network(n, d, n_hidden=k, n_outputs=m, random_state=seed)
    (W, A), (b, c) = truth.coefs_, truth.intercepts_
    if orthogonal:
        W = np.linalg.qr(W)[0]
        y = np.maximum(X @ W + b, 0.0) @ A + c
    start = time.process_time()
    samples, design = orthonormal_design(X, y.reshape(n, -1), np.ones(n), intercept=True)
    steps = SOLVERS[solver](samples, k, Options(), np.random.RandomState(seed))
    result = run_to_end(steps)
    seconds = time.process_time() - start
    if not isinstance(result, Recovery):
        return False, seconds
    W2, b2, A2, c2 = design.weights(result.network)
    return recovery_error(([W2, A2], [b2, c2]), ([W, A], [b, c])) <= TOLERANCE, seconds


def measure(solvers: list[str], n_seeds: int, max_seconds: float) -> dict[str, Any]:
    """Success rates and median seconds, one entry a solver, shape and ratio.

    A cell whose first data set takes longer than ``max_seconds`` is measured on that one alone.
    """
    cells = []
    for d, k, m, orthogonal in SHAPES:
        for solver in solvers:
            for ratio in RATIOS:
                outcomes: list[tuple[bool, float]] = []
                for seed in range(n_seeds):
                    outcomes.append(attempt(solver, d, k, m, orthogonal, ratio, seed))
                    if outcomes[0][1] > max_seconds:
                        break
                cell = {
                    "solver": solver,
                    "shape": [d, k, m],
                    "orthogonal": orthogonal,
                    "ratio": ratio,
                    "n_samples": n_samples(d, k, m, ratio),
                    "n_seeds": len(outcomes),
                    "success": float(np.mean([found for found, _ in outcomes])),
                    "seconds": round(float(np.median([seconds for _, seconds in outcomes])), 4),
                }
                print(cell, flush=True)
                cells.append(cell)
    return {"tolerance": TOLERANCE, "cells": cells}


def main() -> None:
    """Measure the grid and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--max-seconds", type=float, default=20.0)
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS))
    options = parser.parse_args()
    grid = measure(options.solvers, options.seeds, options.max_seconds)
    options.out.write_text(json.dumps(grid, indent=1) + "\n")


if __name__ == "__main__":
    main()
