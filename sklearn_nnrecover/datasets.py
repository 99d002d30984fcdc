"""Generative models that return their ground truth in the estimators' own format."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch, check_random_state

from sklearn_nnrecover.networks.model.rectified_activations import activation_of

__all__ = [
    "make_relu_network",
    "make_sparse_codes",
    "make_sparse_product",
    "make_spherical_mixture",
    "make_structured_product",
]

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
    activation: Any = "relu",
    negative_slope: float = 0.01,
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
    activation : str or pair of callables, default="relu"
        Activation of the hidden layer, as in :class:`~sklearn_nnrecover.ReLUNetRecovery`.
    negative_slope : float, default=0.01
        Slope of ``"leaky_relu"`` on negative arguments.
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
    y = activation_of(activation, negative_slope).value(X @ W + b) @ A + c
    noise_std = noise * float(np.sqrt(np.mean((y - y.mean(axis=0)) ** 2)))
    y = y + noise_std * rng.standard_normal(y.shape)
    truth = Bunch(coefs_=[W, A], intercepts_=[b, c], noise_std=noise_std)
    return X, y[:, 0] if n_outputs == 1 else y, truth


def _random_sparse_rows(
    rng: np.random.RandomState, n_rows: int, n_columns: int, n_nonzero: int, values: str
) -> sp.csr_array:
    """Rows that are sums of ``n_nonzero`` weighted unit vectors drawn with replacement."""
    rows = np.repeat(np.arange(n_rows), n_nonzero)
    columns = rng.randint(n_columns, size=n_rows * n_nonzero)
    entries = rng.choice([-1.0, 1.0], size=n_rows * n_nonzero)
    if values == "real":
        entries *= rng.uniform(0.5, 2.0, size=n_rows * n_nonzero)
    factor = sp.csr_array((entries, (rows, columns)), shape=(n_rows, n_columns))
    factor.sum_duplicates()
    factor.eliminate_zeros()
    factor.sort_indices()
    return factor


def make_sparse_product(
    n_samples: int = 400,
    n_features: int = 200,
    *,
    n_hidden: Sequence[int] = (150,),
    n_nonzero: int | Sequence[int] = 4,
    values: str = "signs",
    scale: float = 1.0,
    noise: float = 0.0,
    sparse_output: bool = False,
    random_state: Any = None,
) -> tuple[Any, Bunch]:
    """Product of random sparse factors, with noise if wanted.

    The model is ``X = scale * F[0] @ F[1] @ ... @ F[L-1] + noise``.

    Each row of a factor is a sum of ``n_nonzero`` signed unit vectors, the random d-sparse
    matrices of Neyshabur and Panigrahy (2013) with samples in rows: small integers, occasionally
    zero or two.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of X.
    n_hidden : sequence of int, default=(150,)
        Widths between the factors, from the samples to the features: one less than the factors.
    n_nonzero : int or sequence of int, default=4
        Unit vectors summed in each row, for all factors or one number per factor.
    values : {"signs", "real"}, default="signs"
        Weights of the unit vectors: random signs, or random signs times uniform on [.5, 2].
    scale : float, default=1.0
        Common factor.
    noise : float, default=0.0
        Standard deviation of Gaussian noise on every entry of X, relative to ``scale``.
    sparse_output : bool, default=False
        Return X as a csr_array; not with noise.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    X : ndarray or csr_array of shape (n_samples, n_features)
        Data.
    truth : Bunch
        ``factors_`` (list of csr_array), ``scale_``, ``noise_std``.

    Examples
    --------
    >>> from sklearn_nnrecover.datasets import make_sparse_product
    >>> X, truth = make_sparse_product(30, 20, n_hidden=(15, 10), n_nonzero=3, random_state=0)
    >>> X.shape, [F.shape for F in truth.factors_]
    ((30, 20), [(30, 15), (15, 10), (10, 20)])
    """
    if values not in ("signs", "real"):
        raise ValueError(f"values must be 'signs' or 'real', got {values!r}.")
    if noise and sparse_output:
        raise ValueError("noise fills every entry: use sparse_output=False with noise > 0.")
    widths = [n_samples, *n_hidden, n_features]
    n_factors = len(widths) - 1
    counts = [n_nonzero] * n_factors if isinstance(n_nonzero, int) else list(n_nonzero)
    if len(counts) != n_factors:
        raise ValueError(f"n_nonzero needs one number per factor ({n_factors}), got {len(counts)}.")
    rng = check_random_state(random_state)
    factors = [
        _random_sparse_rows(rng, n_rows, n_columns, count, values)
        for n_rows, n_columns, count in zip(widths[:-1], widths[1:], counts, strict=True)
    ]
    X = factors[0]
    for factor in factors[1:]:
        X = sp.csr_array(X @ factor)
    X = scale * X
    X.eliminate_zeros()
    X.sort_indices()
    noise_std = noise * scale
    truth = Bunch(factors_=factors, scale_=float(scale), noise_std=float(noise_std))
    if not sparse_output:
        X = X.toarray()
    if noise_std:
        X = X + noise_std * rng.standard_normal(X.shape)
    return X, truth


def make_structured_product(
    structures: Sequence[Any],
    *,
    noise: float = 0.0,
    random_state: Any = None,
) -> tuple[np.ndarray, Bunch]:
    """Product of structured factors with random parameters, and noise.

    The data are ``X = M_1(h_1) @ ... @ M_K(h_K) + noise``.

    Parameters
    ----------
    structures : sequence of structures
        Factors from left to right, see :mod:`sklearn_nnrecover.products.structures`.
    noise : float, default=0.0
        Frobenius norm of the Gaussian noise, relative to the product.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    X : ndarray of shape (n_rows of the first factor, n_columns of the last)
        Data.
    truth : Bunch
        ``parameters_`` (list of arrays, standard normal), ``factors_`` (list of csr_array),
        ``noise_std`` (of an entry), ``noise_norm`` (of the noise drawn).

    Examples
    --------
    >>> from sklearn_nnrecover.datasets import make_structured_product
    >>> from sklearn_nnrecover.products.structures import Convolution, Diagonal
    >>> X, truth = make_structured_product([Diagonal(8), Convolution(8, 3)], random_state=0)
    >>> X.shape, [len(h) for h in truth.parameters_]
    ((8, 8), [8, 3])
    """
    rng = check_random_state(random_state)
    for k, (left, right) in enumerate(pairwise(structures)):
        if left.shape[1] != right.shape[0]:
            raise ValueError(
                f"structures[{k}] has {left.shape[1]} columns but structures[{k + 1}] has "
                f"{right.shape[0]} rows; the factors of a product must fit together."
            )
    parameters = [rng.standard_normal(structure.n_parameters) for structure in structures]
    factors = [
        sp.csr_array(structure.matrix(h))
        for structure, h in zip(structures, parameters, strict=True)
    ]
    product: Any = factors[-1]
    for factor in factors[-2::-1]:
        product = factor @ product
    X = product.toarray()
    noise_norm = 0.0
    noise_std = noise * float(np.linalg.norm(X)) / np.sqrt(X.size)
    if noise_std:
        disturbance = noise_std * rng.standard_normal(X.shape)
        noise_norm = float(np.linalg.norm(disturbance))
        X = X + disturbance
    truth = Bunch(
        parameters_=parameters, factors_=factors, noise_std=noise_std, noise_norm=noise_norm
    )
    return X, truth


def make_sparse_codes(
    n_samples: int = 1000,
    n_features: int = 32,
    *,
    n_components: int = 48,
    n_nonzero: int = 3,
    nonnegative: bool = False,
    amplitudes: tuple[float, float] = (0.5, 1.5),
    noise: float = 0.0,
    random_state: Any = None,
) -> tuple[np.ndarray, Bunch]:
    """Sparse combinations of random unit atoms, ``X = codes @ components + noise``.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of X.
    n_components : int, default=48
        Number of atoms, uniform on the sphere.
    n_nonzero : int, default=3
        Atoms of each sample, a uniformly random subset.
    nonnegative : bool, default=False
        Codes are positive; else their signs are random.
    amplitudes : pair of float, default=(.5, 1.5)
        Range of the uniform distribution of the codes' magnitudes.
    noise : float, default=0.0
        Standard deviation of Gaussian noise on every entry of X.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    truth : Bunch
        ``components_`` (n_components, n_features), ``codes`` (csr_array), ``noise_std``.

    Examples
    --------
    >>> from sklearn_nnrecover.datasets import make_sparse_codes
    >>> X, truth = make_sparse_codes(50, 8, n_components=12, n_nonzero=2, random_state=0)
    >>> X.shape, truth.components_.shape, truth.codes.nnz
    ((50, 8), (12, 8), 100)
    """
    if n_nonzero > n_components:
        raise ValueError(f"n_nonzero={n_nonzero} is more than n_components={n_components}.")
    rng = check_random_state(random_state)
    components = rng.standard_normal((n_components, n_features))
    components /= np.linalg.norm(components, axis=1, keepdims=True)
    supports = np.sort(rng.random_sample((n_samples, n_components)).argsort(axis=1)[:, :n_nonzero])
    values = rng.uniform(*amplitudes, size=supports.shape)
    if not nonnegative:
        values *= rng.choice([-1.0, 1.0], size=supports.shape)
    indptr = np.arange(0, supports.size + 1, n_nonzero)
    codes = sp.csr_array(
        (values.ravel(), supports.ravel(), indptr), shape=(n_samples, n_components)
    )
    X = codes @ components
    if noise:
        X = X + noise * rng.standard_normal(X.shape)
    return X, Bunch(components_=components, codes=codes, noise_std=float(noise))


def make_spherical_mixture(
    n_samples: int = 1000,
    n_features: int = 32,
    *,
    n_components: int = 10,
    norm: float = 1.0,
    noise: float = 0.1,
    weights: Sequence[float] | None = None,
    random_state: Any = None,
) -> tuple[np.ndarray, np.ndarray, Bunch]:
    """Samples of a mixture of spherical Gaussians with random means.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of X.
    n_components : int, default=10
        Number of components.
    norm : float, default=1.0
        Norm of the means, whose directions are uniform on the sphere.
    noise : float, default=0.1
        Standard deviation of every entry around its mean.
    weights : sequence of float of length n_components or None, default=None
        Probabilities of the components; None makes them equal.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    y : ndarray of shape (n_samples,)
        Component of each sample.
    truth : Bunch
        ``components_`` (the means), ``weights``, ``noise_std``.

    Examples
    --------
    >>> from sklearn_nnrecover.datasets import make_spherical_mixture
    >>> X, y, truth = make_spherical_mixture(50, 8, n_components=3, random_state=0)
    >>> X.shape, y.shape, truth.components_.shape
    ((50, 8), (50,), (3, 8))
    """
    rng = check_random_state(random_state)
    means = rng.standard_normal((n_components, n_features))
    means *= norm / np.linalg.norm(means, axis=1, keepdims=True)
    shares = np.full(n_components, 1.0) if weights is None else np.asarray(weights, dtype=float)
    shares = shares / shares.sum()
    y = rng.choice(n_components, size=n_samples, p=shares)
    X = means[y] + noise * rng.standard_normal((n_samples, n_features))
    return X, y, Bunch(components_=means, weights=shares, noise_std=float(noise))
