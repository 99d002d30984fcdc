import numpy as np
import pytest

from sklearn_nnrecover.linalg.joint_diagonalization import joint_diagonalize


def congruent(rng, k, q, condition=10.0):
    """Matrices B diag(d_i) B' with a B of the given condition number before its scaling."""
    left, right = np.linalg.qr(rng.standard_normal((2, k, k)))[0]
    B = (left * np.logspace(0, -np.log10(condition), k)) @ right
    B /= np.linalg.norm(B, axis=0)
    d = rng.standard_normal((q, k))
    return np.einsum("aj,ij,bj->iab", B, d, B), B


def distance(estimated, true):
    """Largest distance of a true column to an estimated one, up to sign."""
    cosines = np.abs(true.T @ estimated)
    nearest = estimated[:, np.argmax(cosines, axis=1)]
    signs = np.sign(np.sum(nearest * true, axis=0))
    return np.max(np.linalg.norm(nearest * signs - true, axis=0))


@pytest.mark.parametrize(("k", "q"), [(2, 2), (5, 2), (5, 5), (12, 30)])
def test_exact_matrices_are_separated_to_rounding(rng, k, q):
    matrices, B = congruent(rng, k, q)
    result = joint_diagonalize(matrices, rng=rng)
    assert result.residual < 1e-11
    # Two matrices only leave the spacing of k eigenvalues, which may be small.
    assert distance(result.vectors, B) < (1e-4 if q == 2 else 1e-10)
    rebuilt = np.einsum("aj,ij,bj->iab", result.vectors, result.coefficients, result.vectors)
    np.testing.assert_allclose(rebuilt, matrices, atol=1e-10 * np.abs(matrices).max())


def test_nearly_dependent_vectors_lose_no_more_than_their_condition(rng):
    matrices, B = congruent(rng, 6, 6, condition=1e4)
    assert distance(joint_diagonalize(matrices, rng=rng).vectors, B) < 1e-7


def test_perturbed_matrices_move_the_vectors_in_proportion(rng):
    matrices, B = congruent(rng, 6, 12, condition=3.0)
    noise = rng.standard_normal(matrices.shape)
    noise += noise.transpose(0, 2, 1)
    for size in (1e-6, 1e-4):
        result = joint_diagonalize(matrices + size * noise, rng=rng)
        assert distance(result.vectors, B) < 300 * size
        assert 0.01 * size < result.residual < 30 * size


def test_proportional_coefficients_are_reported_as_not_separated(rng):
    matrices, B = congruent(rng, 4, 6)
    d = rng.standard_normal((6, 4))
    d[:, 1] = 2 * d[:, 0]
    matrices = np.einsum("aj,ij,bj->iab", B, d, B)
    result = joint_diagonalize(matrices, rng=rng)
    assert result.separation < 1e-6
    # The other two vectors stand all the same.
    assert distance(result.vectors, B[:, 2:]) < 1e-8


def test_skew_pencils_without_real_eigenvectors_do_not_diagonalise(rng):
    """Two indefinite matrices whose pencil has complex eigenvalues."""
    matrices = np.array([[[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    result = joint_diagonalize(matrices, rng=rng)
    assert np.all(np.isfinite(result.vectors))
    assert result.residual > 0.1


def test_one_dimension_and_zero_matrices(rng):
    result = joint_diagonalize(np.array([[[2.0]], [[-3.0]]]), rng=rng)
    np.testing.assert_array_equal(result.coefficients, [[2.0], [-3.0]])
    assert joint_diagonalize(np.zeros((2, 3, 3)), rng=rng).separation == 0.0
