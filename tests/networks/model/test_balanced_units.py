"""Sets of units whose linear functions sum to nearly zero."""

import numpy as np
import pytest

from sklearn_nnrecover.networks.model.balanced_units import balanced_sets


def as_sets(found):
    return {frozenset(rows.tolist()) for rows in found}


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_planted_set_is_found(rng, size):
    functions = rng.standard_normal((12, 6))
    members = rng.permutation(12)[:size]
    functions[members[-1]] = -functions[members[:-1]].sum(axis=0)
    assert as_sets(balanced_sets(functions, 1e-9)) == {frozenset(members.tolist())}


def test_rows_in_general_position_are_not_balanced(rng):
    assert balanced_sets(rng.standard_normal((14, 3)), 1e-9) == []
    assert balanced_sets(np.zeros((0, 3)), 1e-9) == []


def test_shortest_sums_come_first(rng):
    functions = rng.standard_normal((8, 10))
    functions[1], functions[3] = -functions[0], 1e-3 * rng.standard_normal(10) - functions[2]
    found = balanced_sets(functions, 0.1)
    assert found[0].tolist() == [0, 1]
    assert frozenset({2, 3}) in as_sets(found)
    lengths = [
        np.linalg.norm(functions[rows].sum(axis=0)) / np.linalg.norm(functions[rows], axis=1).max()
        for rows in found
    ]
    assert np.all(np.diff(lengths) >= 0)
    assert lengths[-1] <= 0.1


def test_sums_of_integers_match_brute_force(rng):
    functions = rng.randint(-1, 2, (9, 2)).astype(float)
    functions = functions[functions.any(axis=1)]
    k = len(functions)
    brute = set()
    for code in range(2**k):
        rows = [j for j in range(k) if code >> j & 1]
        if len(rows) >= 2 and not functions[rows].sum(axis=0).any():
            brute.add(frozenset(rows))
    assert as_sets(balanced_sets(functions, 1e-9)) == brute


def test_pairs_among_many_rows(rng):
    functions = rng.standard_normal((150, 20))
    functions[149] = -functions[3]
    assert as_sets(balanced_sets(functions, 1e-9)) == {frozenset({3, 149})}
