"""Collections of models: validation, enumeration, and the pairs that fail."""

from __future__ import annotations

import numpy as np
import pytest

from sklearn_nnrecover.products.structured.lifting import lifting_operator
from sklearn_nnrecover.products.structured.support_models import (
    check_models,
    models_of_size,
    pairwise_spectrum,
)
from sklearn_nnrecover.products.structures import Convolution

from ..structured_cases import gaussian


def test_models_are_sorted_without_repeats():
    models = check_models([[[2, 0, 2], [1]]], [3, 2])
    np.testing.assert_array_equal(models[0][0], [0, 2])
    np.testing.assert_array_equal(models[0][1], [1])


@pytest.mark.parametrize(
    "supports, message",
    [
        ([], "empty"),
        ([[[0]]], r"supports\[0\] has 1"),
        ([[[0], []]], r"supports\[0\]\[1\] is empty"),
        ([[[0], [1]], [[0], [5]]], r"supports\[1\]\[1\] leaves the range"),
    ],
)
def test_wrong_models_are_named(supports, message):
    with pytest.raises(ValueError, match=message):
        check_models(supports, [3, 2])


def test_all_models_of_a_size():
    models = models_of_size([1, 2], [3, 4], 100)
    assert len(models) == 3 * 6
    assert len({tuple(map(tuple, model)) for model in models}) == 18
    assert len(models_of_size(2, [3, 4], 100)) == 3 * 6


@pytest.mark.parametrize(
    "n_nonzero, message",
    [([1], "has 1 entries"), (4, "between 1 and the 3"), (0, "between 1"), ([2, 2], "max_models")],
)
def test_impossible_sizes_are_refused(n_nonzero, message):
    with pytest.raises(ValueError, match=message):
        models_of_size(n_nonzero, [3, 4], 10)


def test_generic_bases_tell_small_models_apart(rng):
    operator = lifting_operator(gaussian(rng, 2, 4, 8))
    gamma, failing = pairwise_spectrum(operator, models_of_size(2, [4, 4], 100))
    assert failing == []
    assert 1 <= gamma < np.inf


def test_shifted_taps_of_two_convolutions_are_confused():
    structures = [Convolution(12, range(3)), Convolution(12, range(3))]
    operator = lifting_operator(structures)
    # Taps (0), (1) and taps (1), (0) have the same product.
    models = check_models([[[0], [1]], [[1], [0]]], [3, 3])
    _, failing = pairwise_spectrum(operator, models)
    assert (0, 1) in failing
