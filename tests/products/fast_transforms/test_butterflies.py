from functools import reduce

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.fft import dct
from scipy.linalg import hadamard

from sklearn_nnrecover.products.fast_transforms.butterflies import (
    butterfly_factors,
    factorize_butterfly,
)
from sklearn_nnrecover.products.fast_transforms.hidden_complex import find_hidden_complex, realify
from sklearn_nnrecover.products.fast_transforms.natural_order import natural_order_butterfly
from sklearn_nnrecover.products.fast_transforms.rank_one_splits import _row_groups, find_split


def scrambled(A, rng):
    """Rows and columns permuted, signs flipped."""
    n_rows, n_columns = A.shape
    A = A[rng.permutation(n_rows)][:, rng.permutation(n_columns)]
    return A * rng.choice([-1.0, 1.0], n_rows)[:, None] * rng.choice([-1.0, 1.0], n_columns)


def fourier(n):
    return np.fft.fft(np.eye(n))


def orthogonal(n, rng):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def product(factors):
    return reduce(lambda left, right: left @ right, [factor.toarray() for factor in factors])


def relative_error(A, factors):
    return np.linalg.norm(A - product(factors)) / np.linalg.norm(A)


def n_nonzero(factors):
    return sum(factor.nnz for factor in factors)


@pytest.mark.parametrize("n", [8, 64, 128])
@pytest.mark.parametrize("transform", [lambda n: hadamard(n).astype(float), fourier])
def test_scrambled_transform_gets_its_minimal_number_of_nonzeros(n, transform, rng):
    A = scrambled(transform(n), rng)
    factors = factorize_butterfly(A)
    assert relative_error(A, factors) < 1e-13
    assert n_nonzero(factors) == 2 * n * int(np.log2(n))
    assert len(factors) == int(np.log2(n))
    assert all(isinstance(factor, sp.csr_array) for factor in factors)


@pytest.mark.parametrize("n, radices", [(48, 11), (60, 12), (90, 13), (105, 15)])
def test_mixed_radix_fourier(n, radices, rng):
    A = scrambled(fourier(n), rng)
    factors = factorize_butterfly(A)
    assert relative_error(A, factors) < 1e-13
    assert n_nonzero(factors) == n * radices


@pytest.mark.parametrize("sizes", [(3, 16), (6, 8), (2, 3, 5), (3, 3, 3, 3), (5, 7)])
def test_kronecker_product_of_orthogonal_factors(sizes, rng):
    A = scrambled(reduce(np.kron, [orthogonal(size, rng) for size in sizes]), rng)
    factors = factorize_butterfly(A)
    assert relative_error(A, factors) < 1e-12
    assert n_nonzero(factors) == len(A) * sum(sizes)


def test_rectangular_kronecker_product(rng):
    A = np.kron(rng.normal(size=(4, 6)), rng.normal(size=(5, 3)))
    A = scrambled(A, rng)
    factors = factorize_butterfly(A)
    assert relative_error(A, factors) < 1e-12
    assert n_nonzero(factors) < 0.75 * A.size


@pytest.mark.parametrize("n, share", [(32, 0.56), (64, 0.31), (128, 0.19)])
def test_cosine_transform_through_its_hidden_complex_half(n, share, rng):
    A = scrambled(dct(np.eye(n), axis=0, norm="ortho"), rng)
    factors = factorize_butterfly(A)
    assert all(np.isrealobj(factor.data) for factor in factors)
    assert relative_error(A, factors) < 1e-13
    assert n_nonzero(factors) <= share * n * n


def test_cosine_transform_of_type_four_is_a_complex_matrix_in_disguise(rng):
    n = 16
    A = scrambled(dct(np.eye(n), type=4, axis=0, norm="ortho"), rng)
    hidden = find_hidden_complex(A, 1e-9, rng)
    assert hidden.matrix.shape == (n // 2, n // 2)
    assert_allclose(np.abs(hidden.matrix), np.abs(hidden.matrix[0, 0]), rtol=1e-10)
    rebuilt = hidden.left @ realify(sp.csr_array(hidden.matrix)) @ hidden.right
    assert_allclose(rebuilt.toarray(), A, atol=1e-13)


def test_hidden_complex_is_not_seen_in_a_random_orthogonal_matrix(rng):
    assert find_hidden_complex(orthogonal(16, rng), 1e-3, rng) is None


@pytest.mark.parametrize("transform", [lambda n: hadamard(n).astype(float), fourier])
@pytest.mark.parametrize("noise", [1e-4, 1e-2])
def test_noise_is_carried_through_at_its_own_size(transform, noise, rng):
    A = scrambled(transform(32), rng)
    noisy = A + noise * rng.normal(size=A.shape)
    factors = factorize_butterfly(noisy, tol=4 * noise)
    assert relative_error(A, factors) < 2 * noise
    assert n_nonzero(factors) <= 0.5 * A.size
    with pytest.raises(ValueError, match="within tol"):
        factorize_butterfly(noisy, tol=noise / 100)


def test_random_butterfly_in_natural_order_is_read_off_without_search(rng):
    n, depth = 32, 5
    supports = [
        np.kron(np.eye(2**k), np.kron(np.ones((2, 2)), np.eye(n >> (k + 1)))) for k in range(depth)
    ]
    A = reduce(np.matmul, [support * rng.normal(size=(n, n)) for support in supports])
    factors = natural_order_butterfly(A, 1e-7)
    assert relative_error(A, factors) < 1e-12
    for factor, support in zip(factors, supports, strict=True):
        assert_array_equal(factor.toarray() != 0, support != 0)
    assert_allclose(product(factorize_butterfly(A, permuted=False)), A, atol=1e-10)
    with pytest.raises(ValueError, match="no butterfly structure"):
        factorize_butterfly(A[rng.permutation(n)], permuted=False)


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_scrambled_random_butterfly_with_small_entries(noise, rng):
    n, depth = 32, 5
    supports = [
        np.kron(np.eye(2**k), np.kron(np.ones((2, 2)), np.eye(n >> (k + 1)))) for k in range(depth)
    ]
    # Magnitudes from 1/2 to 2: ratios to small entries are the noisiest.
    entries = [rng.choice([-1, 1], (n, n)) * rng.uniform(0.5, 2, (n, n)) for _ in range(depth)]
    A = scrambled(reduce(np.matmul, [s * e for s, e in zip(supports, entries, strict=True)]), rng)
    noisy = A + noise * np.sqrt(np.mean(A**2)) * rng.normal(size=A.shape)
    factors = factorize_butterfly(noisy, tol=max(8 * noise, 1e-9))
    assert relative_error(noisy, factors) <= max(2 * noise, 1e-10)
    assert n_nonzero(factors) <= 0.75 * A.size


def test_direct_sum_of_two_transforms(rng):
    A = np.zeros((40, 40))
    A[:32, :32] = hadamard(32)
    A[32:, 32:] = hadamard(8)
    A = scrambled(A, rng)
    factors = factorize_butterfly(A)
    assert relative_error(A, factors) < 1e-13
    assert n_nonzero(factors) <= 2 * 32 * 5 + 2 * 8 * 5


@pytest.mark.parametrize("kind", ["real", "complex", "wide", "orthogonal"])
def test_dense_random_matrix_ends_with_a_clear_error(kind, rng):
    A = {
        "real": lambda: rng.normal(size=(48, 48)),
        "complex": lambda: rng.normal(size=(32, 32)) + 1j * rng.normal(size=(32, 32)),
        "wide": lambda: rng.normal(size=(20, 60)),
        "orthogonal": lambda: orthogonal(48, rng),
    }[kind]()
    with pytest.raises(ValueError, match="has no butterfly structure within tol"):
        factorize_butterfly(A)
    with pytest.raises(ValueError, match="has no butterfly structure within tol"):
        factorize_butterfly(A, tol=0.3)


def test_one_changed_entry_is_kept_at_the_price_of_a_few_denser_blocks(rng):
    A = hadamard(32).astype(float)
    row, column = rng.randint(32, size=2)
    A[row, column] += 1.0
    factors = factorize_butterfly(A)
    assert abs(product(factors)[row, column] - A[row, column]) < 1e-9
    assert 2 * 32 * 5 < n_nonzero(factors) <= 0.75 * A.size


def test_budget_is_kept():
    with pytest.raises(ValueError, match="has no butterfly structure"):
        factorize_butterfly(scrambled(hadamard(64), np.random.RandomState(0)), max_blocks=3)


@pytest.mark.parametrize(
    "A, message",
    [
        (np.ones(4), "must be a matrix of numbers"),
        (np.array([["a", "b"]]), "must be a matrix of numbers"),
        (np.full((4, 4), np.nan), "contains NaN or infinity"),
        (np.zeros((4, 4)), "no non-zero entry"),
    ],
)
def test_bad_input(A, message):
    with pytest.raises(ValueError, match=message):
        factorize_butterfly(A)


def test_bad_tolerance():
    with pytest.raises(ValueError, match=r"tol must lie in \[0, 1\)"):
        factorize_butterfly(hadamard(8), tol=1.5)


def test_input_is_left_alone_and_the_seed_decides(rng):
    A = scrambled(fourier(24), rng)
    A.flags.writeable = False
    first, second = (factorize_butterfly(A, random_state=3) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert_array_equal(one.toarray(), other.toarray())


def test_estimator_entry_point_returns_none_instead_of_raising(rng):
    A = scrambled(hadamard(16).astype(float), rng)
    assert relative_error(A, butterfly_factors(A, rng=rng)) < 1e-12
    assert relative_error(A, butterfly_factors(sp.csr_array(A), rng=rng)) < 1e-12
    assert butterfly_factors(rng.normal(size=(200, 10)), rng=rng) is None
    assert butterfly_factors(rng.normal(size=(30, 30)), rng=rng) is None
    assert butterfly_factors(np.ones((2, 2)), rng=rng) is None


def test_split_reports_classes_that_cover_the_columns(rng):
    A = scrambled(hadamard(16).astype(float), rng)
    split = find_split(A, 1e-7, rng)
    assert_array_equal(np.sort(np.concatenate(split.classes)), np.arange(16))
    rebuilt = np.zeros_like(A)
    start = 0
    for columns, child in zip(split.classes, split.children, strict=True):
        rebuilt[:, columns] = split.left[:, start : start + len(child)] @ child
        start += len(child)
    assert_allclose(rebuilt, A, atol=1e-12)
    assert split.cost <= 1.0


def random_rotations(n, rng):
    """Butterfly of random plane rotations: entries are products of log2(n) sines and cosines."""
    A, half = np.eye(n), 1
    while half < n:
        level = np.zeros((n, n))
        first = np.flatnonzero(np.arange(n) // half % 2 == 0)
        angle = rng.uniform(0, 2 * np.pi, len(first))
        level[first, first] = level[first + half, first + half] = np.cos(angle)
        level[first, first + half], level[first + half, first] = -np.sin(angle), np.sin(angle)
        A, half = level @ A, 2 * half
    return A


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_small_entries_do_not_wreck_a_noisy_butterfly(noise, rng):
    n = 64
    A = scrambled(random_rotations(n, rng), rng)
    noisy = A + noise * np.sqrt(np.mean(A**2)) * rng.normal(size=A.shape)
    factors = factorize_butterfly(noisy, tol=4 * noise)
    assert relative_error(A, factors) < noise
    assert n_nonzero(factors) < 1.6 * 2 * n * np.log2(n)


def test_a_row_that_is_noise_on_a_class_does_not_merge_two_groups(rng):
    noise, classes = 1e-2, [np.arange(20), np.arange(20, 40)]
    u, v = rng.normal(size=(2, 40))
    rows = np.array([u, -2 * u, v, 1.5 * v])
    rows[1, 20:] = rows[2, :20] = 0.0  # the second and the third row match on both classes
    A = rows + noise * rng.normal(size=rows.shape)
    labels = _row_groups(A, classes, noise, rng)
    assert labels[0] != labels[3]
    assert labels[0] == labels[1]
    assert labels[2] == labels[3]


def test_hartley_is_a_fast_transform_and_prime_lengths_are_refused(rng):
    n = 256
    hartley = scrambled(fourier(n).real - fourier(n).imag, rng)
    factors = factorize_butterfly(hartley)
    assert relative_error(hartley, factors) < 1e-12
    assert n_nonzero(factors) < 0.2 * n**2
    with pytest.raises(ValueError, match="no butterfly structure"):
        factorize_butterfly(scrambled(fourier(61), rng))
