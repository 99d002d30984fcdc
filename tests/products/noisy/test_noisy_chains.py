"""Chains of three real factors behind noise: what is found, claimed, and left alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.noisy.chain_agreement import nodes_found_again
from sklearn_nnrecover.products.noisy.dense_codes import codes_within_noise
from sklearn_nnrecover.products.noisy.factor_refinement import (
    refined_chain,
    with_spare_nodes,
    without_idle_nodes,
)
from sklearn_nnrecover.products.noisy.lighter_atoms import lighter_atoms
from sklearn_nnrecover.products.noisy.noisy_chains import noisy_chains
from sklearn_nnrecover.products.noisy.noisy_two_factors import NoisyFactors, Problem
from sklearn_nnrecover.products.noisy.support_least_squares import (
    fit_supports,
    in_gauge,
)


def planted(seed, noise, n_samples=300, n_hidden=(60, 30), n_features=150):
    X, truth = make_sparse_product(
        n_samples,
        n_features,
        n_hidden=list(n_hidden),
        n_nonzero=3,
        values="real",
        noise=noise,
        random_state=seed,
    )
    return X, [sp.csr_array(F) for F in truth.factors_]


def supports(A):
    A = sp.csr_array(A, copy=True)
    A.eliminate_zeros()
    A.sort_indices()
    return [tuple(A.indices[a:b]) for a, b in zip(A.indptr[:-1], A.indptr[1:], strict=True)]


def quiet_fit(X, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return SparseDeepFactorizer(random_state=0, **parameters).fit(X)


def strange_claims(fitted, factors):
    """Claimed nodes whose map to the features is that of no planted node, nearly."""
    maps = np.vstack([chain_product(factors[level:]).toarray() for level in (1, 2)])
    maps = maps[np.linalg.norm(maps, axis=1) > 0]
    maps /= np.linalg.norm(maps, axis=1, keepdims=True)
    strange = []
    for unit in fitted.report_.units:
        row = chain_product(fitted.factors_[unit["layer"] :])[[unit["unit"]]].toarray()[0]
        if unit["identified"] and np.abs(maps @ row).max() < 0.99 * np.linalg.norm(row):
            strange.append(unit)
    return strange


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_three_factors_are_found_and_judged(seed, noise):
    X, factors = planted(seed, noise, 400, (100, 40))
    fitted = quiet_fit(X, n_factors=3, method="intersection")
    assert fitted.n_factors_ == 3
    assert fitted.report_.status in ("partial", "approximate")
    last = set(supports(factors[2]))
    assert np.mean([support in last for support in supports(fitted.factors_[2])]) > 0.9
    both = set(supports(factors[1] @ factors[2]))
    found = supports(fitted.factors_[1] @ fitted.factors_[2])
    assert np.mean([support in both for support in found]) > 0.8
    assert not strange_claims(fitted, factors)
    clean = chain_product(factors).toarray()
    ours = chain_product(fitted.factors_).toarray() - clean
    # A handful of samples that nothing explains keep their own noise.
    assert np.sqrt(np.mean(ours**2)) < noise
    # An entry has an error where both nodes that it joins are identified.
    first, second = (
        np.array([u["identified"] for u in fitted.report_.units if u["layer"] == layer])
        for layer in (1, 2)
    )
    codes, middle, _ = fitted.factors_
    rows = np.repeat(np.arange(middle.shape[0]), np.diff(middle.indptr))
    for errors, known in zip(
        fitted.factors_std_,
        (first[codes.indices], first[rows] & second[middle.indices]),
        strict=False,
    ):
        np.testing.assert_array_equal(np.isfinite(errors.data), known)


def test_two_factors_stay_two(seed):
    X, _ = make_sparse_product(
        300, 120, n_hidden=[50], n_nonzero=4, values="real", noise=0.02, random_state=seed
    )
    assert quiet_fit(X, method="intersection").n_factors_ == 2


def test_at_most_so_many_factors_as_asked_for(seed):
    X, _ = planted(seed, 0.02)
    chains = run_to_end(noisy_chains(X, 0.02, rng=np.random.RandomState(0), n_factors=2))
    assert [len(chain) for chain in chains] == [2]


def test_products_without_zeros_are_left_alone(seed):
    """40 features behind paths of 27: hardly a cell holds noise alone."""
    X, factors = planted(seed, 0.02, 200, (60, 30), 40)
    fitted = quiet_fit(X, method="intersection")
    assert fitted.report_.status in ("not_recovered", "partial")
    assert not strange_claims(fitted, factors)


def test_noise_is_no_chain(rng):
    X = rng.standard_normal((150, 100))
    assert run_to_end(noisy_chains(X, 0.7, rng=np.random.RandomState(0))) == []


class TestLighterAtoms:
    def model(self, rng):
        """Three atoms, and the sum of two of them as a fourth."""
        D = np.zeros((4, 30))
        for atom in range(3):
            D[atom, 4 * atom : 4 * atom + 4] = rng.uniform(1, 2, 4) * rng.choice([-1, 1], 4)
        D[3] = D[0] - 1.5 * D[1]
        C = np.zeros((200, 4))
        C[np.arange(200), rng.randint(4, size=200)] = rng.uniform(1, 2, 200)
        X = C @ D + 0.01 * rng.standard_normal((200, 30))
        return X, C, D

    def test_combinations_disappear_into_their_parts(self, rng):
        X, C, D = self.model(rng)
        found = run_to_end(
            lighter_atoms(X, 0.01, NoisyFactors(sp.csr_array(C), sp.csr_array(D)), 5)
        )
        assert set(supports(found.D)) == set(supports(D[:3]))
        residual = X - (found.C @ found.D).toarray()
        assert residual.std() == pytest.approx(0.01, rel=0.1)

    def test_what_is_left_of_a_combination_may_be_a_missing_atom(self, rng):
        X, C, D = self.model(rng)
        X = X - C[:, [1]] @ D[[1]]
        known = [0, 2, 3]
        model = NoisyFactors(sp.csr_array(C[:, known]), sp.csr_array(D[known]))
        found = run_to_end(lighter_atoms(X, 0.01, model, 5))
        assert set(supports(found.D)) == set(supports(D[:3]))

    def test_atoms_that_are_no_combinations_stay(self, rng):
        X, C, D = self.model(rng)
        X = X - C[:, [3]] @ D[[3]]
        model = NoisyFactors(sp.csr_array(C[:, :3]), sp.csr_array(D[:3]))
        found = run_to_end(lighter_atoms(X, 0.01, model, 5))
        np.testing.assert_allclose((found.C @ found.D).toarray(), (model.C @ model.D).toarray())
        assert supports(found.D) == supports(model.D)


class TestRefinement:
    def test_a_lost_node_and_wrong_entries_are_put_right(self, seed, rng):
        X, factors = planted(seed, 0.02)
        problem = Problem.of(X, 0.02)
        best = problem.cost(refined_chain(problem, factors))
        spoiled = [sp.csr_array(F, copy=True) for F in factors]
        spoiled[0].data[rng.choice(spoiled[0].nnz, 30, replace=False)] = 0.0
        spoiled[1].data[rng.choice(spoiled[1].nnz, 3, replace=False)] = 0.0
        for F in spoiled:
            F.eliminate_zeros()
        assert problem.cost(fit_supports(X, spoiled).factors) > 1.2 * best
        assert problem.cost(refined_chain(problem, spoiled)) < 1.05 * best

    def test_samples_pass_by_a_layer_in_which_their_node_is_missing(self, seed):
        X, factors = planted(seed, 0.02)
        uses = np.bincount(factors[0].indices, minlength=60)
        kept = np.setdiff1d(np.arange(60), [int(np.argmax(uses))])
        problem = Problem.of(X, 0.02)
        short = [factors[0][:, kept], factors[1][kept], factors[2]]
        spared = with_spare_nodes(problem, short)
        lost = problem.cost(short) - problem.cost(fit_supports(X, factors).factors)
        assert problem.cost(short) - problem.cost(spared) > lost / 3
        assert np.sum(np.diff(spared[1].indptr) == 1) > np.sum(np.diff(short[1].indptr) == 1)

    def test_idle_nodes_go_with_those_that_only_they_use(self):
        C = sp.csr_array(np.array([[1.0, 1.0, 0.0], [2.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        B = sp.csr_array(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
        D = sp.csr_array(np.array([[1.0, 2.0], [3.0, 1.0]]))
        shapes = [F.shape for F in without_idle_nodes([C, B, D])]
        assert shapes == [(3, 1), (1, 1), (1, 2)]


class TestAgreement:
    def chain(self, seed):
        """Factors whose rows differ in their signs: rows that do not are not told apart."""
        for draw in range(seed, seed + 100):
            chain = in_gauge(without_idle_nodes(planted(draw, 0.0)[1]))
            signs = [np.sign(row_gauge(F)[0].toarray()) for F in chain[1:]]
            if all(len(np.unique(part, axis=0)) == len(part) for part in signs):
                break
        return chain

    def test_order_sign_and_scale_do_not_matter(self, seed, rng):
        chain = self.chain(seed)
        inner, last = (rng.permutation(F.shape[0]) for F in chain[1:])
        scale = rng.uniform(-2, 2, len(last))
        scale[np.abs(scale) < 0.1] = 0.5
        other = [
            chain[0][:, inner],
            sp.csr_array(chain[1][inner][:, last] @ sp.diags_array(1 / scale)),
            sp.csr_array(sp.diags_array(scale) @ chain[2][last]),
        ]
        found = nodes_found_again(chain, other, np.random.RandomState(0))
        assert all(part.all() for part in found)

    def test_a_node_made_of_another_is_another(self, seed):
        chain = self.chain(seed)
        changed = chain[2].toarray()
        changed[0] = np.roll(changed[0], 1)
        other = [chain[0], chain[1], sp.csr_array(changed)]
        inner, last = nodes_found_again(chain, other, np.random.RandomState(0))
        assert last.sum() == len(last) - 1
        users = chain[1][:, [0]].toarray()[:, 0] != 0
        assert not inner[users].any()
        assert inner[~users].all()

    def test_nothing_is_found_again_in_nothing(self, seed):
        _, factors = planted(seed, 0.0)
        found = nodes_found_again(factors, [], np.random.RandomState(0))
        assert not any(part.any() for part in found)


def test_codes_within_noise_have_the_noise_they_say(seed, rng):
    _, factors = planted(seed, 0.0)
    layers = without_idle_nodes(factors)[2:]
    codes = rng.standard_normal((2000, layers[0].shape[0]))
    X = codes @ layers[0].toarray() + 0.3 * rng.standard_normal((2000, 150))
    piece = codes_within_noise(Problem.of(X, 0.3), layers)
    error = piece.Y - codes / piece.std
    assert np.abs(error.std(axis=0) - 1).max() < 0.15


def test_dependent_layers_have_no_codes(rng):
    layer = rng.standard_normal((5, 20))
    layer[4] = layer[0] + layer[1]
    problem = Problem.of(rng.standard_normal((10, 20)), 1.0)
    for n_rows in (0, 3):
        assert codes_within_noise(problem, [sp.csr_array((n_rows, 20))]) is None
    assert codes_within_noise(problem, [sp.csr_array(layer)]) is None
    assert codes_within_noise(problem, [sp.csr_array(rng.standard_normal((30, 20)))]) is None
