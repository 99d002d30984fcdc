"""Status and reason: the strongest claim that the checks allow, and no stronger one."""

import itertools

import numpy as np
import pytest

from sklearn_nnrecover.dictionaries.verdict import verdict


def given(fits=True, identified=(True, True, True), **changes):
    facts = {"exact": False, "approximate": False, "compared": True, "n_samples": 100, **changes}
    return verdict(fits, np.array(identified), **facts)


def test_each_status_has_its_reason():
    assert given(exact=True)[0] == "exact"
    assert given(approximate=True)[0] == "approximate"
    status, reason = given(identified=(True, False, False))
    assert status == "partial"
    assert "2 of 3 atoms are not determined" in reason
    status, reason = given()
    assert status == "partial"
    assert "Each of the atoms" in reason
    assert "n_components" in given(fits=False, identified=(False, False))[1]
    assert "stability=True" in given(identified=(False, False), compared=False)[1]
    assert "Two halves" in given(identified=(False, False))[1]


@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("compared", [True, False])
def test_nothing_is_claimed_of_atoms_that_are_not_identified(fits, compared):
    for identified in itertools.product([False, True], repeat=3):
        status, reason = given(fits, identified, compared=compared)
        assert (status == "partial") == any(identified)
        assert status in ("partial", "not_recovered")
        assert reason.endswith(".")


def test_few_samples_are_named():
    reason = given(identified=(True, False, False), n_samples=2, atoms="means")[1]
    assert "fewer samples (2) than means (3)" in reason
    assert "fewer samples" not in given(identified=(True, False, False))[1]
