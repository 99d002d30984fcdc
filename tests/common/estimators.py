"""The estimators that every test of this folder runs on. Add a line to `ENTRIES` for yours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, is_regressor

from sklearn_nnrecover import ReLUNetRecovery, SymmetricMomentNet
from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.products import SparseDeepFactorizer


def relu_network_data(rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """120 samples of a network with 4 inputs, 3 units and 2 outputs."""
    X = rng.randn(120, 4)
    weights, bias = rng.randn(4, 3), 0.3 * rng.randn(3)
    return X, np.maximum(X @ weights + bias, 0) @ rng.randn(3, 2)


def symmetric_network_data(rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """200 samples of a network without biases, with 4 inputs, 3 units and 3 outputs."""
    X = rng.randn(200, 4)
    return X, np.maximum(X @ rng.randn(4, 3), 0) @ rng.randn(3, 3)


def sparse_code_data(rng: np.random.RandomState) -> tuple[np.ndarray, None]:
    """120 samples of 6 features, each a combination of 2 of 4 unit atoms."""
    codes = rng.uniform(1, 2, (120, 4)) * (rng.rand(120, 4).argsort(axis=1) < 2)
    atoms = rng.randn(4, 6)
    return codes @ (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)), None


def sparse_product_data(rng: np.random.RandomState) -> tuple[np.ndarray, None]:
    """120 samples of 40 features, a product of two sparse integer factors of width 12."""
    X, _ = make_sparse_product(120, 40, n_hidden=[12], n_nonzero=3, random_state=rng)
    return X, None


@dataclass(frozen=True)
class Entry:
    """One estimator under test.

    Attributes
    ----------
    estimator : estimator instance
        Unfitted, cheap to fit, with default parameters where possible.
    min_checks : int
        Number of scikit-learn's checks that must at least run.
    make_data : callable
        ``make_data(rng)`` returns ``(X, y)``, with ``y=None`` for an unsupervised estimator.
    allowed_skips : frozenset of str
        Checks of scikit-learn that may be skipped.
    """

    estimator: BaseEstimator
    min_checks: int
    make_data: Callable
    allowed_skips: frozenset[str] = frozenset({"check_array_api_input"})

    @property
    def name(self) -> str:
        return type(self.estimator).__name__

    @property
    def supervised(self) -> bool:
        return is_regressor(self.estimator)


ENTRIES: list[Entry] = [
    Entry(ReLUNetRecovery(random_state=0), 66, relu_network_data),
    Entry(SymmetricMomentNet(random_state=0), 66, symmetric_network_data),
    Entry(TiedAutoencoder(random_state=0), 47, sparse_code_data),
    Entry(SparseDeepFactorizer(random_state=0), 47, sparse_product_data),
]
