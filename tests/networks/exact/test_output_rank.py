import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.networks.exact.output_rank import output_rank
from sklearn_nnrecover.networks.model.design import orthonormal_design


def rank_of(X, Y, intercept=True):
    return output_rank(orthonormal_design(X, Y, np.ones(len(X)), intercept=intercept)[0])


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("n_outputs", [4, 7])
def test_rank_is_the_width(seed, intercept, n_outputs):
    X, Y, _ = make_relu_network(
        200, 6, n_hidden=4, n_outputs=n_outputs, bias=intercept, random_state=seed
    )
    outputs = rank_of(X, Y, intercept)
    assert (outputs.rank, outputs.n_linear, outputs.n_kinked) == (4, 0, 4)
    assert outputs.gap > 1e6
    gram = outputs.kinked.T @ outputs.kinked / len(X)
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-12)


def test_means_over_many_samples_add_no_rank(seed):
    X, Y, _ = make_relu_network(50_000, 3, n_hidden=3, n_outputs=5, random_state=seed)
    # Means of outputs far from zero are rounded most.
    outputs = rank_of(X, Y + 100.0)
    assert outputs.rank == 3 and outputs.gap > 30


def test_units_never_inactive_are_counted_as_linear(rng):
    X = rng.standard_normal((200, 6))
    W, A = rng.standard_normal((6, 5)), rng.standard_normal((5, 8))
    bias = np.zeros(5)
    bias[:2] = 0.3 - (X @ W[:, :2]).min(axis=0)
    outputs = rank_of(X, np.maximum(X @ W + bias, 0.0) @ A)
    assert (outputs.rank, outputs.n_linear) == (5, 2)
    # The constant and two linear functions.
    assert outputs.linear.shape == (7, 3)


def test_noise_has_full_rank_and_constants_have_none(rng):
    X = rng.standard_normal((50, 3))
    assert rank_of(X, rng.standard_normal((50, 4))).rank == 4
    assert rank_of(X, np.full((50, 2), 3.0)).rank == 0
    linear = rank_of(X, X @ rng.standard_normal((3, 4)) + 1.0)
    assert (linear.rank, linear.n_kinked) == (3, 0)


def test_output_columns_of_different_scale_count_alike(seed):
    X, Y, _ = make_relu_network(200, 6, n_hidden=3, n_outputs=3, random_state=seed)
    outputs = rank_of(X, Y * [1e5, 1.0, 1e-5])
    assert outputs.rank == 3
