from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_agreement import distinct_rows
from sklearn_nnrecover.products.two_factors.atom_identification import (
    atom_evidence,
    exchange_margin,
)
from sklearn_nnrecover.products.two_factors.description_length import TwoFactors, two_sparse_factors
from sklearn_nnrecover.products.two_factors.sparse_two_factors import (
    finest_factors,
    intersection_factor,
)
from sklearn_nnrecover.products.two_factors.untouched_cells import (
    agreement_probability,
    beyond_leftovers,
)


def share_of_rows_found(rows, found, rng):
    """Share of the rows that equal a row of `found` up to sign and scale."""
    both, _ = row_gauge(sp.vstack([found, rows], format="csr"))
    groups = distinct_rows(both, rng)
    known = set(groups.label[: found.shape[0]])
    return np.mean([label in known for label in groups.label[found.shape[0] :]])


@pytest.mark.parametrize("values", ["signs", "real"])
def test_every_atom_of_a_comfortable_product(seed, rng, values):
    X, truth = make_sparse_product(
        600, 300, n_hidden=[150], n_nonzero=5, values=values, sparse_output=True, random_state=seed
    )
    found = run_to_end(two_sparse_factors(X, rng=rng))
    np.testing.assert_allclose((found.C @ found.D - X).toarray(), 0, atol=1e-12)
    assert share_of_rows_found(truth.factors_[1], found.D, rng) > 0.99
    assert found.C.nnz + found.D.nnz <= 1.01 * sum(F.nnz for F in truth.factors_)


def test_the_product_is_exact_whatever_is_found(rng):
    # No structure at all: nothing is claimed, and nothing is lost.
    X = sp.csr_array(rng.choice([-1.0, 0, 1], p=[0.05, 0.9, 0.05], size=(80, 60)))
    found = run_to_end(two_sparse_factors(X, rng=rng))
    assert abs(found.C @ found.D - X).sum() == 0
    assert run_to_end(intersection_factor(X, rng=rng)) is None


def test_description_falls_from_sweep_to_sweep(seed, rng):
    X, _ = make_sparse_product(
        200, 150, n_hidden=[80], n_nonzero=4, sparse_output=True, random_state=seed
    )
    costs = [step.objective for step in two_sparse_factors(X, rng=rng)]
    assert all(b <= a for a, b in itertools.pairwise(costs))
    assert costs[-1] < 0.7 * X.nnz


def test_an_entry_that_two_atoms_share_is_no_atom_of_its_own(rng):
    # One row uses both atoms, with opposite signs: column by column the entry belongs to both,
    # row by row it looks like a node of its own that two other rows use.
    D = np.zeros((8, 40))
    D[np.arange(8)[:, None], np.arange(32).reshape(8, 4)] = 1.0
    D[:2, 39] = 1.0
    C = np.array([[1.0, -1], [1, 0], [0, 1]])
    C = np.hstack([C, rng.choice([-1.0, 1], size=(3, 6)) * np.eye(3, 6)])
    C = np.vstack([C, np.hstack([np.zeros((12, 2)), rng.choice([-1.0, 1], size=(12, 6))])])
    Y = sp.csr_array(C @ D)
    found = run_to_end(two_sparse_factors(Y, rng=rng))
    assert share_of_rows_found(sp.csr_array(D[:2]), found.D, rng) == 1
    assert found.length <= np.count_nonzero(C) + np.count_nonzero(D)


@pytest.mark.parametrize("n_nonzero", [4, 5])
def test_square_products_are_complete_where_they_are_shortest(seed, rng, n_nonzero):
    X, truth = make_sparse_product(
        300, 300, n_hidden=[300], n_nonzero=n_nonzero, sparse_output=True, random_state=seed
    )
    found = run_to_end(two_sparse_factors(X, rng=rng))
    codes, atoms = truth.factors_
    uses = np.bincount(codes.indices, minlength=300)
    assert share_of_rows_found(atoms[uses >= 2], found.D, rng) > 0.95
    planted = TwoFactors(codes, atoms, 0)
    shortest = run_to_end(two_sparse_factors(X, rng=rng, start=planted))
    assert shortest.length <= codes.nnz + atoms.nnz
    assert found.length <= 1.004 * shortest.length


def test_three_factors_are_not_merged_in_pairs(seed, rng):
    X, truth = make_sparse_product(
        800, 500, n_hidden=[500, 400], n_nonzero=3, sparse_output=True, random_state=seed
    )
    merged = run_to_end(two_sparse_factors(X, rng=rng))
    finest = run_to_end(finest_factors(X, rng=rng, max_sweeps=40))
    assert abs(finest.C @ finest.D - X).max() < 1e-9
    last = truth.factors_[-1]
    assert share_of_rows_found(last, finest.D, rng) > 0.8
    assert share_of_rows_found(last, finest.D, rng) >= share_of_rows_found(last, merged.D, rng)


@pytest.mark.parametrize("size", [(500, 250, 120, 5), (300, 300, 300, 5)])
def test_identified_atoms_are_true(seed, rng, size):
    n_samples, n_features, k, d = size
    X, truth = make_sparse_product(
        n_samples, n_features, n_hidden=[k], n_nonzero=d, sparse_output=True, random_state=seed
    )
    found = run_to_end(two_sparse_factors(X, rng=rng))
    evidence = atom_evidence(X, found.C, found.D)
    same = agreement_probability(X.data)
    proven = beyond_leftovers(found.C, found.D, evidence.identified, same=same)
    assert proven.mean() > 0.5
    claimed = found.D[np.flatnonzero(proven)]
    assert share_of_rows_found(claimed, truth.factors_[1], rng) == 1


def test_exchange_margin_is_the_cheapest_elementary_exchange(rng):
    C = sp.csr_array(rng.choice([0.0, 1, -1], p=[0.7, 0.15, 0.15], size=(12, 5)))
    D = sp.csr_array(rng.choice([0.0, 1, -1], p=[0.5, 0.25, 0.25], size=(5, 10)))
    margin = exchange_margin(C, D)
    dense_C, dense_D = C.toarray(), D.toarray()
    expected = np.diff(D.indptr) + np.count_nonzero(dense_C, axis=0)
    for a in range(5):
        for b in range(5):
            for q in (-1.0, 1.0):
                if a == b:
                    continue
                atoms, codes = dense_D.copy(), dense_C.copy()
                atoms[a] += q * atoms[b]
                codes[:, b] -= q * codes[:, a]
                added = np.count_nonzero(atoms) + np.count_nonzero(codes) - C.nnz - D.nnz
                expected[[a, b]] = np.minimum(expected[[a, b]], added)
    # The margin looks at the most frequent ratio of each pair: never below, seldom above.
    assert np.all(margin >= expected)
    assert np.mean(margin == expected) >= 0.4


def test_an_atom_that_always_accompanies_another_is_not_identified(rng):
    C = (rng.rand(60, 8) < 0.3).astype(float)
    C[:, 1] = C[:, 0]
    D = rng.choice([-1.0, 0, 1], p=[0.1, 0.8, 0.1], size=(8, 60))
    evidence = atom_evidence(sp.csr_array(C @ D), sp.csr_array(C), sp.csr_array(D))
    assert not evidence.identified[:2].any()
