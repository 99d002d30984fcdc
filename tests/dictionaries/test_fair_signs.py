"""Codes whose values repeat: what fair signs exclude, and what they cannot."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.dictionaries.fair_signs import (
    distinct_directions,
    log_chance_of_other_codes,
    unfair_signs,
)


def sign_codes(rng, n_samples, m, k, magnitudes=(1.0,)):
    codes = np.zeros((n_samples, m))
    on = rng.rand(n_samples, m).argsort(axis=1)[:, :k]
    values = rng.choice([-1.0, 1.0], on.shape) * rng.choice(magnitudes, on.shape)
    np.put_along_axis(codes, on, values, axis=1)
    return codes


def directions(codes, k):
    return distinct_directions(sparse.csr_array(codes), k)


@pytest.mark.parametrize("magnitudes", [(1.0,), (1.0, 2.0, 3.0)])
@pytest.mark.parametrize(("n_samples", "m", "k"), [(2000, 24, 2), (4000, 30, 3), (8000, 128, 4)])
def test_enough_samples_exclude_other_codes(rng, n_samples, m, k, magnitudes):
    different = directions(sign_codes(rng, n_samples, m, k, magnitudes), k)
    assert log_chance_of_other_codes(different) < np.log(1e-6)
    assert unfair_signs(different) > 1e-6


def test_no_combination_of_columns_is_as_sparse(rng):
    """The claim itself, on combinations that cancel most: small integers, and fits to samples."""
    codes = sign_codes(rng, 2000, 24, 2)
    assert log_chance_of_other_codes(directions(codes, 2)) < np.log(1e-6)
    codes = directions(codes, 2).toarray()
    usage = np.count_nonzero(codes, axis=0).max()
    for size in (2, 3, 4):
        for support in itertools.islice(itertools.combinations(range(24), size), 300):
            for signs in itertools.product([1, -1], repeat=size - 1):
                v = np.zeros(24)
                v[list(support)] = (1, *signs)
                assert np.count_nonzero(codes @ v) > usage
    for _ in range(100):
        some = rng.permutation(len(codes))[:23]  # as many samples as a combination can cancel
        v = np.linalg.svd(codes[some])[2][-1]
        if np.sum(np.abs(v) > 1e-9) > 1:
            assert np.count_nonzero(np.abs(codes @ v) > 1e-9) > usage


def test_the_root_system_d4_is_not_unique(rng):
    """(1, 1, 1, 1) cancels as many samples as a single atom leaves out."""
    codes = directions(sign_codes(rng, 3000, 4, 2), 2)
    assert codes.shape[0] == 12
    counts = np.count_nonzero(codes @ np.column_stack([np.eye(4), np.ones(4)]), axis=0)
    assert np.all(counts == 6)
    assert log_chance_of_other_codes(codes) == 0


def test_few_samples_exclude_nothing(rng):
    assert log_chance_of_other_codes(directions(sign_codes(rng, 100, 24, 2), 2)) == 0
    assert log_chance_of_other_codes(directions(sign_codes(rng, 20, 24, 2), 2)) == 0


def test_an_atom_that_no_sample_uses(rng):
    codes = sign_codes(rng, 2000, 24, 2)
    assert log_chance_of_other_codes(directions(np.hstack([codes, np.zeros((2000, 1))]), 2)) == 0


def test_two_atoms_that_always_meet(rng):
    """Their sum and difference are as sparse as they are."""
    codes = sign_codes(rng, 3000, 24, 3)
    met = np.flatnonzero((codes[:, 0] != 0) | (codes[:, 1] != 0))
    codes[met] = 0
    codes[np.ix_(met, [0, 1])] = rng.choice([-1.0, 1.0], (len(met), 2))
    codes[met, 2 + rng.randint(22, size=len(met))] = 1
    assert log_chance_of_other_codes(directions(codes, 3)) == 0


def test_atoms_that_meet_more_often_than_chance(rng):
    """Pairs of atoms that share half of their samples leave less; the claim must shrink with it."""
    codes = sign_codes(rng, 3000, 24, 2)
    before = log_chance_of_other_codes(directions(codes, 2))
    rows = rng.permutation(3000)[:1500]
    codes[rows] = 0
    first = rng.randint(12, size=1500)
    codes[rows, 2 * first] = rng.choice([-1.0, 1.0], 1500) * rng.uniform(1, 2, 1500)
    codes[rows, 2 * first + 1] = rng.choice([-1.0, 1.0], 1500) * rng.uniform(1, 2, 1500)
    assert before < np.log(1e-6)
    assert log_chance_of_other_codes(directions(codes, 2)) == 0


@pytest.mark.parametrize("flip", [False, True])
def test_signs_that_go_together_are_seen(rng, flip):
    codes = np.abs(sign_codes(rng, 4000, 30, 3))
    if flip:  # signs of the atoms are a matter of gauge
        codes *= rng.choice([-1.0, 1.0], 30)
    assert unfair_signs(directions(codes, 3)) < 1e-6


def test_signs_of_pairs_that_hardly_meet_twice_say_nothing(rng):
    codes = np.zeros((45, 90))
    codes[np.arange(45), np.arange(45)] = 1
    codes[np.arange(45), np.arange(45, 90)] = rng.choice([-1.0, 1.0], 45)
    assert unfair_signs(directions(codes, 2)) == 0


def test_directions_are_counted_once(rng):
    """Fractions, opposite samples, shorter codes and rounding errors in them."""
    codes = np.zeros((7, 4))
    codes[0, [0, 1]] = [1, 3]
    codes[1, [0, 1]] = [-1 / 3, -1]
    codes[2, [0, 1]] = [1 / 7, 3 / 7 * (1 + 1e-13)]
    codes[3, [0, 1]] = [1, -3]
    codes[4, [0, 2]] = [1, 3]
    codes[5, 3] = 2
    codes[6, [0, 1]] = [1, 1e-14]
    different = directions(codes, 2).toarray()
    np.testing.assert_array_equal(different, codes[[0, 3, 4]])
