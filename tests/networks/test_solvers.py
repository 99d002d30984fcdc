"""The registry: when estimates begin a search."""

import numpy as np
import pytest

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.model.design import orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import RELU, activation_of, leaky_relu
from sklearn_nnrecover.networks.search.least_squares_search import search_least_squares
from sklearn_nnrecover.networks.solvers import (
    Options,
    solve_varpro,
    symmetric_moments_are_cheap,
)


def mixture_samples(rng, activation=RELU, n=2000, d=6, k=3, m=4, noise=0.2):
    """Noisy outputs of units without biases, on a symmetric mixture of two Gaussians."""
    center = rng.choice([-1, 1], size=(n, 1)) * rng.uniform(0.5, 1.0, d)
    X = 0.7 * rng.standard_normal((n, d)) + center
    W = rng.standard_normal((d, k))
    y = activation.value(X @ W / np.linalg.norm(W, axis=0)) @ rng.standard_normal((k, m))
    y += noise * rng.standard_normal((n, m))
    return orthonormal_design(X, y, np.ones(n), intercept=False)[0]


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_moments_of_symmetric_inputs_begin_the_search(rng, slope):
    activation = leaky_relu(slope)
    samples = mixture_samples(rng, activation)
    assert symmetric_moments_are_cheap(samples, 3, activation)
    options = Options(activation)
    found = run_to_end(solve_varpro(samples, 3, options, rng))
    plain = run_to_end(search_least_squares(samples, 3, rng=rng, activation=activation))
    # The optima of two searches differ by less than the data can tell.
    assert samples.Y.size * np.log(found.loss / plain.loss) < 1.0
    assert found.n_agreeing >= 2


def test_moments_are_for_symmetric_inputs_and_piecewise_linear_units(rng):
    samples = mixture_samples(rng)
    assert not symmetric_moments_are_cheap(samples, 5, RELU)
    assert not symmetric_moments_are_cheap(samples, 3, activation_of("relu2"))
    shifted = samples._replace(Z=samples.Z + 0.5)
    assert not symmetric_moments_are_cheap(shifted, 3, RELU)
    few = samples._replace(Z=samples.Z[:30], Y=samples.Y[:30], weight=samples.weight[:30])
    assert not symmetric_moments_are_cheap(few, 3, RELU)
