import numpy as np
import pytest
from scipy import sparse

from sklearn_nnrecover.datasets import make_structured_product
from sklearn_nnrecover.products.structured.lifted_spectrum import (
    kernel_basis,
    lifted_spectrum,
    matrix_spectrum,
)
from sklearn_nnrecover.products.structured.lifting import lifting_operator, merge_equal_rows
from sklearn_nnrecover.products.structures import (
    Basis,
    Convolution,
    Diagonal,
    SparseSupport,
    butterfly_levels,
)

from ..structured_cases import AMBIGUOUS, IDENTIFIABLE, gaussian

CASES = {name: case[:2] for name, case in (IDENTIFIABLE | AMBIGUOUS).items()}


@pytest.mark.parametrize("name", CASES)
def test_lifts_the_product(name, seed):
    make, n_columns = CASES[name]
    structures = make(np.random.RandomState(seed))
    X, truth = make_structured_product(structures, random_state=seed)
    operator = lifting_operator(structures)
    assert operator.shape == (X.size, n_columns)
    np.testing.assert_allclose(
        operator @ operator.segre(truth.parameters_), X.ravel(), atol=1e-11 * np.abs(X).max()
    )


def test_contractions_are_the_matrix(rng):
    for structures in (
        gaussian(rng, 3, 4, 7),
        [Convolution(9, 3), Basis(rng.standard_normal((2, 9, 4)))],
        [Basis(rng.standard_normal((3, 4, 5)))],
    ):
        explicit = lifting_operator(structures, explicit=True)
        implicit = lifting_operator(structures, explicit=False)
        assert implicit.matrix is None
        A = explicit.matrix.toarray() if sparse.issparse(explicit.matrix) else explicit.matrix
        x, y = (rng.standard_normal(n) for n in reversed(A.shape))
        np.testing.assert_allclose(implicit @ x, A @ x, atol=1e-10)
        np.testing.assert_allclose(implicit.T @ y, A.T @ y, atol=1e-10)
        np.testing.assert_allclose(implicit @ np.eye(A.shape[1]), A, atol=1e-10)


def test_infeasible_paths_have_no_column(rng):
    supports = [rng.random_sample((6, 6)) < 0.3 for _ in range(3)]
    for support in supports:
        support[rng.randint(6), rng.randint(6)] = True
        np.fill_diagonal(support, True)
    structures = [SparseSupport(support) for support in supports]
    operator = lifting_operator(structures)
    walks = np.linalg.multi_dot([support.astype(int) for support in supports]).sum()
    assert operator.shape[1] == walks
    dense = operator.matrix.toarray() if sparse.issparse(operator.matrix) else operator.matrix
    assert (np.abs(dense).sum(axis=0) == 1).all()


def test_cancelled_products_are_no_paths():
    left = Basis([sparse.csr_array([[1.0, 1.0]]), sparse.csr_array([[1.0, 0.0]])])
    right = Basis([sparse.csr_array([[1.0], [-1.0]])])
    assert lifting_operator([left, right]).paths.tolist() == [[1, 0]]


def test_derivative_of_the_segre_embedding(rng):
    operator = lifting_operator(butterfly_levels(8))
    parameters = [rng.standard_normal(16) for _ in range(3)]
    parameters[1][3] = 0.0  # products of the others must not divide by it
    jacobian = operator.segre_jacobian(parameters)
    step = rng.standard_normal(48)
    shifted = [
        [h + sign * 1e-6 * s for h, s in zip(parameters, np.split(step, 3), strict=True)]
        for sign in (1, -1)
    ]
    difference = (operator.segre(shifted[0]) - operator.segre(shifted[1])) / 2e-6
    np.testing.assert_allclose(jacobian @ step, difference, atol=1e-6)


def test_equal_rows_merge_without_changing_the_problem(rng):
    distinct = np.round(rng.standard_normal((5, 3)), 1)
    A, x = distinct[rng.randint(5, size=40)], rng.standard_normal(40)
    merged, data, scatter = merge_equal_rows(sparse.csr_array(A), x)
    assert merged.shape[0] <= 5
    for _ in range(3):
        t = rng.standard_normal(3)
        value = np.sum((merged @ t - data) ** 2) + scatter**2
        assert value == pytest.approx(np.sum((A @ t - x) ** 2), rel=1e-10)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25)])
@pytest.mark.parametrize("rank", [25, 12])
def test_spectrum_of_matrices(shape, rank, rng):
    A = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    spectrum = matrix_spectrum(A)
    singular = np.linalg.svd(A, compute_uv=False)
    true_rank = min(rank, *shape)
    assert spectrum.kernel_dimension == shape[1] - true_rank
    assert spectrum.sigma_min == pytest.approx(singular[true_rank - 1], rel=1e-6)
    assert spectrum.sigma_max == pytest.approx(singular[0])


def test_large_blocks_get_extreme_singular_values_only(rng, monkeypatch):
    monkeypatch.setattr(
        "sklearn_nnrecover.products.structured.lifted_spectrum.ALL_SINGULAR_VALUES", 10
    )
    A = rng.standard_normal((80, 60))
    singular = np.linalg.svd(A, compute_uv=False)
    spectrum = matrix_spectrum(A)
    assert spectrum.method == "inverse Lanczos" and spectrum.kernel_dimension == 0
    assert spectrum.sigma_min == pytest.approx(singular[-1], rel=1e-4)
    A[:, 7] = A[:, :5] @ np.ones(5)
    A[:, 9] = 0
    spectrum = matrix_spectrum(A)
    assert spectrum.method == "Gram matrix" and spectrum.kernel_dimension == 2
    singular = np.linalg.svd(A, compute_uv=False)
    assert spectrum.sigma_min == pytest.approx(singular[-3], rel=1e-6)


def test_beyond_the_limit_lanczos_or_an_open_question(rng):
    Q = np.linalg.qr(rng.standard_normal((200, 60)))[0] * np.linspace(1, 3, 60)
    spectrum = matrix_spectrum(Q, max_columns=50)
    assert spectrum.method == "Lanczos" and spectrum.kernel_dimension == 0
    assert spectrum.sigma_min == pytest.approx(1, rel=1e-3)
    singular = np.linalg.qr(rng.standard_normal((60, 60)))[0] * np.arange(60)
    assert matrix_spectrum(singular, max_columns=50).kernel_dimension is None
    assert matrix_spectrum(rng.standard_normal((51, 60)), max_columns=50).kernel_dimension is None


def test_sparse_blocks_are_separate(rng):
    blocks = [rng.standard_normal((6, 3)), rng.standard_normal((4, 4)), np.array([[2.0], [0.0]])]
    blocks[0][:, 2] = blocks[0][:, 0]
    A = sparse.block_diag(blocks).tocsr()[rng.permutation(12)][:, rng.permutation(8)]
    spectrum = matrix_spectrum(A)
    singular = np.linalg.svd(A.toarray(), compute_uv=False)
    assert spectrum.kernel_dimension == 1
    assert spectrum.sigma_min == pytest.approx(singular[6])
    assert spectrum.sigma_max == pytest.approx(singular[0])


def test_kernel_basis(rng):
    operator = lifting_operator(gaussian(rng, 3, 5, 9))
    kernel = kernel_basis(operator)
    assert kernel.shape == (125, 125 - 81)
    assert np.abs(operator @ kernel).max() < 1e-10
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(44), atol=1e-12)
    assert lifted_spectrum(operator).kernel_dimension == 44
    with pytest.raises(ValueError, match="max_columns=100"):
        kernel_basis(operator, max_columns=100)


def test_memory_is_estimated_first(rng):
    structures = [Basis(rng.standard_normal((60, 8, 8))) for _ in range(6)]
    with pytest.raises(MemoryError, match=r"60 x 60 x 60 x 60 x 60 x 60 .* MiB"):
        lifting_operator(structures)
    with pytest.raises(MemoryError, match=r"structures\[1\]"):
        lifting_operator([Diagonal(300), Convolution(300, 300)], explicit=True, max_bytes=1e5)
