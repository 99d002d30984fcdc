"""What the report calls identified is true: fresh instances, and those on which it once was not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.sign_networks import sign_product


def small_product(seed):
    """Two factors of any shape, often with too few rows to determine them."""
    rng = np.random.RandomState(seed)
    n_samples, n_features = rng.randint(15, 200), rng.randint(20, 120)
    n_hidden, n_nonzero = rng.randint(5, 80), rng.randint(2, 8)
    return make_sparse_product(
        n_samples,
        n_features,
        n_hidden=[n_hidden],
        n_nonzero=int(n_nonzero),
        scale=rng.choice([1.0, 0.37, 2.5]),
        random_state=rng,
    )


def sign_network(seed, n_layers):
    rng = np.random.RandomState(seed)
    n_samples = rng.randint(200, 900)
    n_hidden = [int(rng.randint(80, 400)) for _ in range(n_layers)]
    n_features = rng.randint(150, 500)
    n_nonzero = int(rng.randint(2, 4 if n_layers > 1 else 5))
    _, truth = make_sparse_product(
        n_samples, n_features, n_hidden=n_hidden, n_nonzero=n_nonzero, random_state=rng
    )
    return [factor.sign() for factor in truth.factors_]


def plain_product(factors):
    result = factors[0]
    for factor in factors[1:]:
        result = sp.csr_array(result @ factor)
    result.eliminate_zeros()
    return result


def row_keys(A):
    A = row_gauge(sp.csr_array(A))[0]
    return [
        (tuple(A.indices[a:b]), tuple(A.data[a:b].round(4)))
        for a, b in zip(A.indptr[:-1], A.indptr[1:], strict=True)
    ]


def false_claims(fitted, factors, product=plain_product):
    """Identified nodes whose map to the features is that of no planted node of any layer."""
    planted = {
        key for level in range(1, len(factors)) for key in row_keys(product(factors[level:]))
    }
    found = [F.astype(float) for F in fitted.factors_]
    maps = {level: row_keys(product(found[level:])) for level in range(1, fitted.n_factors_)}
    return [
        unit
        for unit in fitted.report_.units
        if unit["identified"]
        and unit["end"] == "features"
        and maps[unit["layer"]][unit["unit"]] not in planted
    ]


def quiet_fit(X, *args, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecoveryWarning)
        return SparseDeepFactorizer(*args, **parameters).fit(X)


# An entry among the leftovers, an atom that is a sum of two, unstructured coincidences.
@pytest.mark.parametrize("instance", [24, 35, 53, 124])
def test_products_about_which_the_report_was_wrong(instance):
    X, truth = small_product(instance)
    fitted = quiet_fit(X, random_state=instance, method="intersection")
    assert not false_claims(fitted, truth.factors_)


# Sums of a few nodes were the sparsest vectors of the row space, and each was a sample; a node was
# claimed of a description that no two starts had in common.
@pytest.mark.parametrize(("instance", "method"), [(1003, "auto"), (2039, "intersection")])
def test_repeated_samples_in_more_nodes_than_samples(instance, method):
    rng = np.random.RandomState(instance)
    n_samples, n_features = rng.randint(15, 200), rng.randint(20, 120)
    n_hidden, n_nonzero = rng.randint(5, 80), rng.randint(2, 8)
    values = "real" if rng.rand() < 0.4 else "signs"
    X, truth = make_sparse_product(
        n_samples,
        n_features,
        n_hidden=[n_hidden],
        n_nonzero=int(n_nonzero),
        values=values,
        scale=rng.choice([1.0, 0.37, 2.5]),
        random_state=rng,
    )
    again = rng.randint(n_samples, size=n_samples)
    X = X[again] * rng.choice([1.0, -1, 2], size=n_samples)[:, None]
    fitted = quiet_fit(X, random_state=instance, method=method)
    assert not false_claims(fitted, truth.factors_)


def test_starts_without_a_common_description(instance=2009):
    rng = np.random.RandomState(instance)
    n_samples, n_features = rng.randint(40, 300), rng.randint(30, 150)
    n_hidden = [int(rng.randint(10, 100)) for _ in range(2)]
    n_nonzero = int(rng.randint(2, 5))
    X, truth = make_sparse_product(
        n_samples,
        n_features,
        n_hidden=n_hidden,
        n_nonzero=n_nonzero,
        values=rng.choice(["signs", "real"]),
        random_state=rng,
    )
    fitted = quiet_fit(X, n_factors=3, random_state=instance, method="intersection")
    assert not false_claims(fitted, truth.factors_)


@pytest.mark.parametrize(("instance", "n_layers"), [(18, 1), (95, 1), (47, 2), (66, 2)])
def test_sign_networks_about_which_the_report_was_wrong(instance, n_layers):
    factors = sign_network(instance, n_layers)
    X = sign_product(factors).toarray()
    fitted = quiet_fit(X, n_layers + 1, sign_activation=True, random_state=instance)
    assert not false_claims(fitted, factors, sign_product)


def test_a_layer_short_of_the_network_nothing_is_claimed(instance=2005):
    # Nodes of the layer that was not found share entries, and their samples looked independent.
    rng = np.random.RandomState(instance)
    rng.randint(1, 3)
    n_samples = rng.randint(100, 500)
    n_hidden = [int(rng.randint(40, 250)) for _ in range(2)]
    n_features, n_nonzero = rng.randint(80, 300), int(rng.randint(2, 4))
    _, truth = make_sparse_product(
        n_samples, n_features, n_hidden=n_hidden, n_nonzero=n_nonzero, random_state=rng
    )
    factors = [factor.sign() for factor in truth.factors_]
    X = sign_product(factors).toarray()
    fitted = quiet_fit(X, 3, sign_activation=True, random_state=instance)
    assert not false_claims(fitted, factors, sign_product)


def test_repeated_samples_are_no_further_evidence(seed):
    # Each sample three times: what only one of them shows must not look shared.
    rng = np.random.RandomState(seed)
    X, truth = make_sparse_product(30, 60, n_hidden=[25], n_nonzero=4, random_state=rng)
    X = np.vstack([X, -X, 2 * X])
    fitted = quiet_fit(X, random_state=0, method="intersection")
    assert not false_claims(fitted, truth.factors_)


def test_claims_about_a_comfortable_product_are_many_and_true(seed):
    X, truth = make_sparse_product(400, 200, n_hidden=[80], n_nonzero=5, random_state=seed)
    fitted = quiet_fit(X, random_state=0)
    assert np.mean(fitted.report_.identified) > 0.8
    assert not false_claims(fitted, truth.factors_)
