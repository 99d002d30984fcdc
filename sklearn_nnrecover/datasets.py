"""Generative models that return their ground truth in the estimators' own format."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

__all__ = ["make_relu_network"]

INPUT_DISTRIBUTIONS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.uniform(-np.sqrt(3), np.sqrt(3), shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1.0,
}


def _orthogonal_columns(rng: np.random.RandomState, n_rows: int, n_columns: int) -> np.ndarray:
    """Random matrix with orthonormal columns (or rows, when it is wide)."""
    tall = rng.standard_normal((max(n_rows, n_columns), min(n_rows, n_columns)))
    Q = np.linalg.qr(tall)[0]
    return Q if n_rows >= n_columns else Q.T


def _conditioned(matrix: np.ndarray, condition: float | None) -> np.ndarray:
    """Give a matrix geometrically spaced singular values of this condition number."""
    if condition is None:
        return matrix
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    return (left * np.geomspace(1.0, 1.0 / condition, len(singular))) @ right


def make_relu_network(
    n_samples: int = 100,
    n_features: int = 10,
    *,
    n_hidden: int = 5,
    n_outputs: int = 5,
    bias: bool = True,
    noise: float = 0.0,
    distribution: str = "normal",
    output_condition: float | None = None,
    input_condition: float | None = None,
    random_state: Any = None,
) -> tuple[np.ndarray, np.ndarray, Bunch]:
    """Samples of a random two-layer ReLU network ``y = relu(x W + b) A + c + noise``.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of X.
    n_hidden, n_outputs : int
        Width and number of outputs.
    bias : bool, default=True
        Draw hidden biases (standard deviation .5) and output intercepts; else both are zero.
    noise : float, default=0.0
        Standard deviation of Gaussian noise on the outputs, relative to their root mean square
        deviation.
    distribution : {"normal", "uniform", "exponential"}, default="normal"
        Independent inputs of mean 0 and variance 1.
    output_condition : float or None, default=None
        Condition number given to A.
    input_condition : float or None, default=None
        Condition number given to the covariance of the inputs.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Inputs.
    y : ndarray of shape (n_samples, n_outputs), or (n_samples,) for one output
        Outputs.
    truth : Bunch
        ``coefs_`` = [W, A] with unit-norm columns of W, ``intercepts_`` = [b, c], ``noise_std``.

    Examples
    --------
    >>> from sklearn_nnrecover.datasets import make_relu_network
    >>> X, y, truth = make_relu_network(50, 4, n_hidden=3, n_outputs=2, random_state=0)
    >>> X.shape, y.shape, truth.coefs_[0].shape
    ((50, 4), (50, 2), (4, 3))
    """
    if distribution not in INPUT_DISTRIBUTIONS:
        raise ValueError(
            f"distribution must be one of {sorted(INPUT_DISTRIBUTIONS)}, got {distribution!r}."
        )
    rng = check_random_state(random_state)
    X = INPUT_DISTRIBUTIONS[distribution](rng, (n_samples, n_features))
    if input_condition is not None:
        spread = np.geomspace(1.0, input_condition**-0.5, n_features)
        X = X @ ((basis := _orthogonal_columns(rng, n_features, n_features)) * spread) @ basis.T
    W = rng.standard_normal((n_features, n_hidden))
    W /= np.linalg.norm(W, axis=0)
    b = 0.5 * rng.standard_normal(n_hidden) if bias else np.zeros(n_hidden)
    A = _conditioned(rng.standard_normal((n_hidden, n_outputs)), output_condition)
    c = rng.standard_normal(n_outputs) if bias else np.zeros(n_outputs)
    y = np.maximum(X @ W + b, 0.0) @ A + c
    noise_std = noise * float(np.sqrt(np.mean((y - y.mean(axis=0)) ** 2)))
    y = y + noise_std * rng.standard_normal(y.shape)
    truth = Bunch(coefs_=[W, A], intercepts_=[b, c], noise_std=noise_std)
    return X, y[:, 0] if n_outputs == 1 else y, truth
