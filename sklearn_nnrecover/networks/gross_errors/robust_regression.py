"""Networks fitted to most of the data: M-estimation by Huber's modified residuals.

Model: ``Y = f(Z V) A + c + E`` with errors that need not have a mean or a variance. Huber's
estimate minimises ``sum rho(r_ij / s_j)`` with rho quadratic near zero and linear beyond 1.345, s_j
a robust scale of output j. At a current fit define *working outputs*

    fit_ij + s_j psi(r_ij / s_j) / q_j,        psi the clipped identity, q_j the share not clipped.

Their least-squares fit is a Newton step with the average curvature, and a network that is the
least-squares fit of its own working outputs is a stationary point of Huber's loss. So everything
made for least squares (variable projection, its search, rivals, error bars by the sandwich) serves
as it is: near the solution the working outputs behave like outputs with the noise ``psi / q``.

If the errors are independent of the inputs, ``E[psi((e - t) / s)] = 0`` for some t whatever their
distribution, so that V, the hidden biases and A are estimated consistently and the output
intercepts are off by t: with a location unknown, it is told from no intercept.

For sparse errors of any size beside exact outputs, bounded influence is not enough: the residuals
are clipped to nothing beyond a level that is lowered step by step (graduated non-convexity).

References
----------
Huber and Ronchetti, "Robust Statistics" (2009), sections 7.7 and 7.8. Bianco and Spano, "Robust
inference for nonlinear regression models", TEST 28 (2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.model.design import Design, orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import Activation
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    fit_output_layer,
)
from sklearn_nnrecover.networks.search.variable_projection import step_work, variable_projection
from sklearn_nnrecover.networks.task import Task

# Huber's constant: 95 % efficiency for normal errors.
HUBER = 1.345
MAD_OF_NORMAL = 0.6745
# The outputs of a first fit are clipped at this many robust standard deviations.
WINSORIZED = 3.0
# Floating-point operations of one iteration of the first searches, and samples they see at least.
START_STEP = 3e6
START_ROWS = 5000
# Share not clipped below which its inverse is not trusted.
LEAST_SHARE = 0.3
# Levels of the graduated fit: the first in robust standard deviations of the outputs (residuals may
# be zero for most entries while a unit is still amiss), its fall, and how far above the typical
# residual they stay.
FIRST_LEVEL = 0.5
FALL = 0.7
LEVEL_OF_RESIDUAL = 10.0
# Fits at one level.
ROUNDS = 10


class RobustFit(NamedTuple):
    """A stationary point of Huber's loss.

    Attributes
    ----------
    network : TwoLayerNetwork
        The network.
    location : ndarray of shape (m,)
        What the network has no intercepts for: the location of the errors (else zeros).
    working : ndarray of shape (n, m)
        Working outputs, of which the network is the least-squares fit.
    scale : ndarray of shape (m,)
        Robust scales s.
    """

    network: TwoLayerNetwork
    location: np.ndarray
    working: np.ndarray
    scale: np.ndarray


def weighted_median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Median of each column, rows counted with their frequencies, shape (m,)."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weight[order], axis=0)
    first = np.argmax(reached >= 0.5 * weight.sum(), axis=0)
    return np.take_along_axis(np.take_along_axis(values, order, axis=0), first[None], axis=0)[0]


def robust_center_and_scale(
    values: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted median and median absolute deviation (as a standard deviation) of each column.

    The root mean square deviation stands in where half of a column has one value.
    """
    center = weighted_median(values, weight)
    scale = weighted_median(np.abs(values - center), weight) / MAD_OF_NORMAL
    rest = np.sqrt(weight @ (values - center) ** 2 / weight.sum())
    return center, np.where(scale > 0, scale, rest)


def winsorized(samples: Samples) -> Samples:
    """Outputs clipped at a few robust standard deviations."""
    center, scale = robust_center_and_scale(samples.Y, samples.weight)
    return samples._replace(
        Y=np.clip(samples.Y, center - WINSORIZED * scale, center + WINSORIZED * scale)
    )


def robust_design(
    X: np.ndarray, Y: np.ndarray, weight: np.ndarray, task: Task
) -> tuple[Samples, Design]:
    """Samples in design coordinates, the outputs on the scale of their winsorised spread."""
    clipped = winsorized(Samples(X, Y, weight, task.intercept)).Y
    samples, design = orthonormal_design(X, clipped, weight, intercept=task.intercept, eps=task.eps)
    return samples._replace(Y=Y / design.output_scale), design


def some_rows(samples: Samples, n_hidden: int | None, rng: np.random.RandomState) -> Samples:
    """As many random rows as a first search can afford."""
    n = len(samples.Z)
    afforded = max(START_ROWS, int(n * START_STEP / step_work(samples, n_hidden or 5)))
    if afforded >= n:
        return samples
    rows = rng.choice(n, size=afforded, replace=False)
    return samples._replace(Z=samples.Z[rows], Y=samples.Y[rows], weight=samples.weight[rows])


def huber_fit(
    samples: Samples,
    network: TwoLayerNetwork,
    *,
    scale: np.ndarray | None = None,
    max_iter: int = 60,
    tol: float = 1e-7,
) -> Steps[RobustFit]:
    """Descend to a stationary point of Huber's loss.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    network : TwoLayerNetwork
        Start.
    scale : ndarray of shape (m,) or None
        Scales to hold; None estimates them from the residuals, again in each round.
    max_iter : int, default=60
        Rounds of working outputs.
    tol : float, default=1e-7
        Largest move of a unit, relative to its length, at which to stop.

    Yields
    ------
    Step
        Loss and move after each round.

    Returns
    -------
    RobustFit
    """
    weight, total = samples.weight, float(samples.weight.sum())
    location = np.zeros(samples.Y.shape[1])
    for _ in range(max_iter):
        predicted = network.predict(samples.Z)
        residual = samples.Y - predicted - location
        sizes = np.maximum(_scales(residual, weight) if scale is None else scale, samples.rounding)
        psi = np.clip(residual, -HUBER * sizes, HUBER * sizes)
        share = weight @ (np.abs(residual) < HUBER * sizes) / total
        psi_scaled = psi / np.maximum(share, LEAST_SHARE)
        if not samples.intercept:
            location = location + weight @ psi_scaled / total
            psi_scaled = psi_scaled - weight @ psi_scaled / total
        working = predicted + psi_scaled
        steps = variable_projection(
            samples._replace(Y=working),
            network.V,
            activation=network.activation,
            max_iter=3,
            tol=1e-10,
        )
        fit = yield from steps
        move = np.linalg.norm(fit.network.V - network.V, axis=0)
        gap = float(np.max(move / np.maximum(np.linalg.norm(network.V, axis=0), 1e-300)))
        network = fit.network
        yield Step(float(weight @ _twice_rho(residual / sizes).sum(axis=1)), gap)
        if gap <= tol:
            break
    return RobustFit(network, location, working, sizes)


def _scales(residual: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weighted_median(np.abs(residual), weight) / MAD_OF_NORMAL


def _twice_rho(u: np.ndarray) -> np.ndarray:
    u = np.abs(u)
    return np.where(u < HUBER, u**2, 2 * HUBER * u - HUBER**2)


def huber_losses(
    samples: Samples, fits: Sequence[RobustFit], scale: np.ndarray | None = None
) -> np.ndarray:
    """Huber's losses at one scale, comparable with minus twice a log-likelihood.

    The weighted sum of ``2 rho``, divided by ``E psi^2 / E psi'`` of the best fit: that makes the
    fall by one superfluous parameter 1 in the mean.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    fits : sequence of RobustFit
        Fits.
    scale : ndarray of shape (m,) or None
        Scale; None takes the smallest of each output.

    Returns
    -------
    ndarray of shape (n_fits,)
    """
    if scale is None:
        scale = np.min([fit.scale for fit in fits], axis=0)
    weight = samples.weight
    losses, factors = [], []
    for fit in fits:
        u = (samples.Y - fit.network.predict(samples.Z) - fit.location) / scale
        losses.append(float(weight @ _twice_rho(u).sum(axis=1)))
        noise = float(weight @ np.sum(np.minimum(np.abs(u), HUBER) ** 2, axis=1))
        factors.append(float(weight @ np.sum(np.abs(u) < HUBER, axis=1)) / max(noise, 1e-300))
    return np.array(losses) * factors[int(np.argmin(losses))]


def graduated_regression(
    samples: Samples, start: RobustFit, *, max_iter: int = 400
) -> Steps[tuple[TwoLayerNetwork, np.ndarray]]:
    """Fit the entries of a majority exactly, by graduated non-convexity.

    Parameters
    ----------
    samples : Samples
        Outputs that are exact but for sparse errors of any size.
    start : RobustFit
        A robust fit.
    max_iter : int, default=400
        Fits.

    Yields
    ------
    Step
        Typical residual and level.

    Returns
    -------
    network : TwoLayerNetwork
    residual : ndarray of shape (n, m)
        Absolute residuals.
    """
    network = start.network
    level = FIRST_LEVEL * float(np.median(robust_center_and_scale(samples.Y, samples.weight)[1]))
    floor = 100 * samples.rounding
    rounds = 0
    for _ in range(max_iter):
        predicted = network.predict(samples.Z)
        residual = np.abs(samples.Y - predicted)
        right = residual <= level
        rows = right.any(axis=1)
        if np.count_nonzero(rows) <= samples.Z.shape[1] * network.n_hidden:
            break
        working = np.where(right, samples.Y, predicted)
        subset = samples._replace(Z=samples.Z[rows], Y=working[rows], weight=samples.weight[rows])
        fit = yield from variable_projection(
            subset, network.V, activation=network.activation, max_iter=10, tol=1e-9
        )
        network = fit.network
        typical = float(np.quantile(np.abs(samples.Y - network.predict(samples.Z))[right], 0.8))
        yield Step(typical, level)
        if level <= floor:
            break
        # Masked entries follow the fit: a level is held until the others have settled below it.
        rounds += 1
        if LEVEL_OF_RESIDUAL * typical <= level or rounds == ROUNDS:
            level, rounds = max(FALL * level, floor), 0
    return network, np.abs(samples.Y - network.predict(samples.Z))


def network_of_units(V: np.ndarray, samples: Samples, activation: Activation) -> TwoLayerNetwork:
    """Network of given units whose output layer fits the winsorised outputs."""
    return fit_output_layer(V, winsorized(samples), activation)
