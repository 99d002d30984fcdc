"""Signs of hidden units known up to their mirror image, from the linear part that remains.

A ReLU unit and its mirror image differ by a linear function, relu(t) = t + relu(-t). A fit with
free linear features therefore finds each hyperplane, but not the side on which its unit is
active:

    y = relu(z V) A + z B,      -B = sum over S of v_j a_j'   (+ intercepts),

where S is the set of units on the wrong side. Each v_j a_j' is a known p x m matrix, so S solves
a linear system when they are independent, and a subset-sum problem, solved by forming all sums or
by lattice reduction, when they are not. Several S may solve it, such as both sides of a hard
sigmoid f(t) - f(t - 1): a canonical one is returned. If no S leaves a zero remainder, the network
has always-on units (a linear part of its own): where outputs in excess of the kinked units reveal
its input directions, these are annihilated first; otherwise *the signs are not identifiable*, and
a canonical form is returned.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from sklearn_nnrecover.linalg.lattice_reduction import subset_sum
from sklearn_nnrecover.networks.model.balanced_units import linear_functions
from sklearn_nnrecover.networks.model.two_layer_network import TwoLayerNetwork

Method = Literal["independent", "subset", "annihilated", "canonical"]

LOG2_CHANCE = -20.0
"""A subset of many counts as *the* subset when fewer than 2^-20 are expected to fit by chance."""

LOG2_CHANCE_OF_ALL = -7.0
"""The same where all subsets were formed, so that a second one would have been seen."""


class _Subset(NamedTuple):
    """Units to be mirrored, whether no others would do, and how they were found."""

    members: np.ndarray
    only_one: bool
    method: Method


class SignResolution(NamedTuple):
    """Signs, and what they leave.

    Attributes
    ----------
    network : TwoLayerNetwork
        The units on their right sides (or in canonical form), output weights and intercepts.
    linear : ndarray of shape (p, m)
        Linear part that no choice of signs explains, zeros if there is none; its intercept row is
        zero (intercepts are in the network).
    identified : bool
        Whether the data decide every sign.
    method : {"independent", "subset", "annihilated", "canonical"}
        How the signs were found.
    """

    network: TwoLayerNetwork
    linear: np.ndarray
    identified: bool
    method: Method


def resolve_signs(
    network: TwoLayerNetwork, linear: np.ndarray, *, intercept: bool, tol: float = 1e-7
) -> SignResolution:
    """Put each unit on the side that the linear part asks for.

    Parameters
    ----------
    network : TwoLayerNetwork
        ReLU network y = relu(z V) A + c that fits together with the linear part; hyperplanes V
        of either sign.
    linear : ndarray of shape (p, m)
        Coefficients B of the linear features beside the units.
    intercept : bool
        Whether the last design column is constant; constants are free, so they decide nothing.
    tol : float, default=1e-7
        Accuracy of the fit: mismatch taken for rounding, relative to the largest of the linear
        part and the units' own.

    Returns
    -------
    SignResolution
    """
    V, A = network.V, network.A
    slopes = V[:-1] if intercept else V
    target = linear[:-1] if intercept else linear
    mirrors = linear_functions(slopes, A)
    scale = max(np.abs(target).max(initial=0.0), np.linalg.norm(mirrors, axis=1).max(initial=0.0))
    tol = tol * max(scale, np.finfo(float).tiny)
    side = V[0] / np.linalg.norm(V, axis=0)
    found = _subset_of_sum(mirrors, -target.ravel(), tol, side)
    if found is None and (kept := _beside_always_on(A, target, tol)) is not None:
        mirrors = linear_functions(kept.T @ slopes, A)
        found = _subset_of_sum(mirrors, -(kept.T @ target).ravel(), tol, side)
        found = found and found._replace(method="annihilated")
    if found is None:
        found = _Subset(_active_at_origin(V, intercept), False, "canonical")
    network, linear = mirror(network, linear, found.members)
    if intercept:
        c = network.c + linear[-1]
        network = TwoLayerNetwork(network.V, A, c, network.activation)
        linear = np.vstack([linear[:-1], np.zeros_like(linear[-1:])])
    if np.linalg.norm(linear) <= np.sqrt(max(len(A), 1)) * tol:
        linear = np.zeros_like(linear)
    return SignResolution(network, linear, found.only_one, found.method)


def mirror(
    network: TwoLayerNetwork, linear: np.ndarray, units: np.ndarray
) -> tuple[TwoLayerNetwork, np.ndarray]:
    """Replace units by their mirror images; the linear part makes up for it.

    Parameters
    ----------
    network : TwoLayerNetwork
        ReLU network.
    linear : ndarray of shape (p, m)
        Linear part beside it.
    units : ndarray of bool, shape (k,)
        Units to mirror.

    Returns
    -------
    network : TwoLayerNetwork
    linear : ndarray of shape (p, m)
    """
    V = np.where(units, -network.V, network.V)
    linear = linear + network.V[:, units] @ network.A[units]
    return TwoLayerNetwork(V, network.A, network.c, network.activation), linear


def _subset_of_sum(
    vectors: np.ndarray, target: np.ndarray, tol: float, side: np.ndarray
) -> _Subset | None:
    """Subset of the vectors that sums to the target, that of least ``side``; None if none does."""
    k = len(vectors)
    tol = np.sqrt(max(k, 1)) * tol
    if k == 0:
        fits = np.linalg.norm(target) <= tol
        return _Subset(np.zeros(0, bool), True, "independent") if fits else None
    if k <= vectors.shape[1]:
        singular = np.linalg.svd(vectors, compute_uv=False)
        if singular[-1] > 4 * tol:
            chosen = np.linalg.lstsq(vectors.T, target, rcond=None)[0] > 0.5
            fits = np.linalg.norm(chosen @ vectors - target) <= tol
            return _Subset(chosen, True, "independent") if fits else None
    found = subset_sum(vectors, target, tol)
    if found.chosen is None:
        return None
    if found.matching is None:
        only_one = found.log2_chance <= LOG2_CHANCE
        return _Subset(found.chosen, True, "subset") if only_one else None
    if found.log2_chance > LOG2_CHANCE_OF_ALL:
        return None
    least = np.argmin(found.matching @ side)
    return _Subset(found.matching[least], len(found.matching) == 1, "subset")


def _beside_always_on(A: np.ndarray, target: np.ndarray, tol: float) -> np.ndarray | None:
    """Input directions orthogonal to those of always-on units, orthonormal; None if unknown.

    Output directions that no kinked unit reaches show the linear part of always-on units alone.
    """
    outside = target - target @ np.linalg.pinv(A) @ A
    left, singular, _ = np.linalg.svd(outside, full_matrices=True)
    rank = int(np.sum(singular > tol))
    return left[:, rank:] if 0 < rank < len(target) else None


def _active_at_origin(V: np.ndarray, intercept: bool) -> np.ndarray:
    """Units to mirror in the canonical form: each is inactive at the mean input."""
    if intercept:
        return V[-1] > 0
    # Through the origin there is no such side: the largest coordinate is made positive.
    largest = np.argmax(np.abs(V), axis=0)
    return V[largest, np.arange(V.shape[1])] < 0
