"""From nearly right hidden units to exact ones, by the samples on which each is inactive.

A rectified unit vanishes on its inactive samples. With at least as many outputs as units, and no
noise, the outputs' functions on the samples span those of the units, and (Lemma 10 of the paper)
the unit itself is the only function in that span that vanishes where it vanishes: a null vector
of the outputs restricted to its inactive samples. Where it is active the unit is inverted,

    f^-1(unit) = z v,

a linear system for v. These are steps 4-8 of Algorithm 3 and Algorithm 5, for any start and any
activation with f(t) = 0 for t <= 0 and f increasing beyond (section 9.1).

As printed the pattern of a start is rounded at a threshold near zero, and a single sample on the
wrong side ruins the linear system. Here samples near a unit's hyperplane are left out: with a
margin that exceeds the error of the start, all that remain are on the right side. The margin is not
known, so that several are tried, and the null space says which is right: its smallest singular
value is zero to rounding, and the next one is not.

References
----------
Bakshi, Jayaram and Woodruff, "Learning two layer rectified neural networks in polynomial time",
COLT 2019, Algorithms 3 and 5, section 9.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from sklearn_nnrecover.networks.exact.activation_pattern import RANK_TOLERANCE, angle_tolerance
from sklearn_nnrecover.networks.model.rectified_activations import Activation
from sklearn_nnrecover.networks.model.two_layer_network import Samples

EPS = float(np.finfo(np.float64).eps)
# Margins as sines of the angle between a sample and the hyperplane of a unit.
MARGINS = (0.02, 0.05, 0.1, 0.2, 0.35)
# The next singular value, relative to the largest: below it, two functions vanish alike.
UNIQUE = 1e-6
# Values of the null vector, relative to the largest, that count as active.
ACTIVE = 1e-6
BISECTIONS = 100
LENGTH_TRIALS = 40
# Logarithms of the largest value of a unit without a scale gauge.
LOG_FACTORS = (-8.0, 16.0)


class PatternFit(NamedTuple):
    """Units refined by their sparsity patterns.

    Attributes
    ----------
    V : ndarray of shape (p, k)
        Refined units; those that no margin settled are as they were.
    settled : ndarray of bool, shape (k,)
        Whether the unit is the only function of the outputs' span that vanishes on its pattern.
    margin : ndarray of shape (k,)
        Margin used, nan for units that are not settled.
    sine : ndarray of shape (k,)
        Smallest singular value met, relative to the largest: the distance from an exact pattern.
    """

    V: np.ndarray
    settled: np.ndarray
    margin: np.ndarray
    sine: np.ndarray


def inverse(activation: Activation, values: np.ndarray) -> np.ndarray:
    """Arguments t > 0 with f(t) = values, for f increasing from f(0) = 0.

    Homogeneous activations are inverted directly, others by Newton steps and bisection.
    """
    if activation.degree is not None:
        one = float(activation.value(np.ones((1, 1)))[0, 0])
        return np.asarray((values / one) ** (1 / activation.degree))
    lower, upper = np.zeros_like(values), np.ones_like(values)
    for _ in range(BISECTIONS):
        short = activation.value(upper) < values
        if not short.any():
            break
        upper = np.where(short, 2 * upper, upper)
    t = 0.5 * upper
    for _ in range(BISECTIONS):
        excess, slope = activation.value(t) - values, activation.derivative(t)
        lower, upper = np.where(excess >= 0, lower, t), np.where(excess >= 0, t, upper)
        newton = t - excess / np.where(slope > 0, slope, np.inf)
        inside = (newton >= lower) & (newton <= upper) & (slope > 0)
        following = np.where(inside, newton, 0.5 * (lower + upper))
        settled = np.abs(following - t) <= 4 * EPS * t
        t = following
        if settled.all():
            break
    return t


def output_functions(samples: Samples) -> np.ndarray:
    """Orthonormal basis of the outputs' functions on the samples, with the constant, (n, r)."""
    share = samples.weight / samples.weight.sum()
    columns = [np.ones((len(samples.Y), 1))] if samples.intercept else []
    matrix = np.sqrt(share)[:, None] * np.hstack([*columns, samples.Y])
    scale = np.linalg.norm(matrix, axis=0)
    left, singular, _ = np.linalg.svd(matrix / np.where(scale > 0, scale, 1), full_matrices=False)
    kept = singular > 100 * samples.rounding * singular[0]
    return np.asarray(left[:, kept] / np.sqrt(share)[:, None])


def vanishing_function(
    functions: np.ndarray, inactive: np.ndarray, tolerance: float
) -> tuple[np.ndarray | None, float]:
    """The only function of a span that vanishes on some samples, and how nearly it does.

    Parameters
    ----------
    functions : ndarray of shape (n, r)
        Basis of the span.
    inactive : ndarray of bool, shape (n,)
        Samples.
    tolerance : float
        Singular value, relative to the largest, that counts as zero.

    Returns
    -------
    coefficients : ndarray of shape (r,) or None
        None if no function vanishes, or several do.
    sine : float
        Smallest singular value over the largest.
    """
    rows = functions[inactive]
    if len(rows) < functions.shape[1]:
        return None, 1.0
    _, singular, right = np.linalg.svd(rows, full_matrices=False)
    if singular[0] == 0:
        return None, 1.0
    sine = float(singular[-1] / singular[0])
    alone = len(singular) == 1 or singular[-2] > UNIQUE * singular[0]
    return (right[-1] if sine <= tolerance and alone else None), sine


def unit_of_function(
    Z: np.ndarray, values: np.ndarray, activation: Activation
) -> np.ndarray | None:
    """Unit whose activation is a multiple of the given function, from its active samples.

    Parameters
    ----------
    Z : ndarray of shape (n, p)
        Design.
    values : ndarray of shape (n,)
        The function; of either sign.
    activation : Activation
        Rectified activation. Without a scale gauge the multiple is found along with the unit, as
        the one that makes the inverted function linear in z.

    Returns
    -------
    ndarray of shape (p,) or None
        None if the active samples do not span the design.
    """
    largest = values[np.argmax(np.abs(values))]
    values = values / largest
    active = values > ACTIVE
    rows = Z[active]
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    if len(rows) <= Z.shape[1] or singular[-1] <= RANK_TOLERANCE * singular[0]:
        return None

    def arguments(logarithm: float) -> np.ndarray:
        return inverse(activation, np.exp(logarithm) * values[active])

    def misfit(logarithm: float) -> float:
        t = arguments(logarithm)
        return float(np.linalg.norm(t - left @ (left.T @ t)) / np.linalg.norm(t))

    logarithm = 0.0
    if activation.degree is None:
        grid = np.linspace(*LOG_FACTORS, LENGTH_TRIALS)
        best = grid[np.argmin([misfit(trial) for trial in grid])]
        step = grid[1] - grid[0]
        found = minimize_scalar(misfit, bounds=(best - step, best + step), method="bounded")
        logarithm = float(found.x)
    v = right.T @ ((left.T @ arguments(logarithm)) / singular)
    return v if activation.degree is None else np.asarray(v / np.linalg.norm(v))


def refine_by_patterns(
    samples: Samples,
    V: np.ndarray,
    activation: Activation,
    *,
    margins: tuple[float, ...] = MARGINS,
) -> PatternFit:
    """Refine nearly right units to exact ones by their sparsity patterns.

    Parameters
    ----------
    samples : Samples
        Noiseless samples, of at least as many outputs as units.
    V : ndarray of shape (p, k)
        Nearly right units, from any method. For Algorithm 5, whose start is known up to sign only,
        the mirror image of a unit is tried where the unit itself does not settle.
    activation : Activation
        Rectified activation.
    margins : tuple of float
        Sines within which samples are left out, tried in turn.

    Returns
    -------
    PatternFit

    Raises
    ------
    ValueError
        If the activation does not vanish on negative arguments.
    """
    if not activation.rectified:
        raise ValueError(f"units of activation {activation.name!r} have no sparsity pattern.")
    Z, k = samples.Z, V.shape[1]
    functions = output_functions(samples)
    sizes = np.linalg.norm(Z, axis=1)
    tolerance = angle_tolerance(100 * samples.rounding)
    refined, settled = V.copy(), np.zeros(k, dtype=bool)
    margin, sine = np.full(k, np.nan), np.ones(k)
    for j in range(k):
        for sign, width in ((s, w) for s in (1.0, -1.0) for w in margins):
            v = sign * V[:, j]
            inactive = Z @ v < -width * sizes * np.linalg.norm(v)
            coefficients, smallest = vanishing_function(functions, inactive, tolerance)
            sine[j] = min(sine[j], smallest)
            if coefficients is None:
                continue
            unit = unit_of_function(Z, functions @ coefficients, activation)
            if unit is not None:
                refined[:, j], settled[j], margin[j] = unit, True, width
                break
    return PatternFit(refined, settled, margin, sine)
