"""The order of methods follows from density and rank."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.method_order import (
    PEEL_METHODS,
    automatic_order,
    is_low_rank,
    peel_methods,
)
from sklearn_nnrecover.products.peeling import Peel, peel_chain


@pytest.mark.parametrize("convert", [np.asarray, sp.csr_array])
def test_information_sets_come_first_where_the_rank_is_low(convert, seed):
    X, _ = make_sparse_product(200, 120, n_hidden=[30], n_nonzero=3, random_state=seed)
    names, last_resort = automatic_order(convert(X))
    assert names[0] == "information-set"
    assert not last_resort


def test_columns_of_zeros_are_no_columns_beyond_the_rank(rng):
    X = np.zeros((100, 120))
    X[:, :40] = rng.standard_normal((100, 40)) * (rng.uniform(size=(100, 40)) < 0.3)
    names, last_resort = automatic_order(X)
    assert names[0] == "intersection"
    assert last_resort == ("information-set",)


def test_dense_data_have_no_last_resort(rng):
    names, last_resort = automatic_order(rng.standard_normal((30, 20)))
    assert set(names) == {"intersection", "information-set", "ica"}
    assert not last_resort


def test_methods_by_name():
    methods = peel_methods(["ica", "intersection"], 3, 7)
    assert list(methods) == ["ica", "intersection"]
    assert methods["ica"] is PEEL_METHODS["ica"]
    assert methods["intersection"].keywords == {"n_init": 3, "budget": 7}


@pytest.mark.parametrize(("rank", "low"), [(3, True), (15, True), (16, False), (20, False)])
def test_low_rank_is_three_quarters_of_full(rank, low, rng):
    X = rng.standard_normal((40, rank)) @ rng.standard_normal((rank, 20))
    assert is_low_rank(X) == low
    assert is_low_rank(sp.csr_array(X)) == low


def test_the_last_resort_is_asked_only_where_nothing_else_is_found(rng):
    X = np.kron(rng.standard_normal((6, 2)), [[1.0, -1.0, 2.0, 0.0]])
    asked = []

    def method(name, proven):
        def peel(Y, **_):
            asked.append(name)
            if proven is None or Y.shape != X.shape:
                return None
            factor = sp.csr_array(np.kron(np.eye(2), [[1.0, -1.0, 2.0, 0.0]]))
            return Peel(factor, X[:, [0, 4]], np.array([proven, False]), [])

        return peel

    methods = {"first": method("first", False), "last": method("last", True)}
    chain = run_to_end(peel_chain(X, methods, rng=rng, n_factors=2, last_resort=["last"]))
    assert chain.links[0].method == "first"
    assert "last" not in asked
    methods = {"first": method("first", None), "last": method("last", True)}
    chain = run_to_end(peel_chain(X, methods, rng=rng, n_factors=2, last_resort=["last"]))
    assert chain.links[0].method == "last"
    methods = {"first": method("first", True), "last": method("last", True)}
    asked.clear()
    run_to_end(peel_chain(X, methods, rng=rng, n_factors=2))
    # Half of its nodes are proven: nobody else is asked.
    assert "last" not in asked
