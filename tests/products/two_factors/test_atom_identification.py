import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.products.two_factors.atom_identification import (
    atom_evidence,
    exchange_margin,
    in_a_dependent_triple,
    paths,
)


def test_paths_are_the_terms_of_the_product(rng):
    C = sp.csr_array(rng.standard_normal((7, 4)) * (rng.rand(7, 4) < 0.5))
    D = sp.csr_array(rng.standard_normal((4, 9)) * (rng.rand(4, 9) < 0.5))
    route = paths(C, D)
    product = np.zeros((7, 9))
    np.add.at(
        product, (route.row, route.column), C.data[route.code_entry] * D.data[route.atom_entry]
    )
    np.testing.assert_allclose(product, (C @ D).toarray())


@pytest.mark.parametrize("values", ["signs", "real"])
def test_planted_atoms_are_identified(values, seed):
    X, truth = make_sparse_product(
        300, 150, n_hidden=[40], n_nonzero=5, values=values, sparse_output=True, random_state=seed
    )
    evidence = atom_evidence(X, *truth.factors_)
    assert evidence.identified.mean() > 0.9
    np.testing.assert_array_equal(
        evidence.uses, np.bincount(truth.factors_[0].indices, minlength=40)
    )


def test_an_atom_that_one_row_uses_is_never_identified(seed):
    _, truth = make_sparse_product(300, 150, n_hidden=[40], n_nonzero=5, random_state=seed)
    C, D = truth.factors_[0].toarray(), truth.factors_[1]
    C[1:, 0], C[0, 0] = 0.0, 1.0
    C = sp.csr_array(C)
    assert not atom_evidence(sp.csr_array(C @ D), C, D).identified[0]


def test_patterns_of_unstructured_data_are_accidents(rng):
    Y = sp.csr_array(rng.choice([-1.0, 0, 1], p=[0.1, 0.8, 0.1], size=(80, 60)))
    first, second = Y[[0, 1]].toarray()
    shared = sp.csr_array(np.where(first == second, first, 0.0)[None])
    C = np.zeros((80, 81))
    C[:2, 0] = 1.0
    C[:, 1:] = np.eye(80)
    D = sp.vstack([shared, Y - sp.csr_array(C[:, :1]) @ shared], format="csr")
    assert not atom_evidence(Y, sp.csr_array(C), sp.csr_array(D)).identified.any()


def test_a_sum_of_two_atoms_is_not_an_atom(rng):
    D = np.zeros((5, 30))
    for g in range(4):
        D[g, 6 * g : 6 * g + 4] = rng.choice([-1.0, 1], 4)
    D[4] = D[0] - 2 * D[1]
    np.testing.assert_array_equal(
        in_a_dependent_triple(sp.csr_array(D)), [True, True, False, False, True]
    )
    assert not in_a_dependent_triple(sp.csr_array(D[:4])).any()


def test_an_atom_that_always_accompanies_another_can_be_merged(rng):
    C = np.zeros((20, 3))
    C[:12, 0] = rng.choice([-1.0, 1], size=12)
    C[:, 1] = 2 * C[:, 0]
    # The third goes along with the first in four rows, with either sign.
    C[8:, 2] = C[8:, 0] * np.tile([1, -1], 6) + (C[8:, 0] == 0)
    D = np.kron(np.eye(3), np.ones((1, 4)))
    margin = exchange_margin(sp.csr_array(C), sp.csr_array(D))
    assert margin[0] < 0
    assert margin[1] < 0
    assert margin[2] > 0
