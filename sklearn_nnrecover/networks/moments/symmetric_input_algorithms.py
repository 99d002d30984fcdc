"""Algorithms 1-4 of the paper on symmetric inputs, as printed.

They are kept for comparison and for readers of the paper; :mod:`pure_neuron_moments` estimates the
same quantities with far smaller errors. The paper's samples are columns, y = A relu(W x); here they
are rows, ``y = relu(X W) A``, and its halves of the samples are random halves.

References
----------
Ge, Kuditipudi, Li and Wang, "Learning Two-layer Neural Networks with Symmetric Inputs", ICLR 2019.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.networks.moments.symmetric_moments import monomials, n_monomials


def single_layer_network(X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Algorithm 1: ``w = 2 E[x x']^-1 E[y x]`` for ``y = relu(x w) + noise``.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Inputs.
    y : ndarray of shape (n,) or (n, k)
        Outputs of one network, or of k.
    weight : ndarray of shape (n,)
        Frequencies.

    Returns
    -------
    ndarray of shape (d,) or (d, k)
    """
    weighted = X.T * weight
    return 2.0 * np.linalg.pinv(weighted @ X, hermitian=True) @ (weighted @ y)


def pure_neuron_detector(X: np.ndarray, Y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Lines 2-4 of Algorithm 3: T with ``T vec*(u u') = f(u)``, equation (11).

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Inputs.
    Y : ndarray of shape (n, k)
        Outputs.
    weight : ndarray of shape (n,)
        Frequencies.

    Returns
    -------
    ndarray of shape (d (d + 1) / 2, k (k + 1) / 2)
        Rows are the distinct entries of ``x (x) x``; columns those of a symmetric U.
    """
    (n, d), k = X.shape, Y.shape[1]
    total = weight.sum()
    linear = X @ (0.5 * single_layer_network(X, Y, weight))
    T, inputs, outputs = np.zeros((n_monomials(d), n_monomials(k))), 0.0, 0.0
    for block in row_blocks(n, 8.0 * (n_monomials(d) + 3 * n_monomials(k)), 32.0):
        left = monomials(np.ascontiguousarray(X[block].T))
        b, y = linear[block].T, np.ascontiguousarray(Y[block].T)
        # 2 (u'y)(u'b) - (u'y)^2 as a form in u: (b + y)^2 - b^2 - 2 y^2, entry by entry.
        right = monomials(b + y) - monomials(b) - 2 * monomials(y)
        right *= weight[block]
        inputs = inputs + left @ weight[block]
        outputs = outputs + right.sum(axis=1)
        T += left @ right.T
    T = T / total - np.outer(inputs, outputs) / total**2
    rows, columns = np.triu_indices(k)
    return T * np.where(rows == columns, 1.0, 2.0)


def two_layer_network(
    X: np.ndarray, Y: np.ndarray, weight: np.ndarray, *, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 3 (Algorithm 2 with the noise term and sample splitting).

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Inputs.
    Y : ndarray of shape (n, k)
        Outputs, as many as hidden units.
    weight : ndarray of shape (n,)
        Frequencies.
    rng : RandomState
        Halves the samples and draws the two random combinations.

    Returns
    -------
    W : ndarray of shape (d, k)
    A : ndarray of shape (k, k)
    """
    n, k = Y.shape
    first, second = np.array_split(rng.permutation(n), 2)
    T = pure_neuron_detector(X[first], Y[first], weight[first])
    right = np.linalg.svd(T)[2][::-1][:k]
    upper, lower = np.triu_indices(k)
    span = np.zeros((k, k, k))
    span[:, upper, lower] = span[:, lower, upper] = right
    one, two = np.tensordot(rng.standard_normal((2, k)), span, axes=1)
    # Sampling errors can make a pair of eigenvectors complex.
    Z = np.real(np.linalg.eig(one @ np.linalg.pinv(two))[1])
    mean = weight[second] @ (Y[second] @ Z)
    Z = Z * np.where(mean < 0, -1.0, 1.0)
    W = single_layer_network(X[second], Y[second] @ Z, weight[second])
    return W, np.linalg.pinv(Z)


def network_with_more_outputs(
    X: np.ndarray,
    Y: np.ndarray,
    weight: np.ndarray,
    n_hidden: int,
    *,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """Algorithm 4: project the outputs on the left singular vectors of E[y x'], then Algorithm 3.

    Parameters
    ----------
    X, Y, weight
        See :func:`two_layer_network`; more outputs than units.
    n_hidden : int
        Number of hidden units k.
    rng : RandomState
        Source of randomness.

    Returns
    -------
    W : ndarray of shape (d, k)
    A : ndarray of shape (k, m)
    """
    first, second = np.array_split(rng.permutation(len(X)), 2)
    cross = (Y[first].T * weight[first]) @ X[first]
    P = np.linalg.svd(cross, full_matrices=False)[0][:, :n_hidden]
    W, A = two_layer_network(X[second], Y[second] @ P, weight[second], rng=rng)
    return W, A @ P.T


def paper_network(
    X: np.ndarray,
    Y: np.ndarray,
    weight: np.ndarray,
    n_hidden: int,
    *,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """The algorithm of the paper for these shapes: 1, 3 or 4.

    Parameters
    ----------
    X, Y, weight
        Samples.
    n_hidden : int
        Number of hidden units, at most the numbers of outputs and of features.
    rng : RandomState
        Source of randomness.

    Returns
    -------
    W : ndarray of shape (d, k)
    A : ndarray of shape (k, m)
    """
    if n_hidden == 1 and Y.shape[1] == 1:
        return single_layer_network(X, Y, weight), np.ones((1, 1))
    if n_hidden < Y.shape[1]:
        return network_with_more_outputs(X, Y, weight, n_hidden, rng=rng)
    return two_layer_network(X, Y, weight, rng=rng)
