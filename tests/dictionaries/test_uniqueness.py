"""What new samples prove about atoms, and what they cannot."""

import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.uniqueness import (
    accompanied_atoms,
    log_chance_of_span,
    pinned_atoms,
    repeated_proportions,
    telling_samples,
)

EPS = float(np.finfo(np.float64).eps)


def telling(X, D, codes, uncertainty=None):
    residual = np.linalg.norm(X - codes @ D, axis=1)
    uncertainty = np.zeros(len(D)) if uncertainty is None else uncertainty
    return telling_samples(codes, residual, np.linalg.norm(X, axis=1), uncertainty, D.shape[1], EPS)


def codes_on(rng, supports, n_components, n_each=20):
    """Generic codes on given supports."""
    codes = np.zeros((len(supports) * n_each, n_components))
    for i, support in enumerate(supports):
        rows = slice(i * n_each, (i + 1) * n_each)
        codes[rows, list(support)] = rng.standard_normal((n_each, len(support)))
    return sparse.csr_array(codes)


def random_atoms(rng, m, n):
    D = rng.standard_normal((m, n))
    return D / np.linalg.norm(D, axis=1, keepdims=True)


def test_noiseless_samples_tell_and_pin_every_atom(rng):
    X, truth = make_sparse_codes(2000, 12, n_components=15, n_nonzero=3, random_state=rng)
    tell = telling(X, truth.components_, truth.codes)
    assert tell.mean() > 0.999
    assert pinned_atoms(truth.codes[tell], truth.components_).all()


def test_atoms_that_the_halves_do_not_share_tell_nothing(rng):
    X, truth = make_sparse_codes(500, 12, n_components=15, n_nonzero=2, random_state=rng)
    uncertainty = np.zeros(15)
    uncertainty[4] = np.inf
    tell = telling(X, truth.components_, truth.codes, uncertainty)
    users = truth.codes.toarray()[:, 4] != 0
    assert not tell[users].any()
    assert tell[~users].all()
    assert not pinned_atoms(truth.codes[tell], truth.components_)[4]


@pytest.mark.parametrize("n", [10, 40])
def test_chance_of_a_span(rng, n):
    """Isotropic samples come as near to one of the spans as seldom as the bound says."""
    D = random_atoms(rng, n, n)
    X = rng.standard_normal((4000, n))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    codes = encode(X, D, CodeRule("omp", 2))
    distance = np.linalg.norm(X - codes @ D, axis=1)
    chance = log_chance_of_span(distance, np.diff(codes.indptr), n, n)
    # Binomial(4000, .01) exceeds 80 with probability 1e-8.
    assert np.sum(chance <= np.log(0.01)) <= 80


def test_noise_in_few_dimensions_tells_nothing(rng):
    X, truth = make_sparse_codes(500, 4, n_components=5, n_nonzero=2, noise=0.1, random_state=rng)
    assert not telling(X, truth.components_, truth.codes).any()
    X, truth = make_sparse_codes(
        500, 24, n_components=24, n_nonzero=2, noise=0.05, random_state=rng
    )
    assert telling(X, truth.components_, truth.codes).mean() > 0.9


@pytest.mark.parametrize(
    ("supports", "pinned"),
    [
        ([(0, 1)], []),  # a plane, any line of which will do
        ([(0, 1), (0, 2)], []),  # in three dimensions any two planes meet in a line
        ([(0, 1), (0, 2), (0, 3)], [0]),
        ([(0, 1), (0, 2), (0, 3), (1, 2)], [0]),
        ([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)], [0, 1]),
        ([(0,), (1, 2)], [0]),  # samples of one atom show it
    ],
)
def test_planes_in_three_dimensions(rng, supports, pinned):
    D = np.vstack([np.eye(3), np.ones(3) / np.sqrt(3)])
    found = pinned_atoms(codes_on(rng, supports, 4), D)
    assert np.flatnonzero(found).tolist() == pinned


def test_two_atoms_that_always_meet_are_not_pinned(rng):
    D = random_atoms(rng, 8, 12)
    supports = [(0, 1, j) for j in range(2, 8)] + [
        (a, b, c) for a in range(2, 8) for b in range(a) for c in range(b) if c >= 2
    ]
    found = pinned_atoms(codes_on(rng, supports, 8, n_each=5), D)
    assert not found[:2].any()
    assert found[2:].all()


def test_spans_too_large_for_the_dimension_tell_nothing(rng):
    """Beyond k = (n + 1) / 2 spans meet by dimension count."""
    X, truth = make_sparse_codes(500, 5, n_components=7, n_nonzero=4, random_state=rng)
    assert not telling(X, truth.components_, truth.codes).any()
    X, truth = make_sparse_codes(500, 7, n_components=7, n_nonzero=4, random_state=rng)
    assert telling(X, truth.components_, truth.codes).mean() > 0.99


def test_three_dictionaries_of_the_root_system_d4(rng):
    """+-e_i +-e_j have two active atoms in three different orthonormal dictionaries."""
    identity = np.eye(4)
    signs = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2
    other = signs * np.array([1, 1, 1, -1])
    supports = [(i, j) for i in range(4) for j in range(i)]
    codes = np.zeros((600, 4))
    for row, pick in enumerate(rng.randint(6, size=600)):
        codes[row, list(supports[pick])] = rng.choice([-1.0, 1.0], 2) * rng.uniform(0.5, 1.5)
    for D in (identity, signs, other):
        found = encode(codes, D, CodeRule("omp", 2))
        np.testing.assert_allclose(found @ D, codes, atol=1e-12)
        assert not telling(codes, D, found).any()


def test_repeated_proportions(rng):
    codes = codes_on(rng, [(0, 1), (1, 2), (0, 2), (3,)], 4).toarray()
    assert not repeated_proportions(sparse.csr_array(codes), 1e-8).any()
    codes[7] = -3 * codes[5]  # the same direction
    codes[70] = codes[65]  # a sample of one atom, repeated
    codes[25, :3] = [0, 1.0, 2.0]
    codes[30, :3] = [0, 1.5, -3.0]
    expected = np.isin(np.arange(80), [5, 7, 25, 30, 65, 70])
    np.testing.assert_array_equal(repeated_proportions(sparse.csr_array(codes), 1e-8), expected)


@pytest.mark.parametrize("kind", ["signs", "integers", "generic"])
def test_values_that_many_pairs_share_prove_nothing(rng, kind):
    """No two samples use the same two atoms: only other pairs tell that values are special."""
    supports = [(i, j) for i in range(40) for j in range(i)]
    values = {
        "signs": np.ones((len(supports), 2)),
        "integers": rng.randint(1, 4, (len(supports), 2)).astype(float),
        "generic": rng.uniform(0.5, 1.5, (len(supports), 2)),
    }[kind]
    codes = np.zeros((len(supports), 40))
    np.put_along_axis(codes, np.array(supports), values, axis=1)
    codes *= rng.uniform(0.5, 2, 40)  # a scale for each atom changes nothing
    repeated = repeated_proportions(sparse.csr_array(codes), 1e-8)
    assert np.all(repeated == (kind != "generic"))


def test_no_samples_pin_nothing():
    assert not pinned_atoms(sparse.csr_array((0, 3)), np.eye(3)).any()


@pytest.mark.parametrize("alone", [0, 60])
def test_an_atom_that_needs_another_one_is_marked(rng, alone):
    """A child that is active only with its parent; then one that is also active by itself."""
    codes = np.where(rng.rand(1500, 12) < 0.08, rng.standard_normal((1500, 12)), 0)
    codes[:, 5] = np.where(
        (codes[:, 4] != 0) & (rng.rand(1500) < 0.5), rng.standard_normal(1500), 0
    )
    codes[:alone, 4] = 0
    codes[:alone, 5] = rng.choice([-1, 1], alone) * rng.uniform(0.5, 1.5, alone)
    codes[np.abs(codes) < 0.1] = 0  # of the parent, too: the child then seems to be alone
    marked = accompanied_atoms(sparse.csr_array(codes), 0.1)
    assert np.flatnonzero(marked).tolist() == ([] if alone else [5])


def test_the_best_line_of_a_plane_is_no_atom(rng):
    """Learning picks the line near which most samples lie: it must be clearly ahead of others."""
    plane = rng.standard_normal((40, 2))
    best, share = None, -1
    for angle in np.linspace(0, np.pi, 60, endpoint=False):
        turned = plane @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        hidden = np.sum(np.abs(turned[:, 1]) < 0.15)
        if hidden > share:
            best, share = np.where(np.abs(turned) < 0.15, 0, turned), hidden
    codes = np.zeros((400, 6))
    codes[:40, :2] = best
    codes[40:, 2:] = np.where(rng.rand(360, 4) < 0.3, rng.standard_normal((360, 4)), 0)
    marked = accompanied_atoms(sparse.csr_array(codes), 0.15)
    assert marked.tolist() == [True, True, False, False, False, False]
