"""Run registered cases over seeds and write what was measured as JSON."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import pkgutil
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

import benchmarks
from benchmarks.registry import CASES, Case

PACKAGES = ("sklearn-nnrecover", "scikit-learn", "numpy", "scipy", "joblib")


def load_cases() -> None:
    """Import every module of this package, so that each registers its cases."""
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name not in {"__main__", "registry", "run"}:
            importlib.import_module(f"benchmarks.{module.name}")


def select_cases(group: str | None, only: Sequence[str]) -> list[Case]:
    """Registered cases of one group (or all), restricted to the names in ``only`` if any."""
    groups = sorted({case.group for case in CASES.values()})
    if group is not None and group not in groups:
        raise SystemExit(f"no group {group!r}; there are: {', '.join(groups) or 'none'}")
    unknown = [name for name in only if name not in CASES]
    if unknown:
        raise SystemExit(f"no case {unknown[0]!r}; there are: {', '.join(CASES) or 'none'}")
    return [
        case
        for case in CASES.values()
        if group in (None, case.group) and (not only or case.name in only)
    ]


def parse_seeds(text: str) -> list[int]:
    """Seeds from ``"0-9"``, ``"3"`` or ``"0,4,7-9"``, both ends included."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            chosen = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            chosen = range(0)
        if not chosen:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of seeds such as 0-9 or 0,4")
        seeds.extend(chosen)
    return seeds


def missing_peers(case: Case) -> str:
    """Why a case cannot run here, or an empty string."""
    missing = [name for name in case.requires if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else ""


def measure(case: Case, seed: int) -> dict[str, Any]:
    """One run of one case: its numbers, CPU seconds and, if it raised, the error."""
    start = time.process_time()
    try:
        outcome = dict(case.run(seed))
    except Exception as error:  # a failed seed is a result, the others must still run
        outcome = {
            "success": False,
            "raised": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }
    outcome["success"] = bool(outcome["success"])
    return {"seed": seed, **outcome, "cpu_seconds": time.process_time() - start}


def summarize(case: Case, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Success rate against the goal, and the median of every number that the seeds measured."""
    rate = float(np.mean([result["success"] for result in results]))
    numbers: dict[str, list[float]] = {}
    for result in results:
        for key, value in result.items():
            if key not in {"seed", "success"} and isinstance(value, int | float | np.number):
                numbers.setdefault(key, []).append(float(value))
    return {
        "group": case.group,
        "figure": case.figure,
        "goal": case.goal,
        "success_rate": rate,
        "reached": rate >= case.goal,
        "median": {key: statistics.median(values) for key, values in numbers.items()},
        "seeds": list(results),
    }


def environment() -> dict[str, Any]:
    """Versions, processor and threads behind the figures."""
    versions = {}
    for package in (*PACKAGES, *sorted({name for c in CASES.values() for name in c.requires})):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "versions": versions,
        "threads": [
            {key: pool.get(key) for key in ("internal_api", "version", "num_threads")}
            for pool in threadpool_info()
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a benchmark returned {type(value).__name__}, which JSON cannot hold")


def _print_case(name: str, summary: dict[str, Any]) -> None:
    runs = summary["seeds"]
    mark = "reached" if summary["reached"] else "MISSED"
    median = "  ".join(f"{key}={value:.3g}" for key, value in summary["median"].items())
    print(
        f"{mark:8}{name}: {sum(r['success'] for r in runs)}/{len(runs)}  [{summary['figure']}]"
        f"\n        median {median}",
        flush=True,
    )
    for run in runs:
        if "raised" in run:
            print(f"        seed {run['seed']} raised {run['raised']}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen cases; the exit status is 1 if a claim was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--group", help="one wing: networks, dictionaries or products")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="one case")
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("0-9"), metavar="0-9")
    parser.add_argument("--threads", type=int, default=1, help="threads of BLAS and OpenMP")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything here, as JSON")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    options = parser.parse_args(arguments)

    load_cases()
    cases = select_cases(options.group, options.only)
    if options.list:
        for case in cases:
            print(f"{case.group}: {case.name}  [{case.figure}]")
        return 0

    measured: dict[str, Any] = {}
    skipped = {case.name: absent for case in cases if (absent := missing_peers(case))}
    for name, absent in skipped.items():
        print(f"skipped {name}: {absent}", flush=True)
    with threadpool_limits(limits=options.threads):
        for case in cases:
            if case.name in skipped:
                continue
            summary = summarize(case, [measure(case, seed) for seed in options.seeds])
            measured[case.name] = summary
            _print_case(case.name, summary)
            if options.out is not None:  # after each case: a long run may be interrupted
                result = {"environment": environment(), "cases": measured, "skipped": skipped}
                options.out.write_text(json.dumps(result, indent=1, default=_plain) + "\n")
    print(f"{sum(s['reached'] for s in measured.values())} of {len(measured)} claims reached")
    return 0 if all(summary["reached"] for summary in measured.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
