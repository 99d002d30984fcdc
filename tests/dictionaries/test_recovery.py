"""From samples to a judged model: gauge, halves, repeated rows, and what nothing is claimed of."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes, make_spherical_mixture
from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.dictionary_learning import Learned, Start
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.polishing import Polished
from sklearn_nnrecover.dictionaries.recovery import judged, recover_dictionary, recover_mixture
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.metrics import match_components, mean_correlation

EPS = float(np.finfo(np.float64).eps)


def options(n_components, widest=5, nonnegative=False):
    rule = CodeRule("omp", widest, nonnegative=nonnegative)
    return LearningOptions(n_components, rule, grow=True, given_threshold=False)


def recover(X, rng, *, function=recover_dictionary, start=None, stability=True, **given):
    steps = function(
        Samples(X),
        options(**given),
        rng,
        start=start or Start(),
        stability=stability,
        eps=EPS,
    )
    return run_to_end(steps)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_dictionary_is_recovered_in_its_gauge(rng, nonnegative):
    X, truth = make_sparse_codes(
        2000, 24, n_components=24, n_nonzero=2, nonnegative=nonnegative, random_state=rng
    )
    recovered = recover(X, rng, n_components=24, nonnegative=nonnegative)
    D = recovered.components
    assert recovered.judgement.status == "exact"
    match = match_components(D, truth.components_, signed=not nonnegative)
    matched = np.sign(match.cosine)[:, None] * D[match.permutation]
    np.testing.assert_allclose(matched, truth.components_, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), 1)
    if not nonnegative:
        assert np.all(D[np.arange(24), np.abs(D).argmax(axis=1)] > 0)
    energy = [unit["energy"] for unit in recovered.judgement.units]
    assert energy == sorted(energy, reverse=True)
    assert recovered.rule.n_nonzero == 2
    assert recovered.noise_variance < 1e-25


def test_errors_cover_the_truth(rng):
    X, truth = make_sparse_codes(
        3000, 24, n_components=24, n_nonzero=2, noise=0.05, random_state=rng
    )
    recovered = recover(X, rng, n_components=24)
    assert recovered.judgement.status == "approximate"
    match = match_components(recovered.components, truth.components_)
    difference = (
        np.sign(match.cosine)[:, None] * recovered.components[match.permutation] - truth.components_
    )
    deviation = difference / recovered.errors[match.permutation]
    assert np.sqrt(np.mean(deviation**2)) == pytest.approx(1, abs=0.15)
    assert recovered.noise_variance == pytest.approx(0.05**2, rel=0.1)


def test_a_repeated_row_counts_once(rng):
    X, _ = make_sparse_codes(300, 12, n_components=10, n_nonzero=2, noise=0.05, random_state=rng)
    once = recover(X, np.random.RandomState(0), n_components=10)
    often = recover(np.repeat(X, 3, axis=0), np.random.RandomState(0), n_components=10)
    np.testing.assert_array_equal(once.components, often.components)
    np.testing.assert_array_equal(once.errors, often.errors)
    assert once.judgement == often.judgement


def test_nothing_is_claimed_without_halves(rng):
    X, truth = make_sparse_codes(1500, 20, n_components=20, n_nonzero=2, random_state=rng)
    alone = recover(X, rng, n_components=20, stability=False)
    assert mean_correlation(alone.components, truth.components_) > 0.9
    assert alone.judgement.status == "not_recovered"
    assert not any(unit["identified"] for unit in alone.judgement.units)


def test_structureless_samples_are_not_recovered(rng):
    recovered = recover(rng.standard_normal((400, 10)), rng, n_components=10)
    assert recovered.judgement.status == "not_recovered"
    assert np.isfinite(recovered.components).all()


def test_halves_do_not_begin_at_the_given_start(rng):
    """A start that explains a wrong half of its atoms must not make the halves agree on it."""
    X = rng.standard_normal((400, 10))
    start = rng.standard_normal((10, 10))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    recovered = recover(X, rng, n_components=10, start=Start(start, 2, np.inf))
    stability = {name: value for name, value, *_ in recovered.judgement.conditions}["stability"]
    assert stability < 0.95


def test_judged_orders_everything_alike(rng):
    """Atoms, errors, thresholds and units follow one permutation and one choice of signs."""
    X, truth = make_sparse_codes(
        2000, 20, n_components=12, n_nonzero=2, noise=0.02, random_state=rng
    )
    scale = rng.uniform(0.5, 2, 12)
    X = (truth.codes.toarray() * scale) @ truth.components_ + 0.02 * rng.standard_normal(X.shape)
    D = truth.components_ * rng.choice([-1.0, 1.0], 12)[:, None]
    codes = encode(X, D, CodeRule("omp", 2))
    gram = (codes.T @ codes).toarray()
    usage = np.bincount(codes.indices, minlength=12)
    square = np.sum((X - codes @ D) ** 2, axis=1)
    rule = CodeRule("jumprelu", 2, threshold=np.arange(12.0))
    learned = Learned(Polished(D, gram, usage, square, 0, 0.0), rule, 0.02**2)
    result = judged(Samples(X), learned, (D, D), rng, eps=EPS)
    order = np.argsort(-np.diagonal(gram), kind="stable")
    np.testing.assert_allclose(np.abs(np.sum(result.components * D[order], axis=1)), 1)
    np.testing.assert_array_equal(result.rule.threshold, order)
    assert [unit["active"] for unit in result.judgement.units] == usage[order].tolist()
    inverse = np.diagonal(np.linalg.inv(gram))[order]
    size = np.sum(result.errors**2, axis=1)
    np.testing.assert_allclose(size / inverse, np.mean(size / inverse), rtol=0.2)


class TestMixture:
    def test_means_by_decreasing_number_of_samples(self, rng):
        X, _, truth = make_spherical_mixture(3000, 12, n_components=4, noise=0.1, random_state=rng)
        few = rng.permutation(3000)[:600]
        nearest = np.argmin(np.linalg.norm(X[few][:, None] - truth.components_, axis=2), axis=1)
        X = np.vstack([X, X[few][nearest == 2] + 1e-3])  # one component has more samples
        result = recover(X, rng, function=recover_mixture, n_components=4)
        counts = np.array([unit["samples"] for unit in result.judgement.units])
        assert result.judgement.status == "approximate"
        assert np.all(np.diff(counts) <= 0)
        assert np.linalg.norm(result.components[0] - truth.components_[2]) < 0.1
        np.testing.assert_allclose(
            result.errors, np.repeat(np.sqrt(result.noise_variance / counts)[:, None], 12, axis=1)
        )

    def test_components_without_samples_have_no_error_bar(self, rng):
        points = rng.standard_normal((3, 5))
        X = points[rng.randint(3, size=60)]
        result = recover(X, rng, function=recover_mixture, n_components=5)
        counts = np.array([unit["samples"] for unit in result.judgement.units])
        empty = counts == 0
        assert np.isinf(result.errors[empty]).all()
        assert np.isfinite(result.components).all()
        assert result.judgement.status != "exact"

    def test_too_few_components_are_not_recovered(self, rng):
        X, _, _ = make_spherical_mixture(2000, 10, n_components=6, noise=0.1, random_state=rng)
        result = recover(X, rng, function=recover_mixture, n_components=4)
        assert result.judgement.status == "not_recovered"

    def test_nothing_is_claimed_without_halves(self, rng):
        X, _, _ = make_spherical_mixture(1000, 10, n_components=3, noise=0.1, random_state=rng)
        result = recover(X, rng, function=recover_mixture, n_components=3, stability=False)
        assert result.judgement.status == "not_recovered"
        assert not any(unit["identified"] for unit in result.judgement.units)
