"""Ratios, candidates and codes within noise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.products.noisy.noisy_agreement import (
    Atoms,
    agreement_within_noise,
    noisy_candidates,
    noisy_pursuit,
)


def significant(X, noise):
    return sp.csr_array(np.where(np.abs(X) > 4 * noise, X, 0.0))


def test_the_ratio_ignores_entries_that_interfere(rng):
    noise, ratio = 0.01, -1.7
    b = rng.uniform(0.5, 2, 12) * rng.choice([-1, 1], 12)
    a = ratio * b + noise * rng.standard_normal(12)
    a[:4] += rng.uniform(1, 3, 4) * rng.choice([-1, 1], 4)
    level = np.array([noise])
    found = agreement_within_noise(
        sp.csr_array(a[None]), np.array([0]), level, sp.csr_array(b[None]), np.array([0]), level
    )
    assert found.overlap[0] == 12
    assert set(range(5, 12)) <= set(found.entry_column) | set(range(5))
    assert 7 <= found.agreeing[0] <= 9
    assert found.ratio[0] == pytest.approx(ratio, abs=0.05)


def test_an_uncertain_entry_does_not_decide_the_ratio(rng):
    """Its own quotient is far off, and everything agrees with it."""
    b = np.array([3.0, -2.5, 2.8, 3.1, -2.9, 0.02])
    a = 0.5 * b
    a[-1] += 0.03
    level = np.array([0.01])
    found = agreement_within_noise(
        sp.csr_array(a[None]), np.array([0]), level, sp.csr_array(b[None]), np.array([0]), level
    )
    assert found.agreeing[0] >= 5
    assert found.ratio[0] == pytest.approx(0.5, abs=0.01)


def test_pairs_without_common_entries_have_no_ratio():
    A, B = sp.csr_array(np.array([[1.0, 0, 2.0]])), sp.csr_array(np.array([[0, 3.0, 0]]))
    level = np.array([0.1])
    found = agreement_within_noise(A, np.array([0]), level, B, np.array([0]), level)
    assert np.isnan(found.ratio[0])
    assert found.agreeing[0] == found.overlap[0] == 0


def test_candidates_contain_the_atoms(seed, rng):
    noise = 0.02
    X, truth = make_sparse_product(
        400, 200, n_hidden=[40], n_nonzero=[2, 5], values="real", noise=noise, random_state=seed
    )
    found = noisy_candidates(significant(X, noise), noise, rng, min_agreement=3, max_pairs=20_000)
    supports = {
        tuple(found.rows.indices[a:b])
        for a, b in zip(found.rows.indptr[:-1], found.rows.indptr[1:], strict=True)
    }
    D = sp.csr_array(truth.factors_[1])
    D.sort_indices()
    clear = [
        tuple(D.indices[a:b])
        for a, b in zip(D.indptr[:-1], D.indptr[1:], strict=True)
        if b - a > 2 and np.abs(D.data[a:b]).min() > 0.4
    ]
    assert np.mean([support in supports for support in clear]) > 0.9
    np.testing.assert_allclose(found.rows.power(2).sum(axis=1), 1.0)
    assert np.all(found.std < 2 * noise)


def test_noise_alone_gives_no_candidates(rng):
    X = rng.standard_normal((200, 100))
    found = noisy_candidates(significant(X, 1.0), 1.0, rng, min_agreement=3, max_pairs=20_000)
    assert found.rows.shape == (0, 100)


def test_pursuit_finds_codes_that_explain_their_rows(seed, rng):
    noise = 0.01
    X, truth = make_sparse_product(
        200, 150, n_hidden=[60], n_nonzero=[2, 5], values="real", noise=noise, random_state=seed
    )
    D = sp.csr_array(truth.factors_[1])
    norms = np.sqrt(D.power(2).sum(axis=1))
    atoms = Atoms(sp.csr_array(sp.diags_array(1 / norms) @ D), np.zeros(60))
    codes = noisy_pursuit(significant(X, noise), atoms, noise)
    expected = (truth.factors_[0] @ sp.diags_array(norms)).toarray()
    right = np.all(np.abs(codes.toarray() - expected) < 10 * noise, axis=1)
    assert right.mean() > 0.8
