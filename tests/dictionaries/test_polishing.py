"""Polishing reaches the optimum, in blocks, and is not misled by samples with wrong supports."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_sparse_codes
from sklearn_nnrecover.dictionaries import polishing
from sklearn_nnrecover.dictionaries import samples as samples_module
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.polishing import polish
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.updates import normalized_rows
from sklearn_nnrecover.linalg.steps import run_to_end


def near(truth, rng, size=0.02):
    D = truth.components_
    return normalized_rows(D + size * rng.standard_normal(D.shape), D)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_noiseless_atoms_to_rounding(rng, nonnegative):
    X, truth = make_sparse_codes(
        3000, 48, n_components=64, n_nonzero=3, nonnegative=nonnegative, random_state=rng
    )
    rule = CodeRule("omp", 3, nonnegative=nonnegative)
    polished = run_to_end(polish(Samples(X), near(truth, rng), rule, tol=1e-14))
    assert np.abs(polished.atoms - truth.components_).max() < 1e-12
    assert np.median(polished.residual_square) < 1e-26


def test_outliers_are_trimmed(rng):
    X, truth = make_sparse_codes(3000, 48, n_components=64, n_nonzero=3, random_state=rng)
    X[:30] = rng.standard_normal((30, 48))
    polished = run_to_end(polish(Samples(X), near(truth, rng), CodeRule("omp", 3), tol=1e-14))
    assert np.abs(polished.atoms - truth.components_).max() < 1e-11
    assert polished.n_trimmed >= 30


def test_blocks_do_not_change_the_result(rng, monkeypatch):
    X, truth = make_sparse_codes(
        1500, 32, n_components=40, n_nonzero=2, noise=0.03, random_state=rng
    )
    start = near(truth, rng)
    whole = run_to_end(polish(Samples(X), start, CodeRule("omp", 2), tol=1e-14))
    monkeypatch.setattr(samples_module, "BLOCK_MEBIBYTES", 0.2)
    assert len(Samples(X).slices(8 * (40 + 7 * 32))) > 5
    blocks = run_to_end(polish(Samples(X), start, CodeRule("omp", 2), tol=1e-14))
    np.testing.assert_allclose(blocks.atoms, whole.atoms, atol=1e-10)
    np.testing.assert_allclose(blocks.usage, whole.usage)


def test_error_is_the_noise_floor(rng):
    n_samples, n, m, k, noise = 4000, 40, 50, 3, 0.05
    X, truth = make_sparse_codes(
        n_samples, n, n_components=m, n_nonzero=k, noise=noise, random_state=rng
    )
    polished = run_to_end(polish(Samples(X), near(truth, rng), CodeRule("omp", k), tol=1e-14))
    error = np.linalg.norm(polished.atoms - truth.components_, axis=1).mean()
    floor = noise * np.sqrt(n * m / (n_samples * k * 13 / 12))
    assert 0.85 * floor < error < 1.15 * floor


def test_a_sample_that_goes_wrong_late_undoes_nothing(rng, monkeypatch):
    """Its support is wrong as soon as atoms are at rounding."""
    X, truth = make_sparse_codes(2000, 96, n_components=64, n_nonzero=2, random_state=rng)
    errors = []

    def misled(X, D, rule, *, gram):
        codes = encode(X, D, rule, gram=gram)
        errors.append(np.abs(D - truth.components_).max())
        if min(errors) < 1e-11:
            codes = codes.tolil()
            codes[0] = 0
            codes[0, 5] = 0.2
            codes = codes.tocsr()
        return codes

    monkeypatch.setattr(polishing, "encode", misled)
    start = near(truth, rng, size=0.002)
    polished = run_to_end(polish(Samples(X), start, CodeRule("omp", 2), tol=0))
    assert len(errors) >= 2
    assert max(errors[1:]) < 1e-11
    assert np.abs(polished.atoms - truth.components_).max() < 1e-11
    assert polished.n_trimmed >= 1
