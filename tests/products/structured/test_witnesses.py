"""Witnesses: really the same product, really other parameters, and none where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from sklearn_nnrecover.linalg.rescalings import layer_rescalings
from sklearn_nnrecover.products.structured.lifting import lifting_operator
from sklearn_nnrecover.products.structured.witnesses import (
    DIFFERENT_PARAMETERS,
    SAME_PRODUCT,
    compare,
    find_witness,
)
from sklearn_nnrecover.products.structures import Basis, Convolution, Diagonal, Restricted

from ..structured_cases import AMBIGUOUS, dilated_convolutions, gaussian, product_of


def rank_one(parameters):
    tensor = parameters[0]
    for h in parameters[1:]:
        tensor = np.multiply.outer(tensor, h)
    return tensor


def sizes_of(structures):
    return tuple(structure.n_parameters for structure in structures)


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_one_product_two_parameter_lists(name, rng):
    structures = AMBIGUOUS[name][0](rng)
    group = layer_rescalings(sizes_of(structures))
    witness = find_witness(structures, group, rng)
    X, Y = (product_of(structures, h) for h in (witness.first, witness.second))
    np.testing.assert_allclose(X, Y, atol=1e-10 * np.abs(X).max())
    # Layer scales leave the outer product of the parameters alone; these differ by far more.
    difference = np.linalg.norm(rank_one(witness.first) - rank_one(witness.second))
    assert difference > 1e-3 * np.linalg.norm(rank_one(witness.first))
    assert witness.residual <= SAME_PRODUCT
    assert witness.distance > DIFFERENT_PARAMETERS


def test_the_lifting_operator_leads_to_witnesses_too(rng):
    structures = [Convolution(30, 3), Convolution(30, 3)]
    operator = lifting_operator(structures)
    witness = find_witness(structures, layer_rescalings((3, 3)), rng, operator=operator)
    X, Y = (product_of(structures, h) for h in (witness.first, witness.second))
    np.testing.assert_allclose(X, Y, atol=1e-10 * np.abs(X).max())


@pytest.mark.parametrize(
    "structures", [lambda rng: dilated_convolutions(2, 4, 40), lambda rng: gaussian(rng, 2, 4, 8)]
)
def test_identifiable_products_have_none(structures, rng):
    chain = structures(rng)
    assert find_witness(chain, layer_rescalings(sizes_of(chain)), rng) is None


def test_without_budget_there_is_none(rng):
    structures = [Convolution(30, 3), Convolution(30, 3)]
    group = layer_rescalings((3, 3))
    assert find_witness(structures, group, rng, n_points=0) is None


def test_rescaled_parameters_do_not_count_as_different(rng):
    structures = gaussian(rng, 3, 4, 6)
    group = layer_rescalings((4, 4, 4))
    h = [rng.standard_normal(4) for _ in range(3)]
    scaled = [-2.0 * h[0], 0.25 * h[1], -2.0 * h[2]]
    same = compare(structures, h, structures, scaled, group)
    assert same.residual < 1e-12
    assert same.distance < 1e-9
    other = compare(structures, h, structures, [h[0], h[1], h[2] + 1.0], group)
    assert other.residual > 1e-3
    assert other.distance > 1e-2


def test_rivals_on_another_support_are_embedded(rng):
    # The two halves of a doubled basis give the same matrices.
    half = rng.standard_normal((2, 3, 3))
    doubled, scale = Basis(np.concatenate([half, half])), Diagonal(3)
    mine = [Restricted(doubled, np.array([0, 1])), scale]
    rivals = [Restricted(doubled, np.array([2, 3])), scale]
    group = layer_rescalings((4, 3))
    witness = find_witness(mine, group, rng, rival_structures=rivals)
    assert witness is not None
    X, Y = (product_of([doubled, scale], h) for h in (witness.first, witness.second))
    np.testing.assert_allclose(X, Y, atol=1e-9 * np.abs(X).max())
    np.testing.assert_allclose(witness.first[0][2:], 0)
    np.testing.assert_allclose(witness.second[0][:2], 0)
