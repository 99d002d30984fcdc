"""Stuck dictionaries are left; healthy ones are not touched."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.replacement import (
    chance_coherence,
    irreducible_shares,
    pooled_atoms,
    replace_idle_atoms,
    split_overloaded_atoms,
    stuck_atoms,
    untangle_pairs,
)
from sklearn_nnrecover.dictionaries.stability import matched_cosines


@pytest.fixture
def problem(rng):
    return make_sparse_codes(4000, 40, n_components=60, n_nonzero=3, noise=0.05, random_state=rng)


def coded(X, D):
    codes = encode(X, D, CodeRule("omp", 3))
    return codes, X - codes @ D


def between(first, second):
    """The line between two lines: across their smaller angle, whatever the signs of atoms."""
    middle = first + np.copysign(1.0, first @ second) * second
    return middle / np.linalg.norm(middle)


def test_true_atoms_are_left_alone(problem):
    X, truth = problem
    D = truth.components_.copy()
    codes, residual = coded(X, D)
    usage = np.bincount(codes.indices, minlength=60)
    assert not len(replace_idle_atoms(D, usage, residual, max_coherence=0.9))
    assert not len(split_overloaded_atoms(D, codes, residual))
    np.testing.assert_array_equal(D, truth.components_)


def test_duplicates_and_unused_atoms_go(problem):
    X, truth = problem
    D = truth.components_.copy()
    D[4] = D[9] + 0.01
    D[4] /= np.linalg.norm(D[4])
    codes, residual = coded(X, D)
    usage = np.bincount(codes.indices, minlength=60)
    usage[20] = 0
    replaced = replace_idle_atoms(D, usage, residual, max_coherence=0.9)
    assert 20 in replaced
    assert len(set(replaced) & {4, 9}) == 1
    np.testing.assert_allclose(np.linalg.norm(D[replaced], axis=1), 1)


def test_an_atom_in_place_of_two_is_split(problem, rng):
    X, truth = problem
    D = truth.components_.copy()
    D[0] = between(D[0], D[1])
    D[1] = rng.standard_normal(40)
    D[1] /= np.linalg.norm(D[1])
    codes, residual = coded(X, D)
    energy = np.bincount(codes.indices, weights=codes.data**2, minlength=60)
    givers, takers = stuck_atoms(codes, residual, energy)
    assert 1 in givers
    assert 0 in takers
    changed = split_overloaded_atoms(D, codes, residual)
    assert {0, 1} <= set(changed)
    cosine = np.abs(D[:2] @ truth.components_[:2].T)
    assert max(cosine[0, 0] + cosine[1, 1], cosine[0, 1] + cosine[1, 0]) > 1.8


def test_the_sum_of_two_atoms_is_worth_nothing(problem):
    """Of it and the two, much used as they are, one gives way to an atom that is missing."""
    X, truth = problem
    D = truth.components_.copy()
    D[0], D[1] = between(D[0], D[1]), between(D[2], D[3])
    share = irreducible_shares(D)
    # Each of the three is a combination of the others: which one goes is not determined.
    assert share[1:4].max() < 1e-12
    assert np.delete(share, [1, 2, 3]).min() > 0.1
    codes = truth.codes.toarray()
    summed = np.abs(codes[:, 1]) > 0
    others = np.flatnonzero(np.any(codes[:, [2, 3]] != 0, axis=1) & ~summed)
    X = X.copy()
    X[others[:150]] = codes[others[:150], 2:4].sum(axis=1)[:, None] * D[1]
    codes, residual = coded(X, D)
    energy = np.bincount(codes.indices, weights=codes.data**2, minlength=60)
    assert energy[1] > 0.5 * np.median(energy)
    changed = split_overloaded_atoms(D, codes, residual)
    given = dict(zip(changed[::2], changed[1::2], strict=True))[0]
    assert given in (1, 2, 3)
    cosine = np.abs(D[[0, given]] @ truth.components_[:2].T)
    assert max(cosine[0, 0] + cosine[1, 1], cosine[0, 1] + cosine[1, 0]) > 1.8


def test_idle_atoms_go_where_residuals_recur(rng):
    """Not where one is largest: that is a sample of many atoms."""
    missing = rng.standard_normal(40)
    missing /= np.linalg.norm(missing)
    residual = rng.standard_normal((1000, 40)) / np.sqrt(40)
    residual[:10] *= 4
    residual[10:60] += 1.5 * rng.choice([-1, 1], 50)[:, None] * missing
    D = np.linalg.qr(rng.standard_normal((40, 40)))[0][:30]
    usage = np.full(30, 100)
    usage[7] = 0
    assert replace_idle_atoms(D, usage, residual, max_coherence=0.99).tolist() == [7]
    assert abs(D[7] @ missing) > 0.7


def test_nothing_to_take_from(problem):
    _, truth = problem
    D = truth.components_.copy()
    usage = np.zeros(60)
    assert not len(replace_idle_atoms(D, usage, np.zeros((5, 40)), max_coherence=0.9))


@pytest.mark.parametrize(("m", "n"), [(10, 5), (100, 64)])
def test_chance_coherence_bounds_random_atoms(rng, m, n):
    limit = chance_coherence(m, n, level=0.01)
    worst = []
    for _ in range(200):
        D = rng.standard_normal((m, n))
        D /= np.linalg.norm(D, axis=1, keepdims=True)
        gram = np.abs(D @ D.T) - np.eye(m)
        worst.append(gram.max())
    # Binomial(200, .01) exceeds 12 with probability 3e-7.
    assert np.sum(np.array(worst) > limit) <= 12
    assert np.max(worst) > 0.5 * limit


@pytest.mark.parametrize("nonnegative", [False, True])
def test_two_starts_that_miss_different_atoms_make_one_that_misses_none(rng, nonnegative):
    X, truth = make_sparse_codes(
        3000,
        30,
        n_components=40,
        n_nonzero=3,
        nonnegative=nonnegative,
        noise=0.1,
        random_state=rng,
    )
    first, second = truth.components_.copy(), truth.components_.copy()
    wrong = rng.standard_normal((4, 30))
    first[:2], second[5:7] = wrong[:2], wrong[2:]
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    rule = CodeRule("omp", 3, nonnegative=nonnegative)
    pooled = pooled_atoms(X, first, second, rule)
    assert matched_cosines(pooled, truth.components_, signed=not nonnegative).min() > 0.999
    assert pooled_atoms(X, truth.components_, second, rule) is truth.components_
    assert pooled_atoms(X, first, first.copy(), rule) is first


@pytest.mark.parametrize("angle", [1e-6, 0.4])
def test_a_rotated_pair_is_untangled(rng, angle):
    """Codes in a frame where one atom of a pair has turned towards the other."""
    D = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    codes = np.where(rng.rand(2000, 12) < 0.1, rng.uniform(0.5, 1.5, (2000, 12)), 0)
    X = codes @ D
    turned = D.copy()
    turned[3] = np.cos(angle) * D[3] + np.sin(angle) * D[7]
    seen = X @ np.linalg.inv(turned)
    seen[np.abs(seen) < 1e-12] = 0
    changed = untangle_pairs(turned, sparse.csr_array(seen))
    assert changed.tolist() == [3]
    turned[3] *= np.sign(turned[3] @ D[3])
    np.testing.assert_allclose(turned, D, atol=1e-12)


def test_pairs_without_a_recurring_proportion_stay(rng):
    D = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    codes = np.where(rng.rand(2000, 12) < 0.1, rng.standard_normal((2000, 12)), 0)
    together = rng.rand(2000) < 0.1
    codes[:, [3, 7]] = together[:, None] * rng.standard_normal((2000, 2))
    before = D.copy()
    assert not len(untangle_pairs(D, sparse.csr_array(codes)))
    np.testing.assert_array_equal(D, before)


def test_two_atoms_that_turned_within_their_plane_are_untangled(rng):
    """Sum and difference of two atoms: each of the two recurs in half of the samples only."""
    D = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    codes = np.where(rng.rand(4000, 12) < 0.1, rng.uniform(0.5, 1.5, (4000, 12)), 0)
    turned = D.copy()
    turned[3], turned[7] = (D[3] + D[7]) / np.sqrt(2), (D[3] - D[7]) / np.sqrt(2)
    for _ in range(2):
        seen = codes @ D @ np.linalg.inv(turned)
        seen[np.abs(seen) < 1e-12] = 0
        assert len(untangle_pairs(turned, sparse.csr_array(seen))) == 1
    assert np.abs(turned @ D.T).max(axis=1).min() > 1 - 1e-12


def test_a_rare_atom_is_not_turned_by_three_samples(rng):
    """A turn must save coefficients: most samples of the atom would need one more."""
    D = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    codes = np.where(rng.rand(2000, 12) < 0.2, rng.standard_normal((2000, 12)), 0)
    codes[:, 3] = 0
    codes[:22, [3, 7]] = rng.standard_normal((22, 2))
    codes[:13, 7] = 0
    codes[13:16, 7] = 0.8 * codes[13:16, 3]
    before = D.copy()
    untangle_pairs(D, sparse.csr_array(codes))
    np.testing.assert_array_equal(D[3], before[3])
