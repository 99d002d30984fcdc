"""Pursuit that stops at noise."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.noisy.significant_codes import branched_codes, significant_codes


def test_codes_are_least_squares_on_the_planted_support(rng):
    atoms = rng.standard_normal((40, 60))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((100, 40))
    for row in codes:
        row[rng.choice(40, 3, replace=False)] = rng.uniform(1, 2, 3) * rng.choice([-1, 1], 3)
    noise = 0.01
    X = codes @ atoms + noise * rng.standard_normal((100, 60))
    found = significant_codes(X, sp.csr_array(atoms), noise, 5.0).toarray()
    right = np.all((found != 0) == (codes != 0), axis=1)
    assert right.mean() > 0.95
    row = int(np.flatnonzero(right)[0])
    support = codes[row] != 0
    expected = np.linalg.lstsq(atoms[support].T, X[row], rcond=None)[0]
    np.testing.assert_allclose(found[row, support], expected, rtol=1e-8)


def test_noise_has_no_codes(rng):
    atoms = sp.csr_array(rng.standard_normal((30, 50)))
    assert significant_codes(rng.standard_normal((50, 50)), atoms, 1.0, 6.0).nnz == 0


def test_coefficients_that_turn_out_insignificant_leave(rng):
    """The sum of two atoms resembles a third, which joins first and is not needed at the end."""
    atoms = np.zeros((3, 30))
    atoms[0, :10], atoms[1, 10:20] = 1.0, 1.0
    atoms[2, :20], atoms[2, 20:22] = 1.0, 1.0
    X = np.array([[1.0, 1.0, 0.0], [1.3, 0.9, 0.0]]) @ atoms
    X += 0.001 * rng.standard_normal(X.shape)
    found = significant_codes(X, sp.csr_array(atoms), 0.001, 5.0).toarray()
    np.testing.assert_array_equal(found != 0, [[True, True, False]] * 2)


def test_blocks_of_rows_do_not_matter(rng):
    from sklearn import config_context

    atoms = sp.csr_array(rng.standard_normal((30, 50)))
    X = sp.random_array((80, 30), density=0.1, rng=rng).toarray() @ atoms.toarray()
    whole = significant_codes(X, atoms, 0.01, 5.0)
    with config_context(working_memory=0.2):
        parts = significant_codes(X, atoms, 0.01, 5.0)
    np.testing.assert_allclose(whole.toarray(), parts.toarray(), atol=1e-12)


def test_nothing_to_code():
    assert significant_codes(np.ones((3, 4)), sp.csr_array((0, 4)), 1.0, 5.0).shape == (3, 0)


def test_other_beginnings_only_help(rng):
    """More atoms than dimensions, combinations of a few: the best first atom misleads."""
    basis = rng.standard_normal((20, 60))
    atoms = sp.random_array((50, 20), density=0.15, rng=rng).toarray() @ basis
    atoms = atoms[np.linalg.norm(atoms, axis=1) > 0]
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((300, len(atoms)))
    for row in codes:
        row[rng.choice(len(atoms), 3, replace=False)] = rng.uniform(1, 2, 3)
    noise, level = 0.01, 5.0
    X = codes @ atoms + noise * rng.standard_normal((300, 60))
    layer = sp.csr_array(atoms)

    def costs(found):
        misfit = ((X - (found @ layer).toarray()) / (level * noise)) ** 2
        return np.minimum(misfit, 1).sum(axis=1) + np.diff(found.indptr)

    greedy = costs(significant_codes(X, layer, noise, level))
    branched = costs(branched_codes(X, layer, noise, level))
    assert np.all(branched <= greedy + 1e-9)
    assert np.sum(branched < greedy - 1) > 10
