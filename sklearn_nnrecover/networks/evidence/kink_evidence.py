"""Whether noisy outputs show the kink of a unit, or a linear function would do in its place.

On one side of its kink a piecewise-linear unit is a linear function. Where all samples but a few
lie there, or where inputs take so few values that none lies between, the optimum still has a unit,
and standard errors for it; but a linear function without any kink fits as well. The F statistic of
unit j is

    F_j = (RSS_j - RSS) / m  /  (RSS / freedom),

with RSS the residual sum of squares of the units beside free linear functions of the inputs, and
RSS_j that without unit j. The hyperplane was chosen by the same data, so the level is kept far
below that of a fixed hypothesis.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import f as f_distribution

from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork
from sklearn_nnrecover.networks.search.hyperplane_grouping import (
    removal_costs,
    triangular_features,
)

# Level at which a kink counts as seen: 4.9 standard deviations with one output.
KINK_LEVEL = 1e-6


def kink_p_values(network: TwoLayerNetwork, samples: Samples) -> np.ndarray:
    """Test each unit against a linear function in its place.

    Parameters
    ----------
    network : TwoLayerNetwork
        Least-squares optimum; of any activation. Only ReLU and leaky ReLU have kinks.
    samples : Samples
        Samples in design coordinates.

    Returns
    -------
    ndarray of shape (k,)
        p-values; zeros where the activation is not piecewise linear, ones where the equations are
        no more than the parameters.
    """
    k = network.n_hidden
    if network.activation.negative_slope is None:
        return np.zeros(k)
    m = samples.Y.shape[1]
    freedom = float(samples.weight.sum()) * m - samples.n_parameters(k, network.activation)
    if freedom <= 0:
        return np.ones(k)
    features, outputs = triangular_features(samples, network.V)
    rises = removal_costs(features, outputs)[:k] ** 2
    left = outputs - features @ np.linalg.lstsq(features, outputs, rcond=None)[0]
    variance = max(float(np.sum(left**2)) / freedom, np.finfo(float).tiny)
    return np.asarray(f_distribution.sf(rises / m / variance, m, freedom))
