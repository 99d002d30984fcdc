"""Damped steps, their iteration, and the geometry of its solution."""

from __future__ import annotations

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_structured_product
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.structured.damped_steps import (
    damped_solver,
    normal_solver,
    triangularise,
)
from sklearn_nnrecover.products.structured.factor_residuals import FactorResidual
from sklearn_nnrecover.products.structured.levenberg_marquardt import (
    equal_norms,
    levenberg_marquardt,
    local_geometry,
)

from ..structured_cases import gaussian


def problem(seed, noise=0.0):
    structures = gaussian(np.random.RandomState(seed), 2, 5, 12)
    X, truth = make_structured_product(structures, noise=noise, random_state=seed)
    norm = np.linalg.norm(X)
    theta = np.concatenate([h / np.sqrt(norm) for h in truth.parameters_])
    return FactorResidual(structures, X / norm), theta


def test_both_solvers_take_the_damped_least_squares_step(rng):
    J, r = rng.standard_normal((30, 7)), rng.standard_normal(30)
    for mu in (1e-3, 1.0):
        expected = -np.linalg.solve(J.T @ J + mu * np.eye(7), J.T @ r)
        np.testing.assert_allclose(damped_solver(J, r)(mu), expected, rtol=1e-8)
        np.testing.assert_allclose(normal_solver(J.T @ J, J.T @ r)(mu), expected, rtol=1e-8)


def test_null_directions_stay_out_of_the_undamped_step(rng):
    J = rng.standard_normal((30, 7))
    J[:, 6] = J[:, 0]
    step = damped_solver(J, rng.standard_normal(30))(0.0)
    assert np.isfinite(step).all()
    assert step[0] == pytest.approx(step[6])


def test_triangle_of_blocks_has_the_same_normal_matrix(rng):
    A = rng.standard_normal((50, 6))
    triangle = triangularise(iter([A[:20], A[20:23], A[23:]]))
    np.testing.assert_allclose(triangle.T @ triangle, A.T @ A, atol=1e-12)
    with pytest.raises(ValueError, match="no block"):
        triangularise(iter([]))


def test_iteration_ends_at_the_truth_from_nearby(seed, rng):
    residual, theta = problem(seed)
    start = theta + 0.01 * np.linalg.norm(theta) * rng.standard_normal(len(theta)) / 3
    ending = run_to_end(levenberg_marquardt(residual, start))
    assert ending.converged and ending.objective < 1e-25


def test_objective_decreases_and_the_budget_is_kept(seed, rng):
    residual, theta = problem(seed, noise=0.05)
    steps = []
    iteration = levenberg_marquardt(residual, rng.standard_normal(len(theta)), max_iter=4)
    while True:
        try:
            steps.append(next(iteration).objective)
        except StopIteration as stop:
            ending = stop.value
            break
    assert np.all(np.diff(steps) < 0)
    assert ending.n_iter <= 4


def test_layers_of_equal_norms_have_the_same_product(rng):
    theta = np.concatenate([3 * rng.standard_normal(4), 0.1 * rng.standard_normal(5)])
    balanced = equal_norms(theta, [4, 5])
    assert np.linalg.norm(balanced[:4]) == pytest.approx(np.linalg.norm(balanced[4:]))
    np.testing.assert_allclose(
        np.outer(balanced[:4], balanced[4:]), np.outer(theta[:4], theta[4:]), rtol=1e-12
    )
    zero = np.concatenate([np.zeros(4), theta[4:]])
    np.testing.assert_array_equal(equal_norms(zero, [4, 5]), zero)


def test_geometry_knows_the_scale_of_a_product(seed):
    residual, theta = problem(seed)
    rank, null_space, variance = local_geometry(residual, equal_norms(theta, residual.sizes))
    assert rank == len(theta) - 1
    assert null_space.shape == (len(theta), 1)
    jacobian = residual.jacobian(equal_norms(theta, residual.sizes))[0]
    np.testing.assert_allclose(
        variance, np.diagonal(np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-12)), rtol=1e-4
    )
