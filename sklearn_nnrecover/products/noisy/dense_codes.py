"""What known layers say of the factors before them: ``X D' (D D')^-1 = C + noise``.

The noise of a row of these codes has the covariance ``noise^2 (D D')^-1``. Columns are divided by
their deviations, so that searches meet one level of noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.noisy.noisy_two_factors import Problem

LARGEST_CONDITION = 1e3
"""Condition of the layers beyond which their codes are not known well enough to be split."""


class Piece(NamedTuple):
    """``X @ pinv(layers)`` with columns divided by ``std``, the deviations of their noise."""

    Y: np.ndarray
    std: np.ndarray


def codes_within_noise(problem: Problem, layers: Sequence[sp.csr_array]) -> Piece | None:
    """Least squares for dense codes in the product of known layers, at one level of noise.

    Parameters
    ----------
    problem : Problem
    layers : sequence of csr_array
        Without layers the data are their own codes.

    Returns
    -------
    Piece or None
        None where the layers determine their codes badly or not at all.
    """
    if not layers:
        std = np.full(problem.X.shape[1], problem.noise)
        return Piece(problem.X / problem.noise, std)
    layer = chain_product(layers).toarray()
    norms = np.linalg.norm(layer, axis=1)
    if not 0 < layer.shape[0] <= layer.shape[1] or not norms.all():
        return None
    squares, vectors = np.linalg.eigh((layer / norms[:, None]) @ (layer / norms[:, None]).T)
    if squares[0] * LARGEST_CONDITION**2 < squares[-1]:
        return None
    inverse = (vectors / squares) @ vectors.T
    codes = (problem.X @ (layer / norms[:, None]).T) @ inverse / norms
    std = problem.noise * np.sqrt(np.diagonal(inverse)) / norms
    return Piece(codes / std, std)
