"""Atoms of small noiseless problems from spans that samples share."""

import numpy as np
import pytest

from sklearn_nnrecover.dictionaries.sample_spans import (
    atoms_from_spans,
    explaining_atoms,
    shared_spans,
)


def small_samples(rng, n, m, k, n_samples=1500, nonnegative=False):
    D = rng.standard_normal((m, n))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    codes = rng.uniform(0.5, 1.5, (n_samples, m))
    if not nonnegative:
        codes *= rng.choice([-1.0, 1.0], codes.shape)
    codes[rng.rand(n_samples, m).argsort(axis=1) >= k] = 0
    return codes @ D, D


def missed(found, D, signed=True):
    cosine = found @ D.T
    return np.sum((np.abs(cosine) if signed else cosine).max(axis=0, initial=-1) < 1 - 1e-9)


@pytest.mark.parametrize(("n", "m", "k"), [(4, 5, 1), (3, 4, 2), (4, 6, 2), (8, 10, 2), (6, 7, 3)])
def test_every_atom(rng, n, m, k):
    X, D = small_samples(rng, n, m, k)
    found = atoms_from_spans(X, m, k, rng)
    assert found.shape == (m, n)
    assert missed(found, D) == 0


def test_spans_are_those_of_two_atoms(rng):
    X, D = small_samples(rng, 6, 5, 2)
    spans = shared_spans(X[:300] / np.linalg.norm(X[:300], axis=1, keepdims=True), 2, 10, rng)
    assert len(spans) == 10
    np.testing.assert_allclose(
        spans.transpose(0, 2, 1) @ spans, np.broadcast_to(np.eye(2), (10, 2, 2)), atol=1e-12
    )
    inside = np.linalg.norm(D @ spans, axis=2) > 1 - 1e-9
    assert np.all(inside.sum(axis=1) == 2)
    assert np.all(inside.sum(axis=0) == 4)


@pytest.mark.parametrize("noise", [None, 1e-3])
def test_no_atoms_without_shared_spans(rng, noise):
    if noise is None:
        X = rng.standard_normal((800, 6))
    else:
        X, _ = small_samples(rng, 6, 6, 2)
        X = X + noise * rng.standard_normal(X.shape)
    assert len(atoms_from_spans(X, 6, 2, rng)) == 0
    assert explaining_atoms(X, 6, (1, 2, 3), False, rng) is None


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize(("n", "m", "k"), [(4, 5, 1), (5, 7, 2)])
def test_the_fewest_active_atoms_that_explain(rng, n, m, k, nonnegative):
    X, D = small_samples(rng, n, m, k, nonnegative=nonnegative)
    atoms, n_nonzero, open_share = explaining_atoms(X, m, (1, 2, 3), nonnegative, rng)
    assert n_nonzero == k
    assert open_share < 0.01
    assert missed(atoms, D, signed=not nonnegative) == 0


def test_too_few_atoms_explain_nothing(rng):
    X, _ = small_samples(rng, 5, 7, 2)
    assert explaining_atoms(X, 5, (1, 2), False, rng) is None


def test_dimension_count_alone_makes_no_atom(rng):
    """In three dimensions any two planes meet; where no three share a line there is no atom."""
    normals = rng.standard_normal((6, 3))
    planes = np.linalg.qr(normals[:, :, None], mode="complete")[0][:, :, 1:]
    X = np.concatenate([rng.standard_normal((50, 2)) @ plane.T for plane in planes])
    assert len(atoms_from_spans(X, 6, 2, rng)) == 0


def test_zero_rows_and_single_samples(rng):
    assert len(atoms_from_spans(np.zeros((5, 3)), 3, 2, rng)) == 0
    assert len(atoms_from_spans(np.eye(3)[:1], 3, 2, rng)) == 0
    assert len(atoms_from_spans(np.ones((4, 3)), 3, 1, rng)) == 1
