import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.row_spaces.last_factor_ica import (
    last_factor_by_ica,
    sparse_sources,
    tanh_separation,
    vectors_on_supports,
)
from sklearn_nnrecover.products.row_spaces.systematic_bases import row_space


def peel_of(Y, **options):
    return run_to_end(last_factor_by_ica(Y, **options))


def sparse_columns(n_rows, n_columns, weight, rng, *, integer=True):
    """Every column is a sum of ``weight`` signed (or scaled) unit vectors."""
    F = np.zeros((n_rows, n_columns))
    columns = np.arange(n_columns)
    for _ in range(weight):
        values = rng.choice([-1.0, 1.0], n_columns)
        if not integer:
            values = values * rng.uniform(0.5, 2, n_columns)
        np.add.at(F, (rng.randint(n_rows, size=n_columns), columns), values)
    return F


def n_recovered(found, planted):
    """Rows of ``planted`` that are rows of ``found`` up to scale."""
    cosines = [A / np.linalg.norm(A, axis=1)[:, None] for A in (found.toarray(), planted)]
    return int(np.sum(np.abs(cosines[0] @ cosines[1].T).max(axis=0) > 1 - 1e-9))


@pytest.mark.parametrize("integer", [True, False])
def test_every_row_behind_a_dense_mixture(integer, rng):
    F = sparse_columns(30, 900, 4, rng, integer=integer)
    Y = rng.normal(size=(30, 30)) @ F
    peel = peel_of(Y, rng=rng)
    assert n_recovered(peel.factor, F) == 30
    assert_allclose(peel.remainder @ peel.factor, Y, atol=1e-9 * np.abs(Y).max())
    assert peel.proven.mean() > 0.8
    assert peel.proof == "local"


def test_integer_chain_stays_integer(rng):
    F = sparse_columns(30, 900, 4, rng)
    Z = sparse_columns(40, 25, 5, rng) @ sparse_columns(25, 30, 5, rng)
    Z = np.vstack([Z, sparse_columns(30, 30, 5, rng)])
    if np.linalg.matrix_rank(Z) < 30:
        Z = np.vstack([Z, np.eye(30)])
    peel = peel_of(Z @ F, rng=rng)
    assert n_recovered(peel.factor, F) == 30
    assert_array_equal(peel.remainder @ peel.factor, Z @ F)


def test_rows_missed_by_the_first_separation_are_completed(rng, monkeypatch):
    F = sparse_columns(30, 900, 4, rng)
    space = row_space(rng.normal(size=(30, 30)) @ F)
    from sklearn_nnrecover.products.row_spaces import last_factor_ica

    whole = last_factor_ica.vectors_on_supports
    calls = []

    def forget_some(estimates, basis, *, max_weight):
        found = whole(estimates, basis, max_weight=max_weight)
        calls.append(len(estimates))
        return found[7:] if len(calls) == 1 else found

    monkeypatch.setattr(last_factor_ica, "vectors_on_supports", forget_some)
    sources = run_to_end(sparse_sources(space, max_weight=300, rng=rng))
    assert calls[0] == 30
    assert calls[1] >= 7
    assert sources.n_rounds >= 2
    assert calls[-2:] == [30, 30]
    assert sources.agreeing.mean() > 1.6
    assert n_recovered(sources.vectors, F) == 30


def test_rows_behind_a_deficient_remainder(rng):
    # Z v = 0 for a v of three non-zeros: only two combinations of those three rows are left.
    F = sparse_columns(30, 900, 4, rng)
    null = np.zeros(30)
    null[:3] = 1.0, 2.0, -1.0
    Z = rng.normal(size=(40, 30))
    Z -= np.outer(Z @ null, null) / (null @ null)
    peel = peel_of(Z @ F, rng=rng)
    assert peel.factor.shape == (29, 900)
    assert n_recovered(peel.factor, F) == 27
    assert_allclose(peel.remainder @ peel.factor, Z @ F, atol=1e-8)


def test_a_support_gives_its_vector_exactly_from_a_rough_estimate(rng):
    F = sparse_columns(10, 300, 2, rng, integer=False)
    space = row_space(rng.normal(size=(10, 10)) @ F)
    rough = F + 0.02 * rng.normal(size=F.shape)
    found = vectors_on_supports(rough, space.basis, max_weight=120)
    assert n_recovered(found, F) == 10


def test_a_support_without_a_vector_gives_none(rng):
    space = row_space(rng.normal(size=(10, 300)))
    estimate = np.zeros((1, 300))
    estimate[0, :40] = 1.0
    assert vectors_on_supports(estimate, space.basis, max_weight=120).shape[0] == 0


def test_separation_returns_a_rotation_and_counts_its_sweeps(rng):
    basis = row_space(sparse_columns(8, 400, 2, rng)).basis
    signals = basis * np.sqrt(400)
    steps = []
    separation = tanh_separation(signals, np.eye(len(basis)), max_sweeps=5, tol=0.0)
    while True:
        try:
            steps.append(next(separation))
        except StopIteration as end:
            rotation = end.value
            break
    assert len(steps) == 5
    assert_allclose(rotation @ rotation.T, np.eye(len(basis)), atol=1e-10)


@pytest.mark.parametrize("shape", [(200, 10), (10, 200), (5, 60), (1, 50), (40, 45)])
def test_dense_random_data_never_give_a_factor(shape, rng):
    assert peel_of(rng.normal(size=shape), rng=rng) is None


def test_uniform_codes_are_not_sparse(rng):
    Y = rng.normal(size=(8, 8)) @ rng.uniform(-1, 1, size=(8, 500))
    assert peel_of(Y, rng=rng) is None


def test_same_seed_same_bits(rng):
    F = sparse_columns(12, 300, 2, rng)
    Y = rng.normal(size=(12, 12)) @ F
    first, second = (peel_of(Y, rng=np.random.RandomState(1)).factor for _ in range(2))
    assert_array_equal(first.toarray(), second.toarray())


def test_small_entries_of_a_row_are_kept(rng):
    # A support without them carries the rest of the row up to 1e-5 of its norm: not good enough.
    F = sparse_columns(10, 300, 2, rng, integer=False)
    column = int(np.flatnonzero(F[3])[0])
    F[3, column] = 1e-5
    space = row_space(rng.normal(size=(10, 10)) @ F)
    rough = F + 1e-3 * rng.normal(size=F.shape)
    found = vectors_on_supports(rough, space.basis, max_weight=150).toarray()
    unit = found / np.linalg.norm(found, axis=1)[:, None]
    cosine = np.abs(unit @ F[3]) / np.linalg.norm(F[3])
    assert cosine.max() > 1 - 1e-12
    assert unit[np.argmax(cosine), column] != 0
