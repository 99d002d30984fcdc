"""Activations of the hidden layer: values, derivatives, gauge, and where a unit leaves a trace.

A *rectified* activation vanishes on negative arguments,

    f(t) = phi(t) for t > 0,    f(t) = 0 for t <= 0,

with phi injective (Bakshi, Jayaram and Woodruff, section 9.1). When f(s t) = s^q f(t) for every
s > 0 (degree ``q``), a hidden unit's input weights may be scaled by s and its output weights by
s^-q without changing the network: that is the gauge that unit-norm weights fix. Where there is no
such q (``expm1``), the length of a unit's input weights is a parameter that the data determine.

The leaky ReLU of slope a is f(t) = a t + (1 - a) relu(t): a ReLU beside a linear part. As for the
ReLU itself, f(t) - f(-t) is linear, (1 + a) t, so that beside free linear features a unit matters
only up to its sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
Function = Callable[[Array], Array]

# Arguments beyond which the exponential is continued by a constant: networks that wild are trials
# of a line search, and their squares must still be finite.
LARGEST_EXPONENT = 300.0
# Arguments at which a user's functions are tried out, away from kinks at round numbers.
PROBES = np.array([[-2.87, -1.93, -1.07, -0.43, -0.11], [0.13, 0.41, 1.09, 1.91, 2.83]])
PROBE_STEP = 1e-6
# Relative mismatch of a derivative and a difference quotient; kinks may spoil this many.
DERIVATIVE_TOLERANCE = 1e-3
MOST_KINKS = 2
HOMOGENEITY_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Activation:
    """An elementwise activation.

    Attributes
    ----------
    name : str
        Name as passed to ``activation=``; of a pair, the name of its first function.
    value : callable
        ``value(T)``: the activation, elementwise.
    derivative : callable
        ``derivative(T)``: its derivative, elementwise; at a kink the right-continuous choice 0.
    degree : float or None
        Degree of positive homogeneity, None where there is none (no scale gauge).
    negative_slope : float or None
        Slope on negative arguments of a piecewise linear activation, None for any other.
    rectified : bool
        Whether it vanishes on negative arguments.
    mirrored : bool
        Whether f(-t) is f(t) or -f(t), up to a constant: a unit and its mirror image are then the
        same unit.
    """

    name: str
    value: Function
    derivative: Function
    degree: float | None = None
    negative_slope: float | None = None
    rectified: bool = True
    mirrored: bool = False

    @property
    def is_relu(self) -> bool:
        """Whether this is the ReLU, under whatever name."""
        return self.negative_slope == 0.0

    @property
    def n_gauge(self) -> int:
        """Parameters of a unit that its scale gauge takes away: 1 or 0."""
        return 0 if self.degree is None else 1

    def telling_rows(self, T: Array) -> Array:
        """Samples that are evidence for a unit, given its arguments.

        A rectified unit leaves no trace where it is inactive. A leaky unit is a linear function on
        each side of its kink, so that the rows on the smaller side show the kink; any other unit
        is seen everywhere.

        Parameters
        ----------
        T : ndarray of shape (n, k)
            Arguments of k units.

        Returns
        -------
        ndarray of bool, shape (n, k)
        """
        active = T > 0
        if self.rectified:
            return active
        if self.negative_slope is None:
            return np.ones_like(active)
        mostly_active = 2 * active.sum(axis=0) > len(active)
        return np.asarray(active != mostly_active)


def _relu(T: Array) -> Array:
    return np.maximum(T, 0.0)


def _heaviside(T: Array) -> Array:
    return (T > 0).astype(T.dtype)


def _square(T: Array) -> Array:
    return np.maximum(T, 0.0) ** 2


def _square_derivative(T: Array) -> Array:
    return 2.0 * np.maximum(T, 0.0)


def _cube(T: Array) -> Array:
    return np.maximum(T, 0.0) ** 3


def _cube_derivative(T: Array) -> Array:
    return 3.0 * np.maximum(T, 0.0) ** 2


def _sqrt(T: Array) -> Array:
    return np.sqrt(np.maximum(T, 0.0))


def _sqrt_derivative(T: Array) -> Array:
    positive = T > 0
    return np.where(positive, 0.5 / np.sqrt(np.where(positive, T, 1.0)), 0.0)


def _expm1(T: Array) -> Array:
    return np.expm1(np.clip(T, 0.0, LARGEST_EXPONENT))


def _expm1_derivative(T: Array) -> Array:
    return np.where(T > 0, np.exp(np.clip(T, 0.0, LARGEST_EXPONENT)), 0.0)


RELU = Activation("relu", _relu, _heaviside, degree=1.0, negative_slope=0.0)
RECTIFIED = {
    "relu": RELU,
    "relu2": Activation("relu2", _square, _square_derivative, degree=2.0),
    "relu3": Activation("relu3", _cube, _cube_derivative, degree=3.0),
    "sqrt": Activation("sqrt", _sqrt, _sqrt_derivative, degree=0.5),
    "expm1": Activation("expm1", _expm1, _expm1_derivative),
}
ACTIVATIONS = (*RECTIFIED, "leaky_relu")


def leaky_relu(negative_slope: float) -> Activation:
    """The leaky ReLU: t for t > 0, else ``negative_slope`` t (0 <= slope < 1)."""

    def value(T: Array) -> Array:
        return np.maximum(T, negative_slope * T)

    def derivative(T: Array) -> Array:
        return np.where(T > 0, 1.0, negative_slope).astype(T.dtype)

    return Activation(
        "leaky_relu",
        value,
        derivative,
        degree=1.0,
        negative_slope=float(negative_slope),
        rectified=negative_slope == 0,
    )


def activation_of(activation: Any, negative_slope: float = 0.01) -> Activation:
    """Return the activation that a user means.

    Parameters
    ----------
    activation : str or pair of callables
        A name in ``ACTIVATIONS``, or the elementwise functions (value, derivative).
    negative_slope : float, default=0.01
        Slope of ``"leaky_relu"`` on negative arguments.

    Returns
    -------
    Activation

    Raises
    ------
    ValueError
        For an unknown name, and for a pair that is no pair of elementwise functions, the second
        of which is the derivative of the first.
    """
    if isinstance(activation, str):
        if activation == "leaky_relu":
            return leaky_relu(negative_slope)
        if activation in RECTIFIED:
            return RECTIFIED[activation]
        raise ValueError(
            f"activation must be one of {', '.join(map(repr, ACTIVATIONS))}, or a pair of "
            f"functions (value, derivative); got {activation!r}."
        )
    return _activation_of_pair(activation)


def _activation_of_pair(pair: Any) -> Activation:
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(map(callable, pair))):
        raise ValueError(
            "an activation of your own is a pair of functions (value, derivative), both applied "
            f"elementwise to an array; got {pair!r}."
        )
    value, derivative = (_quiet(function) for function in pair)
    at_probes = _checked(value, PROBES, "value")
    slope = _checked(derivative, PROBES, "derivative")
    _checked(value, np.zeros((1, 1)), "value")
    _checked(derivative, np.zeros((1, 1)), "derivative")
    forward, backward = value(PROBES + PROBE_STEP), value(PROBES - PROBE_STEP)
    quotient = (forward - backward) / (2 * PROBE_STEP)
    wrong = np.abs(quotient - slope) > DERIVATIVE_TOLERANCE * (1 + np.abs(slope))
    if wrong.sum() > MOST_KINKS:
        t, given, expected = PROBES[wrong][0], slope[wrong][0], quotient[wrong][0]
        raise ValueError(
            "the second function of the activation is not the derivative of the first: at "
            f"{t:.2f} it returns {given:.6g}, where difference quotients are {expected:.6g}."
        )
    if np.ptp(at_probes) == 0:
        raise ValueError("the activation is constant: no network could be told from another.")
    return Activation(
        name=getattr(pair[0], "__name__", "callable"),
        value=value,
        derivative=derivative,
        degree=_homogeneity(value),
        rectified=not np.any(value(-np.abs(PROBES))),
        mirrored=_is_mirrored(value),
    )


def _quiet(function: Function) -> Function:
    """Apply a user's function without warnings: trial steps may overflow, and are then rejected."""

    def quiet(T: Array) -> Array:
        with np.errstate(all="ignore"):
            result = np.asarray(function(T))
        return result.astype(T.dtype) if result.dtype.kind in "biu" else result

    return quiet


def _checked(function: Function, T: Array, role: str) -> Array:
    result = function(T)
    if result.shape != T.shape:
        raise ValueError(
            f"the activation's {role} must work elementwise: it turned an array of shape "
            f"{T.shape} into one of shape {result.shape}."
        )
    if not np.issubdtype(result.dtype, np.number):
        raise ValueError(f"the activation's {role} must return numbers, got {result.dtype}.")
    if np.iscomplexobj(result) or not np.all(np.isfinite(result)):
        raise ValueError(
            f"the activation's {role} must be finite and real on ({T.min():.2f}, {T.max():.2f}); "
            "at a kink return 0, or the slope of one side."
        )
    return result


def _is_mirrored(value: Function) -> bool:
    """Whether the activation is even or odd, up to a constant."""
    left, right = value(-PROBES), value(PROBES)
    size = np.abs(right).max()
    return any(np.ptp(left + sign * right) <= HOMOGENEITY_TOLERANCE * size for sign in (-1, 1))


def _homogeneity(value: Function) -> float | None:
    """Degree q with f(s t) = s^q f(t) for all s > 0, None if there is none."""
    values = value(PROBES)
    seen = values != 0
    twice = value(2 * PROBES)
    if not seen.any() or np.any(twice[~seen] != 0) or np.any(twice[seen] / values[seen] <= 0):
        return None
    degree = float(np.median(np.log2(twice[seen] / values[seen])))
    for factor in (2.0, 1.7, 0.3):
        scaled = value(factor * PROBES)
        expected = factor**degree * values
        if not np.allclose(scaled, expected, rtol=HOMOGENEITY_TOLERANCE, atol=0):
            return None
    return degree if degree > 0 else None
