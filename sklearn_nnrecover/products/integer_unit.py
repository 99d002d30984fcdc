"""The unit of integer data: the largest c for which X / c is a matrix of integers.

Products of sign-valued sparse factors are integers times an unknown common scale. Dividing by it
first makes every comparison exact, and lets additive noise be removed by rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_MAX_DISTINCT = 65_536
_MAX_SAMPLE = 20_000
_LARGEST_INTEGER = 1e6
_CLEAR_REMAINDER = 8.0
"""A divisor is larger than this multiple of what rounding may leave of a remainder."""


class NoisyUnit(NamedTuple):
    """``X = unit * integers + noise`` with noise of standard deviation ``noise_std``."""

    unit: float
    noise_std: float


def integer_unit(values: np.ndarray, rtol: float = 1e-8) -> float | None:
    """Return the largest c such that ``values / c`` are integers to rounding, or None.

    Parameters
    ----------
    values : ndarray
        Any shape; zeros are ignored.
    rtol : float
        Rounding of the values, relative to the largest.

    Returns
    -------
    float or None
        None if there is no such c, or if the integers would exceed a million, or what the rounding
        allows to tell from others.
    """
    magnitudes = np.abs(np.ravel(values))
    magnitudes = magnitudes[magnitudes > 0]
    if not len(magnitudes):
        return None
    largest = float(magnitudes.max())
    # A thousand entries tell continuous data apart before everything is sorted.
    for part in (magnitudes[:: max(1, len(magnitudes) // 1000)], magnitudes):
        ordered = np.sort(part)
        # The values themselves: a rounded divisor would be wrong on its large multiples.
        distinct = ordered[np.diff(ordered, prepend=0.0) > 1e-9 * largest]
        if len(distinct) > _MAX_DISTINCT:
            return None
        rounding = largest * max(rtol, 1e-9) * 10
        smallest = max(largest / _LARGEST_INTEGER, _CLEAR_REMAINDER * rounding)
        unit = _common_divisor(distinct, rounding, smallest)
        if unit is None:
            return None
    multiples = np.round(magnitudes / unit)
    # Least squares over all entries removes the rounding that the divisions left in the unit.
    unit = float(magnitudes @ multiples / (multiples @ multiples))
    error = np.abs(magnitudes - unit * multiples).max()
    return unit if error <= 10 * rtol * largest else None


def _common_divisor(values: np.ndarray, tolerance: float, smallest: float) -> float | None:
    """Euclid's algorithm on positive reals, remainders below ``tolerance`` being zero."""
    divisor = float(values.min())
    while divisor >= smallest:
        remainder = np.abs(values - divisor * np.round(values / divisor))
        remainder = remainder[remainder > tolerance]
        if not len(remainder):
            return divisor
        divisor = float(remainder.min())
    return None


def noisy_integer_unit(values: np.ndarray, max_noise: float = 0.2) -> NoisyUnit | None:
    """Estimate unit and noise of integer data with additive noise, from their periodogram.

    The mean of ``cos(2 pi x / c)`` over the entries that do not round to zero peaks at the unit.

    Parameters
    ----------
    values : ndarray
        Any shape.
    max_noise : float
        Largest standard deviation accepted, in units: beyond a fifth, roundings fail too often.

    Returns
    -------
    NoisyUnit or None
        None where the data show no unit.
    """
    flat = np.ravel(values)
    sample = flat[:: max(1, len(flat) // _MAX_SAMPLE)]
    largest = float(np.abs(sample).max(initial=0.0))
    if largest == 0:
        return None
    best_score, unit = 0.0, 0.0
    for trial in np.geomspace(largest / 40, largest * 1.1, 800):
        inside = np.abs(sample) > trial / 2
        if np.count_nonzero(inside) < 50:
            continue
        score = float(np.mean(np.cos(2 * np.pi * sample[inside] / trial)))
        if score > best_score + 0.01:
            best_score, unit = score, float(trial)
    # exp(-2 pi^2 s^2) is the expected score at relative noise s.
    if best_score < np.exp(-2 * np.pi**2 * max_noise**2):
        return None
    for _ in range(5):
        multiples = np.round(flat / unit)
        unit = float(flat @ multiples / (multiples @ multiples))
    noise = float(np.sqrt(np.mean((flat - unit * np.round(flat / unit)) ** 2)))
    return NoisyUnit(unit, noise) if noise <= max_noise * unit else None
