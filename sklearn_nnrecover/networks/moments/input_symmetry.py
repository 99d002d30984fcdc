"""Whether inputs are symmetric: sums of odd functions against what signs at random would give.

If x and -x are equally likely, any odd function f of x has random signs, whatever its size, so that

    P(|sum f(x_i)| > z sqrt(sum f(x_i)^2)) <= 2 exp(-z^2 / 2)

(Hoeffding), for all sample sizes and any tails. The functions are x_j, x_i^2 x_j, and for the even
part r of the outputs r_o x_j |x|^2, which also sees hidden biases.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.moments.symmetric_moments import SymmetricMoments

# Probability that symmetric inputs are called asymmetric, at most.
LEVEL = 1e-4


class SymmetryTest(NamedTuple):
    """Result of a test of symmetry.

    Attributes
    ----------
    score : float
        Largest ``|sum f| / sqrt(sum f^2)``.
    threshold : float
        What symmetric inputs exceed with probability at most 1e-4.
    """

    score: float
    threshold: float

    @property
    def passed(self) -> bool:
        """Whether the data look symmetric."""
        return self.score <= self.threshold


def _largest(sums: np.ndarray, squares: np.ndarray) -> float:
    scores = np.abs(sums) / np.sqrt(np.where(squares > 0, squares, 1.0))
    return float(np.max(np.where(squares > 0, scores, 0.0), initial=0.0))


def _test(scores: list[float], n_functions: int) -> SymmetryTest:
    return SymmetryTest(max(scores), float(np.sqrt(2 * np.log(2 * max(n_functions, 1) / LEVEL))))


def symmetry_of_samples(samples: Samples) -> SymmetryTest:
    """Test whitened inputs, without centring.

    Parameters
    ----------
    samples : Samples
        Samples without intercept.

    Returns
    -------
    SymmetryTest
    """
    Z, w = samples.Z, samples.weight[:, None]
    squares = Z**2
    scores = [
        _largest((w * Z).sum(axis=0), (w * squares).sum(axis=0)),
        _largest((w * squares).T @ Z, (w * squares**2).T @ squares),
    ]
    return _test(scores, Z.shape[1] * (1 + Z.shape[1]))


def symmetry_of_moments(moments: SymmetricMoments) -> SymmetryTest:
    """Test accumulated inputs in the user's coordinates.

    Parameters
    ----------
    moments : SymmetricMoments
        Sums.

    Returns
    -------
    SymmetryTest
    """
    d = moments.n_features
    upper, lower = np.triu_indices(d)
    cubes = moments.mixed("u")[1 : 1 + d][:, upper == lower]  # sums of x_j x_i^2
    means, squares = moments.second[0, 1 : 1 + d], np.diagonal(moments.second)[1 : 1 + d]
    scores = [_largest(means, squares), _largest(cubes.T, moments.sixth)]
    return _test(scores, d * (1 + d))


def symmetry_of_outputs(samples: Samples, B: np.ndarray) -> SymmetryTest:
    """Test whether outputs beyond their linear part are even functions of the inputs.

    Parameters
    ----------
    samples : Samples
        Samples without intercept.
    B : ndarray of shape (p, m)
        Linear part of the outputs.

    Returns
    -------
    SymmetryTest
    """
    Z, Y, w = samples.Z, samples.Y, samples.weight
    even = Y - Z @ B
    cubic = Z * np.sum(Z**2, axis=1)[:, None]
    # B has an error, which moves what is not perpendicular to the inputs.
    cubic -= Z @ (Z.T @ (w[:, None] * cubic) / w.sum())
    sums = (w[:, None] * cubic).T @ even
    squares = (w[:, None] * cubic**2).T @ even**2
    return _test([_largest(sums, squares)], sums.size)
