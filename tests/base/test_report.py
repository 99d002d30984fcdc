"""The report: plain data, readable text and HTML, no claim without a proof."""

import json
import pickle

import numpy as np
import pytest

from sklearn_nnrecover.base import RecoveryReport


@pytest.fixture
def report():
    return RecoveryReport(
        "partial",
        "Unit 1 <never> inactive.",
        conditions=[
            ("rank", np.int64(3), 4, np.bool_(False), "full rank"),
            ("gap", np.inf, 1e3, True, ""),
        ],
        units=[
            {"unit": 0, "identified": True},
            {"unit": 1, "identified": False, "rows": np.arange(8)},
        ],
    )


def test_round_trips_through_json_and_pickle(report):
    assert RecoveryReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert pickle.loads(pickle.dumps(report)) == report


def test_holds_plain_python_data(report):
    condition = report["rank"]
    assert type(condition.value) is int and type(condition.passed) is bool
    assert report.units[1]["rows"] == list(range(8))


def test_nan_is_equal_to_itself_and_other_values_are_not():
    reports = [
        RecoveryReport("not_recovered", "x", conditions=[("a", value, None, False, "")])
        for value in (float("nan"), float("nan"), 1.0)
    ]
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]
    assert reports[0] != "not_recovered"


def test_text_and_html_show_status_reason_and_tables(report):
    text, page = str(report), report._repr_html_()
    assert text.startswith("partial: Unit 1 <never> inactive.")
    assert "FAILED" in text and "full rank" in text and "0, 1, 2, 3, 4, 5, ..." in text
    assert "&lt;never&gt;" in page and page.count("<table>") == 2
    assert "partial" in repr(report)


def test_identified_follows_the_units(report):
    assert report.identified == [True, False]


def test_unknown_condition_is_a_key_error(report):
    with pytest.raises(KeyError, match="nullity"):
        report["nullity"]


@pytest.mark.parametrize(
    ("status", "proof"),
    [("exact", None), ("partial", "local"), ("exact", "hope"), ("perfect", None)],
)
def test_no_exact_status_without_a_proof(status, proof):
    with pytest.raises(ValueError, match="status"):
        RecoveryReport(status, "because", proof)
