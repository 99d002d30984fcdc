"""Least squares on given supports: derivatives, optimum, standard errors, what stays free."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.products.noisy.product_jacobian import product_jacobian
from sklearn_nnrecover.products.noisy.support_least_squares import (
    block_inverse,
    codes_by_least_squares,
    fit_supports,
    in_gauge,
)


def planted(seed, n_hidden, noise, n_samples=200, n_features=60):
    X, truth = make_sparse_product(
        n_samples,
        n_features,
        n_hidden=n_hidden,
        n_nonzero=3,
        values="real",
        noise=noise,
        random_state=seed,
    )
    return X, [sp.csr_array(F) for F in truth.factors_]


def product(factors):
    result = factors[0].toarray()
    for factor in factors[1:]:
        result = result @ factor
    return result


@pytest.mark.parametrize("n_hidden", [[12], [12, 9], [12, 10, 8]])
def test_jacobian_is_the_derivative(seed, rng, n_hidden):
    _, factors = planted(seed, n_hidden, 0.0, 30, 20)
    jacobian = product_jacobian(factors)
    for level, (F, layer) in enumerate(zip(factors, jacobian.layers, strict=True)):
        change = rng.standard_normal(F.nnz)
        moved = list(factors)
        moved[level] = sp.csr_array((change, F.indices, F.indptr), shape=F.shape)
        expected = product(moved).ravel()
        got = np.zeros_like(expected)
        got[jacobian.cells] = layer @ change
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_block_inverse_is_the_pseudo_inverse_and_marks_what_is_free(rng):
    sizes = np.array([3, 1, 0, 2, 3])
    blocks = []
    for size in sizes[sizes > 0]:
        A = rng.standard_normal((size + 2, size))
        blocks.append(A.T @ A)
    blocks[-1][:, 0] = blocks[-1][0, :] = 0.0
    blocks[-1][0, 0] = 0.0
    gram = sp.csr_array(sp.block_diag(blocks))
    found = block_inverse(gram, np.concatenate([[0], np.cumsum(sizes)]))
    np.testing.assert_allclose(
        found.matrix.toarray(), np.linalg.pinv(gram.toarray(), rcond=1e-10), atol=1e-8
    )
    assert list(np.flatnonzero(found.free)) == [6]


def test_codes_are_the_least_squares_of_each_row(seed, rng):
    X, (C, D) = planted(seed, [20], 0.1)
    keep = rng.uniform(size=X.shape) < 0.9
    codes, precision = codes_by_least_squares(X, C, D, keep)
    row = int(np.argmax(np.diff(C.indptr)))
    support = slice(C.indptr[row], C.indptr[row + 1])
    A = D[C.indices[support]].toarray().T[keep[row]]
    np.testing.assert_allclose(
        codes.data[support], np.linalg.lstsq(A, X[row, keep[row]], rcond=1e-5)[0], atol=1e-6
    )
    if np.linalg.matrix_rank(A) == A.shape[1]:
        expected = np.sqrt(np.diagonal(np.linalg.inv(A.T @ A)))
        np.testing.assert_allclose(precision[support], expected, rtol=1e-6)


@pytest.mark.parametrize("n_hidden", [[20], [20, 15]])
def test_gradient_vanishes_at_the_fit(seed, rng, n_hidden):
    X, factors = planted(seed, n_hidden, 0.05)
    assert_stationary(X, factors)


def test_a_reference_far_below_the_noise_does_not_stop_the_fit(seed, rng):
    """The gauge divides a row by its smallest entry."""
    _, (C, D) = planted(seed, [20], 0.0, 400)
    D.data[D.indptr[np.argmax(np.diff(D.indptr))]] = 1e-5
    X = (C @ D).toarray()
    assert_stationary(X + 0.05 * rng.standard_normal(X.shape), [C, D])


def assert_stationary(X, factors):
    fit = fit_supports(X, factors)
    cells, layers = product_jacobian(fit.factors)
    residual = (X - product(fit.factors)).ravel()[cells]
    for layer in layers:
        size = np.sqrt(np.maximum(layer.power(2).sum(axis=0), 1e-300))
        steep = np.abs(layer.T @ residual) / size
        assert steep.max() < 1e-4 * np.linalg.norm(residual)
    assert np.linalg.norm(residual) <= np.linalg.norm((X - product(factors)).ravel()[cells])


def test_the_gauge_is_kept_and_its_entries_are_exact(seed):
    X, factors = planted(seed, [20], 0.05)
    fit = fit_supports(X, factors)
    layer, errors = fit.factors[1], fit.standard_errors[1]
    for start, end in zip(layer.indptr[:-1], layer.indptr[1:], strict=True):
        if start == end:
            continue
        values = layer.data[start:end]
        reference = int(np.argmin(np.abs(values)))
        assert np.abs(values[reference]) == pytest.approx(1.0)
        assert values[0] > 0
        assert errors[start + reference] == 0
        assert np.all(np.delete(errors[start:end], reference) > 0)


def test_errors_do_not_depend_on_the_start(seed, rng):
    X, factors = planted(seed, [20], 0.05)
    near = [sp.csr_array(F * (1 + 0.01 * rng.standard_normal(F.shape))) for F in factors]
    one, other = fit_supports(X, factors), fit_supports(X, near)
    np.testing.assert_allclose(product(one.factors), product(other.factors), atol=1e-5)
    for a, b in zip(one.standard_errors, other.standard_errors, strict=True):
        finite = np.isfinite(a) & (a > 0) & (b > 0)
        np.testing.assert_allclose(a[finite], b[finite], rtol=0.05)


def test_intervals_cover_the_truth(seed):
    """Entries of one row share the error of their reference: the spread is that of the rows."""
    deviations = []
    for shift in range(6):
        X, factors = planted(seed + shift, [30], 0.05, 300, 100)
        truth = in_gauge(factors)
        fit = fit_supports(X, truth)
        # The truth in the gauge of the fit: the entry that the fit calls 1.
        D, errors = fit.factors[1], fit.standard_errors[1]
        rows = np.repeat(np.arange(D.shape[0]), np.diff(D.indptr))
        scale = np.ones(D.shape[0])
        reference = errors == 0
        scale[rows[reference]] = truth[1].data[reference] / D.data[reference]
        free = np.isfinite(errors) & (errors > 0)
        deviations.append((D.data - truth[1].data / scale[rows])[free] / errors[free])
        codes = fit.standard_errors[0]
        free = np.isfinite(codes)
        true_codes = truth[0].data * scale[truth[0].indices]
        deviations.append((fit.factors[0].data - true_codes)[free] / codes[free])
    z = np.concatenate(deviations)
    assert len(z) > 4000
    assert 0.92 < np.mean(np.abs(z) < 1.96) < 0.98


def test_what_the_data_leave_free_has_no_error_bar(rng):
    # Both atoms are used by one row only, and together: their sum is all that is seen.
    C = sp.csr_array(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.5], [0.0, 0.0, 1.0]]))
    D = sp.csr_array(np.array([[1.0, 2.0, 0, 0], [1.0, 3.0, 0, 0], [0, 0, 1.0, 2.0]]))
    X = (C @ D).toarray() + 0.01 * rng.standard_normal((3, 4))
    fit = fit_supports(X, [C, D])
    by_row = np.split(fit.standard_errors[1], D.indptr[1:-1])
    assert np.isinf(by_row[0]).any() or np.isinf(by_row[1]).any()
    assert np.isfinite(by_row[2]).all()
    assert np.isinf(fit.standard_errors[0][:2]).any()
    assert np.isfinite(fit.standard_errors[0][2:]).all()


def test_large_layers_get_no_error_bars_but_the_fit(seed, monkeypatch):
    X, factors = planted(seed, [20], 0.05)
    whole = fit_supports(X, factors)
    monkeypatch.setattr(
        "sklearn_nnrecover.products.noisy.support_least_squares.LARGEST_SCHUR_COMPLEMENT", 10
    )
    fit = fit_supports(X, factors)
    assert all(np.isnan(errors).all() for errors in fit.standard_errors)
    np.testing.assert_allclose(product(fit.factors), product(whole.factors), atol=1e-2)


def test_memory_is_refused_with_the_figure(seed):
    from sklearn import config_context

    X, factors = planted(seed, [20], 0.05)
    with config_context(working_memory=1e-3), pytest.raises(MemoryError, match="working_memory"):
        fit_supports(X, factors)
