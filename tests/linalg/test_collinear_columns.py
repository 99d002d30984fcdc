"""Null spaces written as relations among columns."""

import numpy as np

from sklearn_nnrecover.linalg.collinear_columns import (
    Relation,
    column_relations,
    describe_relations,
)
from sklearn_nnrecover.linalg.whitening import whiten


def test_relations_are_those_that_made_the_columns(rng):
    X = rng.standard_normal((50, 7)) * np.geomspace(1e-3, 1e3, 7) + 5
    X[:, 2] = 4.0
    X[:, 5] = X[:, 0] / 1e-3 - X[:, 6] / 1e3
    relations = column_relations(whiten(X).null_basis)
    assert relations[0] == Relation(2, [])
    assert len(relations) == 2
    assert {relations[1].column, *relations[1].others} == {0, 5, 6}


def test_full_rank_has_no_relation(rng):
    assert column_relations(whiten(rng.standard_normal((9, 4))).null_basis) == []


def test_fewer_samples_than_columns(rng):
    relations = column_relations(whiten(rng.standard_normal((4, 9))).null_basis)
    assert len({relation.column for relation in relations}) == len(relations) == 6
    determined = {relation.column for relation in relations}
    assert not any(determined & set(relation.others) for relation in relations)


def test_description_is_short():
    relations = [Relation(j, []) for j in range(5)] + [Relation(7, [5, 6])]
    names = [f"x{j}" for j in range(8)]
    assert (
        describe_relations(relations, names)
        == "x0, x1, x2, and 2 more are constant; x7 follows from x5, x6"
    )
