"""Which samples are explored, starts that explain the data already, noise, and the gauge."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.dictionary_learning import (
    Start,
    draw_rows,
    explored_rows,
    in_gauge,
    learn_dictionary,
)
from sklearn_nnrecover.dictionaries.encoders import CodeRule
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.stability import matched_distances
from sklearn_nnrecover.linalg.steps import run_to_end


def options(n_components, widest=5, **given):
    rule = CodeRule("omp", widest)
    return LearningOptions(n_components, rule, grow=True, given_threshold=False, **given)


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


def test_fitted_atoms_of_samples_that_differ_are_not_explored_again(rng):
    """Each atom is active by itself; pursuits of the fit stopped at the noise."""
    _, truth = make_sparse_codes(2000, 24, n_components=24, n_nonzero=2, random_state=rng)
    on = rng.rand(2000, 24) < 2 / 24
    codes = np.where(on, rng.uniform(0.5, 1.5, on.shape), 0)
    X = codes @ truth.components_ + 0.02 * rng.standard_normal((2000, 24))
    start = Start(truth.components_, 6, 0.02**2, 0.08)
    steps = learn_dictionary(Samples(X), options(24, widest=6), rng, start=start)
    n_steps = 0
    while True:
        try:
            next(steps)
        except StopIteration as stopped:
            learned = stopped.value
            break
        n_steps += 1
    assert n_steps <= 20  # of polishing
    assert 0.03 < learned.stop < 0.15
    assert np.median(matched_distances(learned.polished.atoms, truth.components_)) < 0.02


def test_rows_are_drawn_in_order_without_repetition(rng):
    samples = Samples(np.zeros((9000, 4)))
    rows = draw_rows(samples, 5, rng)
    assert len(rows) == explored_rows(9000, 5, 4) == 4000
    assert np.all(np.diff(rows) > 0)


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
