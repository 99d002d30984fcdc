"""All samples and two halves of them: disjoint, learned independently, again where one failed."""

import numpy as np

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries import halves as halves_module
from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.dictionary_learning import explored_rows
from sklearn_nnrecover.dictionaries.encoders import CodeRule
from sklearn_nnrecover.dictionaries.halves import independent_halves, learn_with_halves
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


def test_three_learners_agree(rng):
    X, truth = make_sparse_codes(3000, 24, n_components=30, n_nonzero=2, random_state=rng)
    halves = independent_halves(Samples(X), 30, rng)
    learned = run_to_end(learn_with_halves(Samples(X), halves, options(30), rng))
    assert len(learned) == 3
    for each in learned:
        assert matched_distances(each.polished.atoms, truth.components_).max() < 1e-8
        assert each.rule.n_nonzero == 2


def test_only_a_start_that_failed_is_repeated(rng, monkeypatch):
    """One half comes out with an atom that nobody else has."""
    X, truth = make_sparse_codes(3000, 24, n_components=30, n_nonzero=2, random_state=rng)
    halves = independent_halves(Samples(X), 30, rng)
    learn, learned_from = halves_module.learn_dictionary, []

    def failing_once(samples, *arguments, **given):
        learned_from.append(samples)
        learned = yield from learn(samples, *arguments, **given)
        if len(learned_from) == 2:
            D = learned.polished.atoms.copy()
            D[4] = D[5] + D[6]
            D[4] /= np.linalg.norm(D[4])
            polished = learned.polished._replace(atoms=D)
            learned = learned._replace(polished=polished, description_length=np.inf)
        return learned

    monkeypatch.setattr(halves_module, "learn_dictionary", failing_once)
    samples = Samples(X)
    learned = run_to_end(learn_with_halves(samples, halves, options(30), rng))
    assert learned_from[:3] == [samples, *halves]
    assert len(learned_from) > 3
    assert all(source is halves[0] for source in learned_from[3:])
    for each in learned:
        assert matched_distances(each.polished.atoms, truth.components_).max() < 1e-8
