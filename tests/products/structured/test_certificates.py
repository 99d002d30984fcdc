"""Certificates against the lifted operator formed by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sklearn_nnrecover.products.structured.certificate_verdicts import (
    IDENTIFIABLE,
    LOCALLY,
    NOT_IDENTIFIABLE,
    TOO_LARGE,
)
from sklearn_nnrecover.products.structured.certificates import certify
from sklearn_nnrecover.products.structures import Basis, Diagonal, SparseSupport

from ..structured_cases import product_of


def lifted_columns(structures):
    """The product for every choice of one unit parameter a factor, one column each."""
    columns = []
    for choice in itertools.product(*(range(s.n_parameters) for s in structures)):
        units = [np.eye(s.n_parameters)[g] for s, g in zip(structures, choice, strict=True)]
        columns.append(product_of(structures, units).ravel())
    return np.array(columns).T


def random_chain(rng, n_factors, order):
    """Bases of sparse random matrices: some kernels are {0}, some are not."""
    chain = []
    for _ in range(n_factors):
        matrices = rng.choice([-1.0, 0.0, 0.0, 1.0], size=(rng.randint(2, 4), order, order))
        # One path at least; the other matrices may be zero.
        matrices[0, 0, 0] = 1.0
        chain.append(Basis(matrices))
    return chain


@pytest.mark.parametrize("n_factors", [2, 3])
def test_verdict_and_kernel_are_those_of_the_lifted_operator(n_factors, rng):
    verdicts = set()
    for order in [2, 4] * 6:
        structures = random_chain(rng, n_factors, order)
        columns = lifted_columns(structures)
        feasible = columns[:, np.any(columns != 0, axis=0)]
        kernel = feasible.shape[1] - np.linalg.matrix_rank(feasible)
        certificate = certify(structures, max_fits=3, random_state=rng)
        idle = [
            parameter
            for layer, structure in enumerate(structures)
            for parameter in range(structure.n_parameters)
            if not np.any(
                columns.reshape(len(columns), *(s.n_parameters for s in structures)).take(
                    parameter, axis=layer + 1
                )
            )
        ]
        assert certificate.n_paths == feasible.shape[1]
        assert certificate.kernel_dimension == kernel
        if kernel == 0 and not idle:
            assert certificate.verdict == IDENTIFIABLE
        else:
            assert certificate.verdict != IDENTIFIABLE
        verdicts.add(certificate.verdict)
    assert len(verdicts) >= 2


def test_singular_values_are_those_of_the_lifted_operator(rng):
    structures = [Basis(rng.standard_normal((3, 6, 6))) for _ in range(2)]
    singular = np.linalg.svd(lifted_columns(structures), compute_uv=False)
    certificate = certify(structures, random_state=rng)
    assert certificate.sigma_min == pytest.approx(singular[-1], rel=1e-8)
    assert certificate.sigma_max == pytest.approx(singular[0], rel=1e-8)


def test_identifiable_means_that_the_tensor_follows_from_the_product(rng):
    structures = [Basis(rng.standard_normal((3, 5, 5))), Basis(rng.standard_normal((4, 5, 5)))]
    assert certify(structures, random_state=rng).verdict == IDENTIFIABLE
    left, right = rng.standard_normal(3), rng.standard_normal(4)
    X = product_of(structures, [left, right])
    tensor = np.linalg.lstsq(lifted_columns(structures), X.ravel(), rcond=None)[0].reshape(3, 4)
    np.testing.assert_allclose(tensor, np.outer(left, right), atol=1e-9)


def test_what_is_called_not_identifiable_has_two_products_to_show(rng):
    """No such verdict without a witness, and the witness is checked here with matrices alone."""
    n_found = 0
    for _ in range(12):
        structures = random_chain(rng, 2, order=2)
        certificate = certify(structures, random_state=rng)
        if certificate.verdict != NOT_IDENTIFIABLE:
            continue
        n_found += 1
        first, second = certificate.witness.first, certificate.witness.second
        X, Y = product_of(structures, first), product_of(structures, second)
        np.testing.assert_allclose(X, Y, atol=1e-9 * max(1.0, np.abs(X).max()))
        tensors = [np.outer(*pair) for pair in (first, second)]
        columns = lifted_columns(structures)
        on_paths = np.any(columns != 0, axis=0)
        different = np.abs(tensors[0] - tensors[1]).max() > 1e-3
        # Parameters without effect differ where no path leads.
        assert different
        if certificate.kernel_dimension == 0:
            assert np.all(np.abs((tensors[0] - tensors[1]).ravel()[on_paths]) < 1e-9)
    assert n_found >= 1


def test_a_free_matrix_between_two_factors_is_never_identifiable(rng):
    everything = Basis(np.eye(9).reshape(9, 3, 3))
    certificate = certify([everything, everything], random_state=rng)
    assert certificate.verdict == NOT_IDENTIFIABLE
    assert certificate.jacobian_rank == 9


def test_node_rescalings_are_gauge_and_not_ambiguity(rng):
    # Diagonal times full support: each node has its own scale.
    support = np.ones((3, 3), dtype=bool)
    certificate = certify([SparseSupport(np.eye(3, dtype=bool)), SparseSupport(support)])
    assert certificate.gauge_dimension == 3
    assert certificate.verdict in (IDENTIFIABLE, LOCALLY)


def test_a_diagonal_between_known_scales_is_identifiable(rng):
    mixing = Basis(rng.standard_normal((1, 4, 4)))
    certificate = certify([Diagonal(4), mixing], random_state=rng)
    assert certificate.verdict == IDENTIFIABLE
    assert certificate.kernel_dimension == 0


def test_small_limits_do_not_produce_claims(rng):
    structures = [Basis(rng.standard_normal((6, 4, 4))) for _ in range(3)]
    certificate = certify(structures, max_columns=10, max_fits=0, random_state=rng)
    kernel = 216 - np.linalg.matrix_rank(lifted_columns(structures))
    assert kernel > 0
    assert certificate.verdict != IDENTIFIABLE
    assert certificate.verdict in (LOCALLY, NOT_IDENTIFIABLE, TOO_LARGE)
