"""Padded supports, least squares on them, and backward elimination."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.supports import (
    least_squares_values,
    nonnegative_least_squares,
    padded_to_csr,
    prune,
)


@pytest.fixture
def problem(rng):
    X, truth = make_sparse_codes(
        400, 60, n_components=70, n_nonzero=3, noise=0.02, random_state=rng
    )
    return X, truth.components_, truth


def test_padding_is_not_stored():
    atoms = np.array([[3, 1], [2, 2], [0, 1]], dtype=np.int32)
    values = np.array([[1.0, -2.0], [0.5, 0.0], [0.0, 0.0]])
    codes = padded_to_csr(atoms, values, 4)
    np.testing.assert_array_equal(codes.toarray(), [[0, -2, 0, 1], [0, 0, 0.5, 0], [0, 0, 0, 0]])
    assert codes.nnz == 3
    assert codes.has_canonical_format


def test_inactive_entries_do_not_matter(problem, rng):
    X, D, _ = problem
    gram = D @ D.T
    atoms = rng.randint(70, size=(400, 5)).astype(np.int32)
    atoms[:, :2] = [0, 1]
    active = np.zeros((400, 5), dtype=bool)
    active[:, :2] = True
    values = least_squares_values(X, D, gram, atoms, active)
    assert not values[:, 2:].any()
    np.testing.assert_allclose(values[:, :2], X @ np.linalg.pinv(D[:2]), atol=1e-9)


def test_nonnegative_refit_leaves_no_negative(problem):
    X, D, _ = problem
    gram = D @ D.T
    atoms = np.tile(np.arange(6, dtype=np.int32), (400, 1))
    free = least_squares_values(X, D, gram, atoms, np.ones(atoms.shape, dtype=bool))
    assert free.min() < 0
    values = nonnegative_least_squares(X, D, gram, atoms, free)
    assert values.min() >= 0
    residual = X - values @ D[:6]
    assert np.all(np.abs(residual @ D[:6].T)[values > 0] < 1e-8)


def eliminated(x, D, support, width, min_value):
    """One sample, by refitting from scratch."""
    support = list(support)
    while support:
        code = np.linalg.lstsq(D[support].T, x, rcond=None)[0]
        weakest = np.abs(code).argmin()
        if len(support) <= width and abs(code[weakest]) > min_value:
            return dict(zip(support, code, strict=True))
        del support[weakest]
    return {}


@pytest.mark.parametrize(("width", "min_value"), [(3, 0.0), (8, 0.3), (4, 0.1), (2, 100.0)])
def test_pruning_is_backward_elimination(problem, rng, width, min_value):
    X, D, _ = problem
    gram = D @ D.T
    atoms = np.argsort(rng.rand(400, 70), axis=1)[:, :8].astype(np.int32)
    active = rng.rand(400, 8) < 0.8
    active[:3] = False
    values = least_squares_values(X, D, gram, atoms, active)
    kept, weights = prune(gram, atoms, values, width, min_value)
    assert kept.shape == weights.shape == (400, width)
    for x, before, on, after, fitted in zip(X, atoms, active, kept, weights, strict=True):
        expected = eliminated(x, D, before[on], width, min_value)
        found = {i: c for i, c in zip(after, fitted, strict=True) if c != 0}
        assert found.keys() == expected.keys()
        for i, c in expected.items():
            assert found[i] == pytest.approx(c, abs=1e-9)


def test_nothing_to_prune(problem):
    X, D, _ = problem
    atoms = np.tile(np.arange(4, dtype=np.int32), (400, 1))
    values = least_squares_values(X, D, D @ D.T, atoms, np.ones(atoms.shape, dtype=bool))
    kept, weights = prune(D @ D.T, atoms, values, 4)
    np.testing.assert_array_equal(kept, atoms)
    np.testing.assert_array_equal(weights, values)
