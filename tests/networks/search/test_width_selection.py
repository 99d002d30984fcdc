"""Width under noise: the lower bound bounds, the path finds the width."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.evidence.noise_probe import probe_noise
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.search.width_selection import (
    largest_width,
    rank_lower_bound,
    select_width,
)


def noisy_samples(seed, n, d, k, m, noise):
    X, y, _ = make_relu_network(
        n, d, n_hidden=k, n_outputs=m, noise=noise, bias=False, random_state=seed
    )
    return orthonormal_design(X, y.reshape(n, -1), np.ones(n), intercept=True)[0]


@pytest.mark.parametrize(("k", "m"), [(2, 5), (4, 3), (1, 1)])
def test_rank_never_exceeds_the_width(seed, rng, k, m):
    samples = noisy_samples(seed, 1500, 6, k, m, 0.1)
    assert 1 <= rank_lower_bound(samples, rng) <= k


def test_width_is_found_where_the_signal_allows(seed, rng):
    samples = noisy_samples(seed, 1500, 5, 3, 4, 0.05)
    path = run_to_end(select_width(samples, rng=rng))
    assert path.width == 3
    assert path.best.network.n_hidden == 3


def test_width_never_exceeds_what_rows_determine(seed, rng):
    samples = noisy_samples(seed, 25, 4, 3, 1, 0.1)
    assert samples.n_parameters(largest_width(samples)) < samples.Y.size
    assert run_to_end(select_width(samples, rng=rng)).width <= largest_width(samples)


@pytest.mark.parametrize("noise", [0.5, 0.05])
def test_noise_is_seen(seed, rng, noise):
    assert run_to_end(probe_noise(noisy_samples(seed, 600, 5, 2, 2, noise), rng=rng))


def test_no_noise_is_not_taken_for_noise(seed, rng):
    assert not run_to_end(probe_noise(noisy_samples(seed, 300, 6, 4, 1, 0.0), rng=rng))
