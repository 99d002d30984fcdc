"""Lattice reduction keeps the lattice, and finds planted subsets."""

import numpy as np
import pytest

from sklearn_nnrecover.linalg.lattice_reduction import reduce_lattice_basis, subset_sum


def test_reduction_keeps_the_lattice_and_shortens_its_basis(rng):
    basis = np.hstack([np.eye(12), np.rint(1e6 * rng.standard_normal((12, 2)))])
    reduced = reduce_lattice_basis(basis)
    coordinates = np.linalg.lstsq(basis.T, reduced.T, rcond=None)[0]
    assert np.allclose(coordinates, np.rint(coordinates), atol=1e-6)
    assert abs(abs(np.linalg.det(np.rint(coordinates))) - 1) < 1e-6
    assert np.linalg.norm(reduced, axis=1).max() < 1e-2 * np.linalg.norm(basis, axis=1).max()


def test_reduced_basis_satisfies_lovasz(rng):
    reduced = reduce_lattice_basis(np.rint(1e4 * rng.standard_normal((10, 10))), delta=0.9)
    R = np.abs(np.diagonal(np.linalg.qr(reduced.T)[1]))
    assert np.all(R[1:] ** 2 >= (0.9 - 0.25) * R[:-1] ** 2 * (1 - 1e-9))


@pytest.mark.parametrize(("k", "r"), [(8, 1), (20, 3), (40, 10)])
def test_planted_subset_is_found(rng, k, r):
    vectors = rng.standard_normal((k, r))
    planted = rng.random_sample(k) < 0.5
    found = subset_sum(vectors, planted @ vectors, tol=1e-9)
    assert np.array_equal(found.chosen, planted)
    assert found.log2_chance < -15


def test_no_subset_is_reported_as_none(rng):
    vectors = rng.standard_normal((15, 4))
    assert subset_sum(vectors, rng.standard_normal(4), tol=1e-9).chosen is None


def test_coarse_tolerance_says_that_chance_would_do(rng):
    vectors = rng.standard_normal((30, 1))
    assert subset_sum(vectors, vectors[:10].sum(axis=0), tol=1e-3).log2_chance > 0


def test_every_subset_of_a_few_vectors_is_found(rng):
    vectors = rng.standard_normal((9, 3))
    vectors[7] = -vectors[2]
    planted = np.isin(np.arange(9), [0, 4, 5])
    found = subset_sum(vectors, planted @ vectors, tol=1e-9)
    with_pair = planted | np.isin(np.arange(9), [2, 7])
    assert sorted(found.matching.tolist()) == sorted([planted.tolist(), with_pair.tolist()])
    assert any(np.array_equal(found.chosen, subset) for subset in found.matching)
