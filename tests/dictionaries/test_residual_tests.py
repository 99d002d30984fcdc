"""Tests of residuals: right models pass at the level they state, wrong ones do not."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.residual_tests import (
    code_consistency,
    coherence,
    lack_of_fit,
    scatter_p_values,
)


def test_white_residuals_fit(rng):
    square = rng.chisquare(20, 5000)
    assert lack_of_fit(rng.rand(5000) < 0.05, square, 20) > 1e-6
    assert lack_of_fit(rng.rand(5000) < 0.15, square, 20) < 1e-6
    square[:300] *= 4
    assert lack_of_fit(rng.rand(5000) < 0.05, square, 20) < 1e-6


@pytest.mark.parametrize(("n", "n_users"), [(6, 40), (40, 300), (100, 60)])
def test_scatter_along_one_direction(rng, n, n_users):
    residual = 0.1 * rng.standard_normal((2 * n_users, n))
    direction = rng.standard_normal(n)
    direction *= 0.3 / np.linalg.norm(direction)
    residual[:n_users] += rng.choice([-1, 1], (n_users, 1)) * direction
    codes = np.zeros((2 * n_users, 3))
    codes[:n_users, 0] = codes[n_users:, 1] = 1
    p_values = scatter_p_values(residual, sparse.csr_array(codes), 0.01, rng)
    assert p_values[0] < 1e-6
    assert p_values[1] > 1e-6
    assert p_values[2] == 1  # no users


def test_coherence(rng):
    D = np.array([[1.0, 0], [0, 1], [0.6, -0.8]])
    assert coherence(D) == pytest.approx(0.8)
    assert coherence(D[:1]) == 0


def test_consistency_of_orthogonal_atoms(rng):
    _, truth = make_sparse_codes(500, 10, n_components=10, n_nonzero=2, random_state=rng)
    X, codes = truth.codes.toarray(), truth.codes
    crosstalk, active, margin = code_consistency(X, np.eye(10), codes, np.full(500, 0.1))
    assert crosstalk == 0
    assert active >= 0.5
    assert margin >= 5 * (1 - 1e-12)
