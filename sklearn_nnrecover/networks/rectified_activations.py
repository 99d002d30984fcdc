"""Activations of the hidden layer: values, derivatives and gauge.

A *rectified* activation f vanishes on negative arguments. When f(s t) = s^q f(t) for every
s > 0 (degree ``q``), a hidden unit's input weights may be scaled by s and its output weights by
s^-q without changing the network: that is the gauge that unit-norm weights fix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Activation:
    """An elementwise activation.

    Attributes
    ----------
    name : str
        Name as passed to ``activation=``.
    value : callable
        ``value(T)``: the activation, elementwise.
    derivative : callable
        ``derivative(T)``: its derivative, elementwise; at a kink the right-continuous choice 0.
    degree : float or None
        Degree of positive homogeneity, None where there is none (no scale gauge).
    negative_slope : float or None
        Slope on negative arguments of a piecewise linear activation, None for any other.
    """

    name: str
    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    degree: float | None = None
    negative_slope: float | None = None


def _relu(T: Array) -> Array:
    return np.maximum(T, 0.0)


def _heaviside(T: Array) -> Array:
    return (T > 0).astype(T.dtype)


RELU = Activation("relu", _relu, _heaviside, degree=1.0, negative_slope=0.0)
