import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.products.two_factors.untouched_cells import (
    Misfit,
    agreement_probability,
    beyond_leftovers,
)


def atoms(rng, *, n_rows=60, n_columns=80, n_atoms=6, weight=5):
    """Every atom used by ten rows and on columns of its own."""
    C = np.zeros((n_rows, n_atoms))
    D = np.zeros((n_atoms, n_columns))
    columns = rng.permutation(n_columns)
    for g in range(n_atoms):
        C[10 * g : 10 * (g + 1), g] = rng.choice([-1.0, 1], 10)
        D[g, columns[weight * g : weight * (g + 1)]] = rng.choice([-1.0, 1], weight)
    return C, D


def judge(C, D, proven, **options):
    return beyond_leftovers(sp.csr_array(C), sp.csr_array(D), np.array(proven), same=0.5, **options)


def test_claims_stand_where_nothing_is_left_over(rng):
    assert judge(*atoms(rng), np.ones(6, dtype=bool)).all()


def test_an_entry_hidden_among_leftovers_is_noticed(rng):
    # The last entry of atom 0 went into leftover atoms, one for each of its users.
    C, D = atoms(rng)
    column = np.flatnonzero(D[0])[-1]
    users = np.flatnonzero(C[:, 0])
    leftovers = np.zeros((60, 10))
    leftovers[users, np.arange(10)] = C[users, 0] * D[0, column]
    D[0, column] = 0.0
    rest = np.zeros((10, 80))
    rest[:, column] = 1.0
    claims = np.arange(16) < 6
    kept = judge(np.hstack([C, leftovers]), np.vstack([D, rest]), claims)
    assert not kept[0]
    assert kept[1:6].all()
    assert not kept[6:].any()


def test_the_common_part_of_two_atoms_is_noticed(rng):
    # Half of the users of atom 0 have another entry, coded apart.
    C, D = atoms(rng)
    users = np.flatnonzero(C[:, 0])[:5]
    column = np.flatnonzero(~D.any(axis=0))[0]
    extra, single = np.zeros((60, 1)), np.zeros((1, 80))
    extra[users, 0], single[0, column] = C[users, 0], 1.0
    kept = judge(np.hstack([C, extra]), np.vstack([D, single]), np.arange(7) < 6)
    assert not kept[0]
    assert kept[1:6].all()


def test_claims_fall_together(rng):
    # Atom 1 covers every cell of atom 0's users: it matters whether it is claimed.
    C, D = np.zeros((40, 2)), np.zeros((2, 30))
    C[:5] = 1.0
    C[5:15, 1] = 1.0
    D[0, :4] = 1.0
    D[1, :] = 1.0
    np.testing.assert_array_equal(judge(C, D, [True, False]), [False, False])
    np.testing.assert_array_equal(judge(C, D, [True, True]), [True, True])


def test_columns_that_the_network_could_have_missed(rng):
    # A column that nine of ten users share is no accident, whoever explains it.
    C, D = atoms(rng)
    X = C @ D
    users = np.flatnonzero(C[:, 0])[:9]
    column = np.flatnonzero(~D.any(axis=0))[0]
    X[users, column] = C[users, 0]
    missed = sp.csr_array(X - C @ D)
    kept = judge(C, D, np.ones(6, dtype=bool), misfit=Misfit(sp.csr_array(X), missed))
    assert not kept[0]


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, -1.0, 1.0], 0.5), ([1.0, -2.0], 0.25), ([1.0, 2, 3, 4], 0.125)]
)
def test_probability_that_two_entries_agree(values, expected):
    assert agreement_probability(np.array(values)) == pytest.approx(expected)
