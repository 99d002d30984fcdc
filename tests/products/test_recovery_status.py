"""From what was measured to a status: nothing is exact unless every node is proven."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.products.peeling import Chain, Evidence, Link
from sklearn_nnrecover.products.recovery_status import (
    chain_status,
    product_error,
    unit_table,
)

TRUE, HALF = np.ones(4, dtype=bool), np.array([True, False, True, False])


def chain(*links):
    return Chain([sp.csr_array(np.eye(4))] * (len(links) + 1), list(links), [])


def link(proven, method="intersection", proof="local"):
    return Link(proven, method, "features", proof)


def fit(passed):
    return Evidence("lack of fit", 0.5 if passed else 1e-6, 1e-3, passed, "a test")


def test_no_link_is_not_recovered():
    assert chain_status(chain(), 0.0, 0.0, None).status == "not_recovered"


@pytest.mark.parametrize(
    ("proofs", "expected"),
    [(("global",), "global"), (("global", "local"), "local"), (("local", "local"), "local")],
)
def test_exact_is_as_global_as_its_weakest_link(proofs, expected):
    status = chain_status(chain(*(link(TRUE, proof=p) for p in proofs)), 0.0, 0.0, None)
    assert (status.status, status.proof) == ("exact", expected)


@pytest.mark.parametrize("links", [(HALF,), (TRUE, HALF), (HALF, TRUE)])
def test_one_open_node_makes_it_partial(links):
    status = chain_status(chain(*map(link, links)), 0.0, 0.0, None)
    assert (status.status, status.proof) == ("partial", None)
    assert "not determined" in status.reason


def test_an_inexact_product_is_never_exact():
    status = chain_status(chain(link(TRUE)), 1e-3, 1e-8, None)
    assert status.status == "partial"
    assert "1.0e-03" in status.reason


@pytest.mark.parametrize(
    ("proven", "passed", "expected"),
    [(TRUE, True, "approximate"), (TRUE, False, "partial"), (HALF, True, "partial")],
)
def test_under_noise_approximate_at_best(proven, passed, expected):
    status = chain_status(chain(link(proven)), 0.1, 0.0, fit(passed))
    assert (status.status, status.proof) == (expected, None)


def test_a_fast_transform_is_partial_and_says_why():
    none = np.zeros(4, dtype=bool)
    status = chain_status(chain(link(none, "butterfly"), link(none, "butterfly")), 0.0, 0.0, None)
    assert status.status == "partial"
    assert "exchanged" in status.reason


def test_product_error_is_relative_to_the_largest_entry(rng):
    A, B = rng.standard_normal((6, 3)), rng.standard_normal((3, 5))
    X = 2.0 * A @ B
    X[0, 0] += 1e-3
    error = product_error(X, 2.0, [sp.csr_array(A), sp.csr_array(B)])
    assert error == pytest.approx(1e-3 / np.abs(X).max(), rel=1e-6)


def test_units_count_uses_and_non_zeros():
    first = sp.csr_array(np.array([[1.0, 0], [2, 0], [0, 3]]))
    second = sp.csr_array(np.array([[1.0, 1, 0], [0, 0, 5]]))
    claim = np.array([True, False])
    table = unit_table([Link(claim, "ica", "samples", "local")], [first, second])
    assert [unit["uses"] for unit in table] == [2, 1]
    assert [unit["non-zeros"] for unit in table] == [2, 1]
    assert [unit["identified"] for unit in table] == [True, False]
    assert {unit["end"] for unit in table} == {"samples"}
    assert {unit["layer"] for unit in table} == {1}
