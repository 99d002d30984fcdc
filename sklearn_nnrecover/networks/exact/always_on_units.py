"""Units that are never inactive on the samples, and the network assembled around them.

On the samples such units are linear functions of the inputs, so only the sum of their
contributions, z L, is determined: with l of them, L (p, m) is any matrix of rank l (beside the
constant), V_on and A_on any factors of it that keep the units active. The canonical factors
returned here are orthogonal directions, with biases just large enough; without biases, directions
that are positive on all samples. One unit without a bias is determined, up to the usual scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize

from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    fit_output_layer,
)

# Residuals of a network recovered to rounding, over the rounding of the outputs.
RESIDUAL_FACTOR = 10.0


class Assembled(NamedTuple):
    """A network, its kinked units first.

    Attributes
    ----------
    network : TwoLayerNetwork
        Units of unit norm.
    residual : float
        Largest absolute residual, over the largest absolute output.
    always_on : ndarray of bool, shape (k,)
        Units that are never inactive on the samples.
    """

    network: TwoLayerNetwork
    residual: float
    always_on: np.ndarray


def assemble_network(V: np.ndarray, samples: Samples, n_linear: int) -> Assembled | None:
    """Complete kinked units by canonical always-on units and the output layer.

    Parameters
    ----------
    V : ndarray of shape (p, j)
        Units with a kink.
    samples : Samples
        Samples in design coordinates.
    n_linear : int
        Number of units that are never inactive.

    Returns
    -------
    Assembled or None
        None if the residual is not at rounding level.
    """
    V = V / np.linalg.norm(V, axis=0)
    if n_linear:
        linear = _always_on(V, samples, n_linear)
        if linear is None:
            return None
        V = np.column_stack([V, linear])
    network = fit_output_layer(V, samples)
    scale = float(np.max(np.abs(samples.Y)))
    residual = float(np.max(np.abs(samples.Y - network.predict(samples.Z)))) / scale
    if not residual <= RESIDUAL_FACTOR * samples.rounding:
        return None
    always_on = np.arange(V.shape[1]) >= V.shape[1] - n_linear
    return Assembled(network.normalized(), residual, always_on)


def _always_on(V: np.ndarray, samples: Samples, n_linear: int) -> np.ndarray | None:
    """Canonical always-on units (p, n_linear) of the linear part beside the kinked units."""
    Z, Y, weight, intercept, _ = samples
    root = np.sqrt(weight)[:, None]
    features = np.column_stack([np.maximum(Z @ V, 0.0), Z])
    solution = np.linalg.lstsq(root * features, root * Y, rcond=None)[0]
    linear = solution[V.shape[1] :]
    if intercept:
        linear[-1] = 0.0
    return always_on_span(np.linalg.svd(linear, full_matrices=False)[0][:, :n_linear], samples)


def always_on_span(directions: np.ndarray, samples: Samples) -> np.ndarray | None:
    """Units that are never inactive on the samples and span given directions.

    Parameters
    ----------
    directions : ndarray of shape (p, r)
        Orthonormal; with intercepts their last entries are zero.
    samples : Samples
        Samples in design coordinates.

    Returns
    -------
    ndarray of shape (p, r) or None
        Unit-norm columns; None if no direction of the span is positive on all samples.
    """
    n_units = directions.shape[1]
    if n_units == 0:
        return directions
    values = samples.Z @ directions
    if samples.intercept:
        units = directions.copy()
        units[-1] = 0.1 * np.ptp(values, axis=0) - np.min(values, axis=0)
    else:
        positive = _positive_direction(values)
        if positive is None:
            return None
        # Any basis of the span close enough to one positive direction is positive itself.
        center = values @ positive
        basis = np.linalg.qr(np.column_stack([positive, np.eye(n_units)]))[0]
        reach = 0.5 * np.min(center) / np.max(np.abs(values @ basis))
        basis = positive[:, None] + reach * basis
        basis[:, 0] = positive
        units = directions @ basis
    return units / np.linalg.norm(units, axis=0)


def _positive_direction(values: np.ndarray) -> np.ndarray | None:
    """A combination of the columns that is positive on all rows, margin as large as possible."""
    n, j = values.shape
    bounds = [(-1.0, 1.0)] * j + [(0.0, None)]
    scaled = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-300)
    program = optimize.linprog(
        np.append(np.zeros(j), -1.0),
        A_ub=np.column_stack([-scaled, np.ones(n)]),
        b_ub=np.zeros(n),
        bounds=bounds,
    )
    if program.status != 0 or program.x[-1] <= 0:
        return None
    return program.x[:j]
