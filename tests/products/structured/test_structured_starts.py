"""Starts from the lifted problem."""

from __future__ import annotations

from itertools import islice, product

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_structured_product
from sklearn_nnrecover.products.structured.damped_steps import split
from sklearn_nnrecover.products.structured.lifting import lifting_operator
from sklearn_nnrecover.products.structured.structured_residuals import choose_residual
from sklearn_nnrecover.products.structured.structured_starts import (
    best_scale,
    rank_one_on_paths,
    rank_one_tensor,
    starts,
)

from ..structured_cases import IDENTIFIABLE


def outer(vectors):
    tensor = np.ones(())
    for vector in vectors:
        tensor = np.multiply.outer(tensor, vector)
    return tensor


@pytest.mark.parametrize("sizes", [(4, 6), (3, 4, 5), (2, 3, 2, 4)])
def test_rank_one_tensors_are_taken_apart(rng, sizes):
    tensor = outer([rng.standard_normal(size) for size in sizes])
    np.testing.assert_allclose(outer(rank_one_tensor(tensor)), tensor, atol=1e-10)


def test_a_little_noise_moves_the_rank_one_part_a_little(rng):
    tensor = outer([rng.standard_normal(5), rng.standard_normal(6), rng.standard_normal(7)])
    noisy = tensor + 1e-3 * rng.standard_normal(tensor.shape)
    assert np.linalg.norm(outer(rank_one_tensor(noisy)) - tensor) < 0.02


def test_paths_give_magnitudes_and_signs(rng):
    sizes = (4, 3, 5)
    vectors = [rng.uniform(0.5, 2, size) * rng.choice([-1, 1], size) for size in sizes]
    paths = np.array(list(product(*map(range, sizes))))
    paths = paths[rng.permutation(len(paths))[:45]]
    values = np.prod([vector[paths[:, k]] for k, vector in enumerate(vectors)], axis=0)
    found = split(rank_one_on_paths(paths, values, sizes), list(sizes))
    again = np.prod([vector[paths[:, k]] for k, vector in enumerate(found)], axis=0)
    np.testing.assert_allclose(again, values, rtol=1e-8)


def test_first_start_is_the_solution_where_the_lifted_problem_has_one(seed):
    structures = IDENTIFIABLE["blind deconvolution"][0](np.random.RandomState(seed))
    X, _ = make_structured_product(structures, random_state=seed)
    operator = lifting_operator(structures)
    residual = choose_residual(structures, X, operator)
    found = list(islice(starts(residual, operator, X, np.random.RandomState(0)), 3))
    assert [name for name, _ in found] == ["lifted", "random", "random"]
    theta = best_scale(residual, structures, found[0][1], X)
    assert residual.objective(theta) < 1e-16 * np.sum(X**2)


def test_scaled_start_is_the_best_multiple_of_itself(seed, rng):
    structures = IDENTIFIABLE["blind deconvolution"][0](np.random.RandomState(seed))
    X, _ = make_structured_product(structures, random_state=seed)
    residual = choose_residual(structures, X, lifting_operator(structures))
    theta = rng.standard_normal(sum(residual.sizes))
    best = best_scale(residual, structures, theta, X)
    for factor in (0.9, 1.1):
        moved = best.copy()
        moved[: residual.sizes[0]] *= factor
        assert residual.objective(best) <= residual.objective(moved)
