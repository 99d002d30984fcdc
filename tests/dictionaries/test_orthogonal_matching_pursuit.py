"""The batched pursuit against scikit-learn's, its stopping rules, degenerate input."""

import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp_gram

from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    orthogonal_matching_pursuit,
)


def dense(pursuit, n_components):
    codes = np.zeros((len(pursuit.atoms), n_components))
    np.add.at(codes, (np.arange(len(codes))[:, None], pursuit.atoms), pursuit.values)
    return codes


def unit_rows(rng, shape):
    D = rng.standard_normal(shape)
    return D / np.linalg.norm(D, axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "m", "k"), [(20, 35, 1), (30, 30, 5), (12, 40, 6)])
def test_equals_scikit_learn(rng, n, m, k):
    D, X = unit_rows(rng, (m, n)), rng.standard_normal((1100, n))
    pursuit = orthogonal_matching_pursuit(X, D, k)
    expected = orthogonal_mp_gram(D @ D.T, D @ X.T, n_nonzero_coefs=k).T
    np.testing.assert_allclose(dense(pursuit, m), expected, atol=1e-9)
    residual = X - expected @ D
    np.testing.assert_allclose(pursuit.residual_square, np.sum(residual**2, axis=1), atol=1e-10)
    np.testing.assert_allclose(
        pursuit.next_correlation, np.abs(residual @ D.T).max(axis=1), atol=1e-10
    )


def test_every_row_is_on_its_own(rng):
    D, X = unit_rows(rng, (24, 10)), rng.standard_normal((70, 10))
    whole = orthogonal_matching_pursuit(X, D, 3)
    for rows in (slice(0, 1), slice(13, 40)):
        part = orthogonal_matching_pursuit(X[rows], D, 3)
        np.testing.assert_array_equal(part.atoms, whole.atoms[rows])
        np.testing.assert_allclose(part.values, whole.values[rows], rtol=1e-12)


def test_stops_at_the_threshold(rng):
    D, X = unit_rows(rng, (24, 10)), rng.standard_normal((200, 10))
    pursuit = orthogonal_matching_pursuit(X, D, 8, min_correlation=0.8)
    sizes = np.count_nonzero(pursuit.values, axis=1)
    assert len(set(sizes)) > 1
    stopped = sizes < 8
    assert np.all(pursuit.next_correlation[stopped] <= 0.8)
    full = orthogonal_matching_pursuit(X, D, 8)
    for size in set(sizes[stopped]):
        rows = sizes == size
        np.testing.assert_array_equal(pursuit.atoms[rows, :size], full.atoms[rows, :size])


def test_exact_samples_stop_by_themselves(rng):
    D = unit_rows(rng, (8, 12))
    codes = np.zeros((50, 8))
    codes[:, 2], codes[:, 5] = 1.0, -2.0
    pursuit = orthogonal_matching_pursuit(codes @ D, D, 6)
    np.testing.assert_allclose(dense(pursuit, 8), codes, atol=1e-12)
    assert np.all(np.count_nonzero(pursuit.values, axis=1) == 2)


def test_zero_rows_and_equal_atoms(rng):
    D = unit_rows(rng, (5, 6))
    D[3] = D[1]
    X = np.vstack([np.zeros(6), D[1], rng.standard_normal(6)])
    pursuit = orthogonal_matching_pursuit(X, D, 5)
    assert not pursuit.values[0].any()
    assert np.isfinite(pursuit.values).all()
    np.testing.assert_allclose(dense(pursuit, 5)[1] @ D, D[1], atol=1e-12)


def test_nonnegative_picks(rng):
    D = unit_rows(rng, (9, 20))
    pursuit = orthogonal_matching_pursuit(-D, D, 1, nonnegative=True)
    assert np.all(pursuit.values >= 0)
    assert np.all(pursuit.atoms[:, 0] != np.arange(9))


def test_first_atoms_can_be_given(rng):
    D, X = unit_rows(rng, (9, 20)), rng.standard_normal((30, 20))
    first = rng.randint(9, size=30)
    pursuit = orthogonal_matching_pursuit(X, D, 3, first=first)
    np.testing.assert_array_equal(pursuit.atoms[:, 0], first)


def test_single_precision_stays_single(rng):
    D, X = unit_rows(rng, (24, 10)), rng.standard_normal((40, 10))
    double = orthogonal_matching_pursuit(X, D, 3)
    single = orthogonal_matching_pursuit(X.astype(np.float32), D.astype(np.float32), 3)
    assert single.values.dtype == np.float32
    same = np.all(single.atoms == double.atoms, axis=1)
    assert same.mean() > 0.9
    np.testing.assert_allclose(single.values[same], double.values[same], atol=1e-4)


def test_the_next_correlation_can_be_left_out(rng):
    D, X = unit_rows(rng, (24, 10)), rng.standard_normal((70, 10))
    whole = orthogonal_matching_pursuit(X, D, 3)
    short = orthogonal_matching_pursuit(X, D, 3, follow=False)
    assert short.next_correlation.size == 0
    for name in ("atoms", "values", "residual_square"):
        np.testing.assert_array_equal(getattr(short, name), getattr(whole, name))


def test_long_supports_of_nearly_dependent_atoms(rng):
    """Samples that have stopped leave nothing that could grow in the steps of others."""
    D = unit_rows(rng, (60, 50))
    D[30:] = D[:30] + 1e-9 * rng.standard_normal((30, 50))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    X = np.vstack([D[:5], rng.standard_normal((40, 50)), np.zeros((1, 50))])
    pursuit = orthogonal_matching_pursuit(X, D, 50)
    assert np.isfinite(pursuit.values).all()
    left = X - dense(pursuit, 60) @ D
    floor = X - X @ np.linalg.pinv(D[:30]) @ D[:30]
    assert np.all(np.linalg.norm(left, axis=1) < np.linalg.norm(floor, axis=1) + 1e-6)
