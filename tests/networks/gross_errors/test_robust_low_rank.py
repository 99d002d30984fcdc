"""A low-rank matrix with sparse errors of any size, and what its right entries determine."""

import numpy as np
import pytest

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks.gross_errors.robust_low_rank import robust_low_rank
from sklearn_nnrecover.networks.gross_errors.unique_completion import determined_rows
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork


def corrupted(rng, n=300, m=40, rank=3, share=0.15, size=10.0):
    L = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, m))
    wrong = rng.random_sample((n, m)) < share
    return L, wrong, L + wrong * size * rng.standard_normal((n, m))


@pytest.mark.parametrize("size", [3.0, 3e4])
@pytest.mark.parametrize("scales", [1.0, 1e6])
def test_errors_are_found_whatever_their_size_and_the_units(rng, size, scales):
    L, wrong, Y = corrupted(rng, size=size)
    units = np.geomspace(1.0, scales, Y.shape[1])
    split = run_to_end(robust_low_rank(Y * units))
    assert split.reason == "" and split.rank == 3 and split.complete.mean() > 0.95
    assert split.outliers[wrong].all()
    assert np.mean(split.outliers[~wrong]) < 0.05
    np.testing.assert_allclose(
        (split.low_rank / units)[split.complete], L[split.complete], atol=1e-9 * max(1.0, size)
    )


def test_right_entries_are_returned_as_they_were(rng):
    _, _, Y = corrupted(rng)
    split = run_to_end(robust_low_rank(Y))
    np.testing.assert_array_equal(split.low_rank[~split.outliers], Y[~split.outliers])


def test_no_low_rank_is_said(rng):
    split = run_to_end(robust_low_rank(rng.standard_normal((100, 12)), max_iter=60))
    assert split.reason == "no low rank" and not split.outliers.any()
    split = run_to_end(robust_low_rank(corrupted(rng, share=0.7)[2], max_iter=60))
    assert split.reason == "no low rank"
    split = run_to_end(robust_low_rank(rng.standard_normal((200, 2))))
    assert split.reason == "too few outputs"


def test_a_rank_above_the_largest_is_not_fitted(rng):
    split = run_to_end(robust_low_rank(corrupted(rng, share=0.05)[2], max_rank=2, max_iter=60))
    assert split.reason == "no low rank"


def instance(rng, n=60, k=2, m=6):
    Z = np.column_stack([rng.standard_normal((n, 4)), np.ones(n)])
    V, A = rng.standard_normal((5, k)), rng.standard_normal((k, m))
    V[-1] = 0.0
    network = TwoLayerNetwork(V, A, rng.standard_normal(m))
    return network, Samples(Z, network.predict(Z), np.ones(n), True)


def test_closure_of_the_right_entries(rng):
    network, samples = instance(rng)
    observed = rng.random_sample(samples.Y.shape) < 0.75
    rows = determined_rows(network, samples, observed)
    enough = observed.sum(axis=1) >= 2
    np.testing.assert_array_equal(rows, enough)


def test_an_unseen_output_or_row_is_not_determined(rng):
    network, samples = instance(rng)
    observed = np.ones(samples.Y.shape, dtype=bool)
    observed[5, 1:] = False
    rows = determined_rows(network, samples, observed)
    assert not rows[5] and rows.sum() == len(rows) - 1
    observed[2:, 3] = False  # Two rows are fewer than the three weights of an output.
    assert not determined_rows(network, samples, observed).any()


def test_blocks_that_share_no_row_are_not_determined(rng):
    """Two halves of the outputs, each seen on its own half of the rows: two networks in one."""
    network, samples = instance(rng)
    observed = np.zeros(samples.Y.shape, dtype=bool)
    observed[:30, :3] = observed[30:, 3:] = True
    assert not determined_rows(network, samples, observed).any()
