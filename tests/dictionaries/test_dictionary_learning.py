"""Halves, warm starts, the gauge, and agreement of several learners."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.dictionary_learning import (
    Start,
    explored_rows,
    in_gauge,
    independent_halves,
    learn_dictionary,
    learn_with_halves,
)
from sklearn_nnrecover.dictionaries.encoders import CodeRule
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.stability import matched_distances
from sklearn_nnrecover.linalg.steps import run_to_end


def options(n_components, widest=5, **given):
    rule = CodeRule("omp", widest)
    return LearningOptions(n_components, rule, grow=True, given_threshold=False, **given)


def test_halves_are_disjoint_and_bounded(rng):
    X = np.arange(3001.0)[:, None] * np.ones(2)
    first, second = (
        half.read(slice(None))[:, 0] for half in independent_halves(Samples(X), 3, rng)
    )
    assert len(first) == len(second) == 1500
    assert not set(first) & set(second)
    assert independent_halves(Samples(X[:3]), 3, rng) == []
    many = Samples(np.lib.stride_tricks.as_strided(X, (10**6, 2), (0, 8)))
    assert len(independent_halves(many, 3, rng)[0]) == 4 * explored_rows(10**6, 3, 2)


def test_fitted_atoms_are_not_explored_again(rng):
    X, truth = make_sparse_codes(
        1500, 20, n_components=24, n_nonzero=2, noise=0.03, random_state=rng
    )

    def n_steps(start):
        return sum(1 for _ in learn_dictionary(Samples(X), options(24), rng, start=start))

    fitted = n_steps(Start(truth.components_, 2, 0.03**2))
    assert fitted <= 10  # passes of polishing only
    assert n_steps(Start(truth.components_)) > fitted
    assert n_steps(Start(truth.components_, 2, 0.01**2)) > fitted  # more than there: explore


def test_three_learners_agree(rng):
    X, truth = make_sparse_codes(3000, 24, n_components=30, n_nonzero=2, random_state=rng)
    halves = independent_halves(Samples(X), 30, rng)
    learned = run_to_end(learn_with_halves(Samples(X), halves, options(30), rng))
    assert len(learned) == 3
    for each in learned:
        assert matched_distances(each.polished.atoms, truth.components_).max() < 1e-8
        assert each.rule.n_nonzero == 2


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_noise_is_measured(rng, noise):
    X, _ = make_sparse_codes(3000, 30, n_components=36, n_nonzero=2, noise=noise, random_state=rng)
    learned = run_to_end(learn_dictionary(Samples(X), options(36), rng))
    assert np.sqrt(learned.noise_variance) == pytest.approx(noise, rel=0.05, abs=1e-12)


def test_gauge_changes_order_and_sign_only(rng):
    X, _ = make_sparse_codes(1000, 16, n_components=16, n_nonzero=2, random_state=rng)
    learned = run_to_end(learn_dictionary(Samples(X), options(16), rng))
    gauged = in_gauge(learned)
    D = gauged.polished.atoms
    energy = np.diagonal(gauged.polished.code_gram)
    assert np.all(np.diff(energy) <= 0)
    assert np.all(D[np.arange(16), np.abs(D).argmax(axis=1)] > 0)
    assert matched_distances(D, learned.polished.atoms).max() < 1e-15
    both = np.linalg.multi_dot([D.T, gauged.polished.code_gram, D])
    before = learned.polished
    np.testing.assert_allclose(both, before.atoms.T @ before.code_gram @ before.atoms, atol=1e-9)
