"""Agreement, local isolation and standard errors."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.stability import (
    agreement_threshold,
    isolation,
    matched_cosines,
    matched_distances,
    standard_errors,
)


def test_matching_forgets_order_and_sign(rng):
    D = rng.standard_normal((12, 9))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    sign = rng.choice([-1.0, 1.0], 12)[:, None]
    other = (sign * D)[rng.permutation(12)]
    np.testing.assert_allclose(matched_cosines(D, other), 1)
    assert matched_distances(D, other).max() < 1e-15
    assert matched_distances(D, -D, signed=False).max() > 1
    missing = matched_cosines(D, other[:10])
    assert np.sum(missing == 0) == 2


@pytest.mark.parametrize(("m", "n"), [(4, 3), (30, 20)])
def test_random_atoms_do_not_agree(rng, m, n):
    limit = agreement_threshold(m, n)
    agreeing = 0
    for _ in range(100):
        first, second = rng.standard_normal((2, m, n))
        agreeing += np.any(matched_cosines(first, second) >= limit)
    # Binomial(100, .01) exceeds 8 with probability 2e-6.
    assert agreeing <= 8


def test_isolated_dictionary(rng):
    _, truth = make_sparse_codes(1500, 20, n_components=25, n_nonzero=2, random_state=rng)
    assert isolation(truth.codes, truth.components_, rng) > 0.2


def test_an_atom_with_one_user_is_not_isolated(rng):
    _, truth = make_sparse_codes(800, 12, n_components=10, n_nonzero=2, random_state=rng)
    codes = truth.codes.toarray()
    users = np.flatnonzero(codes[:, 3])[1:]
    codes[users] = 0
    assert isolation(sparse.csr_array(codes), truth.components_, rng) < 1e-6


def test_two_atoms_that_always_meet_are_not_isolated(rng):
    """Their plane is determined, the atoms in it are not."""
    _, truth = make_sparse_codes(800, 12, n_components=10, n_nonzero=2, random_state=rng)
    codes = truth.codes.toarray()
    alone = (codes[:, 0] != 0) ^ (codes[:, 1] != 0)
    codes[np.ix_(alone, [0, 1])] = rng.standard_normal((alone.sum(), 2))
    assert isolation(sparse.csr_array(codes), truth.components_, rng) < 1e-6


def test_small_and_large_problems_agree(rng):
    _, truth = make_sparse_codes(300, 9, n_components=7, n_nonzero=2, random_state=rng)
    codes, D = truth.codes, truth.components_
    small = isolation(codes, D, rng)
    wide = np.hstack([D, np.zeros((7, 8))])  # the same atoms; directions that nothing uses
    assert isolation(codes, wide, rng) == pytest.approx(small, rel=0.1, abs=1e-3)


def test_standard_errors_hold(rng):
    """Errors of least squares with known supports, in units of the standard errors."""
    ratios = []
    for _ in range(3):
        X, truth = make_sparse_codes(
            3000, 24, n_components=30, n_nonzero=2, noise=0.05, random_state=rng
        )
        codes = truth.codes.toarray()
        D = np.linalg.lstsq(codes, X, rcond=None)[0]
        D /= np.linalg.norm(D, axis=1, keepdims=True)
        # The codes are known here: no widening for having estimated them.
        errors = standard_errors(truth.components_, codes.T @ codes, 0.05**2, 0)
        ratios.append((D - truth.components_) / errors)
    spread = np.sqrt(np.mean(np.square(ratios)))
    assert spread == pytest.approx(1, abs=0.1)


def test_unused_atoms_have_no_standard_error(rng):
    D = np.eye(4)[:3]
    gram = np.diag([10.0, 0.0, 5.0])
    errors = standard_errors(D, gram, 1.0, 1)
    assert np.all(np.isinf(errors[1]))
    assert np.all(np.isfinite(errors[[0, 2]]))
