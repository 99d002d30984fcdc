import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.two_layer_network import (
    fit_output_layer,
    residual_sum_of_squares,
)
from sklearn_nnrecover.networks.search.descent import Descent
from sklearn_nnrecover.networks.search.greedy_starts import (
    candidate_falls,
    greedy_start,
    refine_candidates,
)
from sklearn_nnrecover.networks.search.least_squares_search import same_units, search_least_squares
from sklearn_nnrecover.networks.search.random_hyperplanes import random_hyperplanes
from sklearn_nnrecover.networks.search.recombination import PoolGram, select_units
from sklearn_nnrecover.networks.search.sign_free_starts import best_signs
from sklearn_nnrecover.networks.search.unit_surgery import replace_units, unit_usefulness
from sklearn_nnrecover.networks.search.variable_projection import (
    SeparableLeastSquares,
    variable_projection,
)


def problem(rng, n_samples, n_features, bias=True, **shape):
    X, y, truth = make_relu_network(n_samples, n_features, bias=bias, random_state=rng, **shape)
    samples, _ = orthonormal_design(X, y.reshape(n_samples, -1), np.ones(n_samples), intercept=bias)
    T = X @ truth.coefs_[0] + truth.intercepts_[0]
    V = np.linalg.lstsq(samples.Z, T, rcond=None)[0]
    return samples, V / np.linalg.norm(V, axis=0)


def test_candidate_falls_are_those_of_a_refit(rng):
    samples, V = problem(rng, 100, 4, n_hidden=2, n_outputs=2, noise=0.1)
    samples = samples._replace(weight=rng.uniform(0.5, 2, 100))
    separable = SeparableLeastSquares(samples)
    at = separable.project(V)
    candidates = random_hyperplanes(samples, 5, rng)
    falls = candidate_falls(separable, at, candidates)
    for j in range(5):
        more = fit_output_layer(np.column_stack([V, candidates[:, j]]), samples)
        assert at.loss - residual_sum_of_squares(more, samples) == pytest.approx(
            falls[j], rel=1e-6, abs=1e-9 * at.loss
        )


def test_a_copy_of_a_present_unit_scores_nothing(rng):
    samples, V = problem(rng, 100, 4, n_hidden=2, n_outputs=2, noise=0.1)
    separable = SeparableLeastSquares(samples)
    assert candidate_falls(separable, separable.project(V), V[:, :1]) == 0


def test_random_hyperplanes_pass_through_samples(rng):
    samples, _ = problem(rng, 50, 3, n_hidden=2, n_outputs=1)
    V = random_hyperplanes(samples, 20, rng)
    np.testing.assert_allclose(np.abs(samples.Z @ V).min(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_refinement_raises_falls_and_finds_a_missing_unit(rng, bias):
    samples, V = problem(rng, 400, 4, n_hidden=3, n_outputs=2, bias=bias)
    separable = SeparableLeastSquares(samples)
    at = separable.project(V[:, :2])
    near = V[:, [2]] + 0.05 * rng.standard_normal((len(V), 4))
    near /= np.linalg.norm(near, axis=0)
    refined, falls = refine_candidates(separable, at, near, n_steps=12)
    assert np.all(falls >= candidate_falls(separable, at, near))
    assert falls.max() >= (1 - 1e-6) * at.loss
    assert np.max(refined.T @ V[:, 2]) > 1 - 1e-6


def test_usefulness_is_the_rise_of_the_loss(rng):
    samples, V = problem(rng, 100, 4, n_hidden=3, n_outputs=2, noise=0.1)
    separable = SeparableLeastSquares(samples)
    at = separable.project(V)
    rises = [separable.project(np.delete(V, j, axis=1)).loss - at.loss for j in range(3)]
    np.testing.assert_allclose(unit_usefulness(at), rises, rtol=1e-6)


def test_pool_gram_knows_losses_of_subsets(rng):
    samples, V = problem(rng, 100, 4, n_hidden=3, n_outputs=2, noise=0.1)
    separable = SeparableLeastSquares(samples)
    pool = np.hstack([V, random_hyperplanes(samples, 4, rng)])
    gram = PoolGram(separable, pool)
    for subset in ([0, 1, 2], [3, 4], [6]):
        expected = separable.project(pool[:, subset]).loss
        assert gram.loss(subset) == pytest.approx(expected, rel=1e-4)
    rest = gram.falls([3, 4])
    assert gram.loss([3, 4]) - gram.loss([3, 4, 0]) == pytest.approx(rest[0], rel=1e-3)


def test_selection_finds_the_true_units_in_a_pool(rng):
    samples, V = problem(rng, 300, 4, n_hidden=3, n_outputs=3)
    pool = np.hstack([random_hyperplanes(samples, 6, rng), V])
    order = rng.permutation(9)
    chosen = select_units(SeparableLeastSquares(samples), pool[:, order], 3)
    assert same_units(chosen, V)


def test_signs_that_fit_without_a_linear_part(rng):
    samples, V = problem(rng, 300, 6, n_hidden=4, n_outputs=3)
    wrong = V * rng.choice([-1.0, 1.0], 4)
    signs = best_signs(SeparableLeastSquares(samples), wrong, rng)
    np.testing.assert_allclose(wrong * signs, V)


def test_surgery_mends_one_wrong_unit(rng):
    samples, V = problem(rng, 500, 4, n_hidden=3, n_outputs=3, noise=0.05)
    descent = Descent(SeparableLeastSquares(samples), budget=5000)
    oracle = descent.run(V)
    start = np.column_stack([V[:, :2], random_hyperplanes(samples, 1, rng)])
    # Not descended from: that would move the right units too.
    mended = replace_units(descent, descent.problem.project(start), V[:, :0], rng)
    assert mended.loss <= oracle.loss * (1 + 1e-2)


def test_abandoned_and_exhausted_descents(rng):
    samples, V = problem(rng, 200, 5, n_hidden=4, n_outputs=1, noise=0.1)
    descent = Descent(SeparableLeastSquares(samples), budget=10)
    best = descent.run(V)
    lost = descent.run(random_hyperplanes(samples, 4, rng), beat=1e-3 * best.loss, patience=0.0)
    assert lost.loss > 1e-3 * best.loss
    descent.run(greedy_start(descent, 4, rng))
    assert descent.exhausted


@pytest.mark.parametrize(
    ("n_features", "n_hidden", "n_outputs", "n_samples", "noise"),
    [(5, 3, 3, 1000, 0.2), (8, 5, 4, 1000, 0.05), (4, 2, 1, 2000, 0.05)],
)
def test_optimum_is_as_low_as_from_the_truth(
    rng, n_features, n_hidden, n_outputs, n_samples, noise
):
    samples, V = problem(
        rng, n_samples, n_features, n_hidden=n_hidden, n_outputs=n_outputs, noise=noise
    )
    oracle = run_to_end(variable_projection(samples, V))
    search = run_to_end(search_least_squares(samples, n_hidden, rng=rng))
    # Two units of log-likelihood: kinks at samples make neighbours of an optimum that close.
    assert samples.Y.size * np.log(search.loss / oracle.loss) < 4
    assert search.loss == pytest.approx(residual_sum_of_squares(search.network, samples))
    assert 1 <= search.n_starts <= 6
    assert all(0 <= rival.evidence <= 12 for rival in search.rivals)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_noiseless_with_fewer_outputs_than_units(rng, n_outputs):
    samples, V = problem(rng, 1000, 5, n_hidden=3, n_outputs=n_outputs)
    search = run_to_end(search_least_squares(samples, 3, rng=rng))
    assert search.loss <= 1e-26 * samples.Y.size
    assert search.n_agreeing >= 1
    assert same_units(search.network.V, V)


def test_budget_bounds_the_work(rng):
    samples, _ = problem(rng, 200, 10, n_hidden=5, n_outputs=1, noise=0.5)
    search = run_to_end(search_least_squares(samples, 5, rng=rng, max_iter=50))
    assert np.isfinite(search.loss)
    # The run that is under way when the budget ends, and the last polish, are let finish.
    assert search.n_iter <= 50 + 2 * 60 + 200
    assert search.n_agreeing <= search.n_starts


def test_same_seed_same_bits(seed):
    samples, _ = problem(np.random.RandomState(seed), 200, 4, n_hidden=3, n_outputs=1, noise=0.1)
    a, b = (
        run_to_end(search_least_squares(samples, 3, rng=np.random.RandomState(seed)))
        for _ in range(2)
    )
    np.testing.assert_array_equal(a.network.V, b.network.V)
    assert a.loss == b.loss


def test_too_many_units_for_the_rows_still_returns(rng):
    samples, _ = problem(rng, 12, 5, n_hidden=2, n_outputs=1, noise=0.1)
    search = run_to_end(search_least_squares(samples, 6, rng=rng, n_init=2, max_iter=500))
    assert np.all(np.isfinite(search.network.V))
    assert np.all(np.isfinite(search.network.A))


def test_without_intercepts_greedy_starts_begin_from_no_feature_at_all(rng):
    samples, _ = problem(rng, 200, 3, bias=False, n_hidden=2, n_outputs=2, noise=0.05)
    search = run_to_end(search_least_squares(samples, 2, rng=rng))
    assert search.loss < 0.1 * float(np.sum(samples.Y**2))
