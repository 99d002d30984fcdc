"""The benchmark runner: what it selects, measures, survives and writes."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from benchmarks import registry, run
from benchmarks.registry import case


@pytest.fixture
def cases(monkeypatch):
    """Three small cases in place of the registered ones."""
    monkeypatch.setattr(registry, "CASES", {})
    monkeypatch.setattr(run, "CASES", registry.CASES)
    monkeypatch.setattr(run, "load_cases", lambda: None)

    @case(group="networks", figure="even seeds", goal=0.5)
    def even(seed):
        return {"success": seed % 2 == 0, "error": np.float64(seed)}

    @case(group="networks", figure="never raises")
    def raises_on_one(seed):
        if seed == 1:
            raise ArithmeticError("no luck")
        return {"success": True}

    @case(group="products", figure="needs a peer", requires=("a_module_that_is_absent",))
    def with_peer(seed):
        raise AssertionError("must be skipped")

    return registry.CASES


def test_measured_numbers_are_written(cases, tmp_path, capsys):
    out = tmp_path / "results.json"
    status = run.main(["--seeds", "0-3", "--out", str(out)])
    assert status == 1  # raises_on_one missed its goal
    written = json.loads(out.read_text())
    even = written["cases"]["even"]
    assert even["success_rate"] == 0.5
    assert even["reached"]
    assert even["median"]["error"] == 1.5
    assert [result["seed"] for result in even["seeds"]] == [0, 1, 2, 3]
    failing = written["cases"]["raises_on_one"]
    assert failing["success_rate"] == 0.75
    assert failing["seeds"][1]["raised"] == "ArithmeticError: no luck"
    assert not failing["reached"]
    assert "a_module_that_is_absent" in written["skipped"]["with_peer"]
    assert written["environment"]["versions"]["numpy"] == np.__version__
    assert "seed 1 raised ArithmeticError" in capsys.readouterr().out


def test_selection(cases):
    assert run.main(["--only", "even", "--seeds", "0,2"]) == 0
    assert [c.name for c in run.select_cases("networks", [])] == ["even", "raises_on_one"]
    with pytest.raises(SystemExit, match="no group 'dictionary'"):
        run.main(["--group", "dictionary"])
    with pytest.raises(SystemExit, match="no case 'odd'"):
        run.main(["--only", "odd"])


def test_names_are_unique(cases):
    with pytest.raises(ValueError, match="two benchmark cases are named 'even'"):

        @case(group="products", figure="again")
        def even(seed):
            return {"success": True}


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-3", [0, 1, 2, 3]), ("7", [7]), ("0,4,8-9", [0, 4, 8, 9])]
)
def test_seeds(text, seeds):
    assert run.parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "3-1", "a", "0-"])
def test_bad_seeds(text):
    with pytest.raises(argparse.ArgumentTypeError, match="list of seeds"):
        run.parse_seeds(text)


def test_registered_cases_are_sound():
    run.load_cases()
    for registered in registry.CASES.values():
        # A goal of 0 measures without promising anything.
        assert 0 <= registered.goal <= 1
        assert registered.group in {"networks", "dictionaries", "products"}
        assert registered.figure
