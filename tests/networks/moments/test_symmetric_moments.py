"""Sums that merge: in any order and split, through dicts, and never half updated."""

import io

import numpy as np
import pytest
from sklearn import config_context

from sklearn_nnrecover.networks import SymmetricMoments
from sklearn_nnrecover.networks.moments.symmetric_moments import isometry, monomials


@pytest.fixture
def chunks(rng):
    X, y = rng.standard_normal((400, 5)), rng.standard_normal((400, 3))
    return X, y, rng.uniform(0, 2, 400)


def same(first, second, rtol=1e-12):
    assert (first.n_rows, first.n_features) == (second.n_rows, second.n_features)
    np.testing.assert_allclose(first.weight, second.weight, rtol=rtol)
    for group in ("u", "yx", "yy", "xx"):
        largest = np.abs(second.mixed(group)).max()
        np.testing.assert_allclose(first.mixed(group), second.mixed(group), atol=rtol * largest)
    np.testing.assert_allclose(first.second, second.second, atol=rtol * second.second.max())
    np.testing.assert_allclose(first.sixth, second.sixth, rtol=rtol)


def test_sums_are_what_they_are_called(chunks):
    X, y, w = chunks
    moments = SymmetricMoments().update(X, y, w)
    u = np.column_stack([np.ones(400), X, y])
    phi = monomials(X.T).T
    np.testing.assert_allclose(moments.second, (u.T * w) @ u, atol=1e-10)
    np.testing.assert_allclose(moments.mixed("u"), (u.T * w) @ phi, atol=1e-10)
    yx = (y[:, :, None] * X[:, None]).reshape(400, -1)
    np.testing.assert_allclose(moments.mixed("yx"), (yx.T * w) @ phi, atol=1e-10)
    np.testing.assert_allclose(moments.mixed("yy"), (monomials(y.T) * w) @ phi, atol=1e-10)
    np.testing.assert_allclose(moments.mixed("xx"), (phi.T * w) @ phi, atol=1e-10)
    np.testing.assert_allclose(moments.sixth, (X.T**4 * w) @ X**2, atol=1e-9)


def test_monomials_are_isometric(rng):
    X = rng.standard_normal((4, 7))
    packed = monomials(X) * isometry(4)[:, None]
    full = np.einsum("in,jn->ijn", X, X).reshape(16, 7)
    np.testing.assert_allclose(packed.T @ packed, full.T @ full, atol=1e-12)


def test_any_order_split_and_merge(chunks, rng):
    X, y, w = chunks
    whole = SymmetricMoments().update(X, y, w)
    parts = [
        SymmetricMoments().update(X[rows], y[rows], w[rows])
        for rows in np.array_split(rng.permutation(400), 7)
    ]
    same(sum(parts), whole)
    same(parts[0] + sum(parts[1:]), whole)
    one_by_one = SymmetricMoments()
    for rows in np.array_split(np.arange(400), 40):
        one_by_one.update(X[rows], y[rows], w[rows])
    same(one_by_one, whole)
    with config_context(working_memory=0.05):
        same(SymmetricMoments().update(X, y, w), whole)


def test_addition_leaves_its_parts_alone(chunks):
    X, y, _ = chunks
    first, second = SymmetricMoments().update(X, y), SymmetricMoments().update(2 * X, y)
    before = first.to_dict()
    same(first + SymmetricMoments(), first)
    same(SymmetricMoments() + first, first)
    _ = first + second
    for name, value in first.to_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_weights_are_frequencies(chunks, rng):
    X, y, _ = chunks
    times = rng.randint(0, 4, 400)
    weighted = SymmetricMoments().update(X, y, times)
    repeated = SymmetricMoments().update(X.repeat(times, axis=0), y.repeat(times, axis=0))
    np.testing.assert_allclose(weighted.second, repeated.second, atol=1e-9)
    np.testing.assert_allclose(weighted.sixth, repeated.sixth)
    assert weighted.weight == repeated.weight
    assert weighted.n_rows == np.count_nonzero(times)


def test_through_a_file(chunks):
    X, y, w = chunks
    moments = SymmetricMoments().update(X.astype("f4"), y, w)
    file = io.BytesIO()
    np.savez(file, **moments.to_dict())
    file.seek(0)
    restored = SymmetricMoments.from_dict(np.load(file))
    same(restored, moments, rtol=0)
    assert restored.dtype == moments.dtype == "float32"
    empty = SymmetricMoments.from_dict(SymmetricMoments().to_dict())
    assert empty.n_rows == 0 and empty.n_bytes == 0
    assert "400 samples" in repr(restored)


def test_bad_chunks_leave_the_sums_untouched(chunks):
    X, y, w = chunks
    moments = SymmetricMoments().update(X, y, w)
    before = moments.to_dict()
    spoiled, infinite = X.copy(), y.copy()
    spoiled[-1, 2], infinite[0, 0] = np.nan, np.inf
    for arguments, message in [
        ((spoiled, y), "X contains NaN"),
        ((X, infinite), "y contains infinity"),
        ((X[:0], y[:0]), "0 sample"),
        ((X[:, :4], y), "4 features and 3 outputs"),
        ((X, y[:, 0]), "5 features and 1 outputs"),
        ((X, y[:-1]), "inconsistent numbers of samples"),
        ((X, y, -w), "non-negative"),
        ((X, y, w[:-1]), "inconsistent numbers of samples"),
    ]:
        with pytest.raises(ValueError, match=message):
            moments.update(*arguments)
    for name, value in moments.to_dict().items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(ValueError, match="4 features"):
        _ = moments + SymmetricMoments().update(X[:, :4], y)
    with pytest.raises(TypeError):
        _ = moments + 1


def test_memory_is_refused_with_figure_and_remedy(rng):
    X, y = rng.standard_normal((3, 784)), rng.standard_normal((3, 10))
    with pytest.raises(MemoryError, match=r"2\d,\d+ MiB.*use fit") as refused:
        SymmetricMoments().update(X, y)
    assert "working_memory" in str(refused.value)
    small = SymmetricMoments().update(X[:, :70], y)
    # Beyond 63 features fourth moments of the inputs alone are not kept.
    assert len(small.mixed("xx")) == 0
    assert small.n_bytes < 50e6
