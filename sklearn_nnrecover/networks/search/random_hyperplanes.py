"""Random hidden units whose kinks lie inside the data."""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.networks.model.two_layer_network import Samples


def random_hyperplanes(samples: Samples, n_units: int, rng: np.random.RandomState) -> np.ndarray:
    """Units of uniform random direction whose kink passes through a random sample.

    Parameters
    ----------
    samples : Samples
        Design; without an intercept the kink passes through the origin.
    n_units : int
        Number of units.
    rng : RandomState
        Source of randomness.

    Returns
    -------
    ndarray of shape (p, n_units)
        Unit-norm columns.
    """
    Z, weight = samples.Z, samples.weight
    V = rng.standard_normal((Z.shape[1], n_units))
    if samples.intercept:
        # Rows are drawn in proportion to their weight, as if they were repeated.
        points = np.searchsorted(np.cumsum(weight), rng.uniform(0, weight.sum(), n_units))
        points = np.minimum(points, len(Z) - 1)
        V[-1] = -np.einsum("ij,ji->i", Z[points, :-1], V[:-1])
    return V / np.linalg.norm(V, axis=0)
