"""Streams: who learns from what, what is forgotten, and the limit."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries import online_learning
from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.online_learning import (
    continue_stream,
    learn_batch,
    streams_as_learned,
)
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.stability import matched_distances

OPTIONS = LearningOptions(20, CodeRule("omp", 4), grow=True, given_threshold=False)


@pytest.fixture
def batches(rng):
    X, truth = make_sparse_codes(
        6000, 16, n_components=20, n_nonzero=2, noise=0.03, random_state=rng
    )
    return np.split(X, 12), truth.components_


def test_two_learners_see_every_second_batch(batches, rng):
    streams, seen = [], []
    for batch in batches[0][:6]:
        learn_batch(streams, Samples(batch), OPTIONS, rng)
        seen.append([stream.n_batches for stream in streams])
    assert seen == [[1, 1], [2, 1, 1], [3, 2, 1], [4, 2, 2], [5, 3, 2], [6, 3, 3]]
    assert [stream.n_samples for stream in streams] == [3000, 1500, 1500]
    learned, halves = streams_as_learned(streams, Samples(batch), OPTIONS, rng)
    assert len(halves) == 2
    assert learned.polished.atoms is streams[0].atoms


def test_atoms_are_found_and_the_loss_is_that_of_the_truth(batches, rng):
    streams = []
    losses = [learn_batch(streams, Samples(batch), OPTIONS, rng) for batch in batches[0]]
    assert matched_distances(streams[0].atoms, batches[1]).max() < 0.1
    last = batches[0][-1]
    residual = last - encode(last, batches[1], CodeRule("omp", streams[0].width)) @ batches[1]
    assert losses[-1] == pytest.approx(np.mean(np.sum(residual**2, axis=1)), rel=0.3)


def test_in_the_limit_every_batch_counts_alike(batches, rng):
    """Accumulators of T batches of the same law grow like T."""
    streams = []
    learn_batch(streams, Samples(batches[0][0]), OPTIONS, rng)
    main, energy = streams[0], {}
    for t in range(2, 161):
        continue_stream(main, batches[0][t % 12], OPTIONS.rule, grow=True)
        energy[t] = np.trace(main.code_gram)
    per_batch = (energy[160] - energy[80]) / 80
    fresh = np.trace(main.code_gram) / 160
    assert fresh > 0.8 * per_batch
    # Quadratic forgetting would keep a third of the samples' weight.
    one_batch = np.mean([np.sum(batch**2) for batch in batches[0]])
    assert np.trace(main.code_gram) > 0.6 * 160 * one_batch


def test_a_start_is_the_first_learners_alone(batches, rng, monkeypatch):
    starts = []
    begin = online_learning.begin_stream

    def spy(X, options, rng, start=None):
        starts.append(start)
        return begin(X, options, rng, start)

    monkeypatch.setattr(online_learning, "begin_stream", spy)
    streams = []
    for batch in batches[0][:3]:
        learn_batch(streams, Samples(batch), OPTIONS, rng, batches[1])
    assert starts[0] is batches[1]
    assert starts[1:] == [None, None]
