"""Exhaustive search over activation patterns: a noiseless ReLU network from a handful of samples.

Section 2 of the paper: with outputs of rank k the activations h = relu(Z v) of every unit lie in
the outputs' space, so their pattern of zeros is one of the min(n^O(k), 2^n) orthants that meet this
space; for each of them a linear programme looks for v (Algorithm 1), again and again with the
constraint of independence of the units found before, which takes 2 n programmes each time (Remark
1), until k are found (Algorithm 2). Nothing is assumed of the inputs.

What is done here:

* activations are not only in the outputs' space, they are non-negative there: their patterns are
  those of the *faces* of the cone ``{zeta : Q zeta >= 0}``, far fewer than the orthants. Its
  extreme rays are zero on r - 1 independent rows, r the dimension of the space, and all C(n, r - 1)
  choices of rows are tried, many at a time; the other faces are spanned by rays, and zero where all
  of these are;
* a pattern is dismissed by a rank: a unit needs a principal angle of zero between the masked design
  and the outputs (:mod:`activation_pattern`). Only if a pattern leaves a unit undetermined does a
  linear programme (HiGHS) decide whether any unit has it;
* independence of the units found before is a rank as well.

Once all faces have been tried, and k units found, each the only one of its pattern, *no other
network of this width gives these outputs*: the search is its own proof. Work grows as n^(r-1), and
is refused beyond a budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb

import numpy as np
from scipy import optimize

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.exact.activation_pattern import (
    angle_tolerance,
    kink_tolerance,
    unit_of_pattern,
)
from sklearn_nnrecover.networks.exact.always_on_units import assemble_network
from sklearn_nnrecover.networks.exact.output_rank import output_rank
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

# Sines below this are not told from zero.
SEPARATED = 1e-7
# Determinant of rows of unit length that are dependent.
DEPENDENT = 1e-12
# Choices of rows solved side by side.
BATCH = 20000


@dataclass(frozen=True)
class Enumeration:
    """Result of :func:`enumerate_patterns`.

    Attributes
    ----------
    network : TwoLayerNetwork or None
        The network, its residual at rounding level.
    reason : str
        Why there is none: "" or one of "constant outputs", "linear outputs", "width", "too few
        samples" (a pattern leaves its unit undetermined), "several networks" (more units than the
        rank), "no network"; or a sentence with the figure that exceeded the budget.
    exhaustive : bool
        Whether every pattern was tried and each unit is the only one of its pattern.
    n_patterns : int
        Patterns tried.
    n_programs : int
        Linear programmes solved.
    """

    network: TwoLayerNetwork | None
    reason: str
    exhaustive: bool = False
    n_patterns: int = 0
    n_programs: int = 0


def enumerate_patterns(
    samples: Samples,
    *,
    n_hidden: int | None = None,
    max_choices: int = 2_000_000,
    max_patterns: int = 20_000,
    max_programs: int = 2_000,
) -> Steps[Enumeration]:
    """Recover a noiseless network by trying every activation pattern.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    n_hidden : int or None
        Known number of units; None reads it from the rank of the outputs.
    max_choices : int, default=2000000
        Most choices of rows for the extreme rays.
    max_patterns : int, default=20000
        Most patterns (faces of the cone).
    max_programs : int, default=2000
        Most linear programmes.

    Yields
    ------
    Step
        Units still to find, and patterns tried.

    Returns
    -------
    Enumeration
    """
    outputs = output_rank(samples)
    if outputs.rank == 0:
        return Enumeration(None, "constant outputs")
    if outputs.n_kinked == 0:
        return Enumeration(None, "linear outputs")
    if n_hidden is not None and n_hidden < outputs.rank:
        return Enumeration(None, "width")
    root = np.sqrt(samples.weight / samples.weight.sum())[:, None]
    Z = root * samples.Z
    Q = np.linalg.qr(root * np.column_stack([outputs.kinked, samples.Z @ outputs.linear]))[0]
    n, r = Q.shape
    if n <= r:
        return Enumeration(None, "too few samples")
    n_choices = comb(n, r - 1)
    if n_choices > max_choices:
        return Enumeration(
            None,
            f"{n_choices:,} choices of rows would have to be tried, more than the {max_choices:,} "
            "granted",
        )
    rays = _extreme_rays(np.asarray(Q), kink_tolerance(outputs.noise))
    tolerance = angle_tolerance(outputs.noise)
    separated = max(SEPARATED, 100.0 * outputs.noise)
    units: list[np.ndarray] = []
    activations = np.zeros((n, 0))
    tried, programs, unique, complete = 0, 0, True, True
    for active in _faces(rays):
        if active.all() or not active.any():
            continue
        tried += 1
        yield Step(float(outputs.n_kinked - len(units)), float(tried))
        if tried > max_patterns or programs >= max_programs:
            complete = False
            break
        unit = unit_of_pattern(Z, Q, active)
        if unit is None or unit.sine > tolerance:
            continue
        v: np.ndarray | None = unit.v
        if unit.next_sine <= separated or unit.active_rank < Z.shape[1]:
            programs += 1
            v = _unit_by_program(Z, Q, active)
            unique = unique and (v is None or unit.next_sine > separated)
        elif not _has_pattern(Z, unit.v, active, outputs.noise):
            continue
        if v is None:
            continue
        h = np.maximum(Z @ v, 0.0)
        grown = np.column_stack([activations, h / np.linalg.norm(h)])
        if np.linalg.svd(grown, compute_uv=False)[-1] > separated or unit.next_sine > separated:
            # A unit that is the only one of its pattern counts, dependent or not.
            units.append(v / np.linalg.norm(v))
            activations = grown
    found = Enumeration(None, "no network", False, tried, programs)
    if len(units) > outputs.n_kinked:
        return Enumeration(None, "several networks", False, tried, programs)
    if len(units) < outputs.n_kinked:
        return found if unique else Enumeration(None, "too few samples", False, tried, programs)
    assembled = assemble_network(np.column_stack(units), samples, outputs.n_linear)
    if assembled is None:
        return found
    exhaustive = unique and complete and outputs.n_linear == 0
    return Enumeration(assembled.network, "", exhaustive, tried, programs)


def _extreme_rays(Q: np.ndarray, tolerance: float) -> np.ndarray:
    """Supports of the extreme rays of ``{zeta : Q zeta >= 0}``, one a row, bool (n_rays, n)."""
    r = Q.shape[1]
    lengths = np.linalg.norm(Q, axis=1)
    # Where no unit is active the direction of a row is rounding; such rows are zero on every ray.
    told = lengths > tolerance * lengths.max()
    rows = Q[told] / lengths[told, None]
    n = len(rows)
    # Any row outside the span of the chosen ones will do to fix the length of the ray.
    direction = np.random.RandomState(0).standard_normal(r)
    right = np.zeros((r, 1))
    right[-1] = 1.0
    supports: dict[bytes, np.ndarray] = {}
    choices = combinations(range(n), r - 1)
    while batch := list(islice(choices, BATCH)):
        systems = np.empty((len(batch), r, r))
        systems[:, : r - 1] = rows[np.array(batch, dtype=int).reshape(len(batch), r - 1)]
        systems[:, -1] = direction
        # Choices of dependent rows have no single ray.
        systems = systems[np.abs(np.linalg.det(systems)) > DEPENDENT]
        if len(systems) == 0:
            continue
        zeta = np.linalg.solve(systems, np.broadcast_to(right, (len(systems), r, 1)))[:, :, 0]
        values = zeta @ rows.T
        values /= np.abs(values).max(axis=1, keepdims=True)
        values *= np.where(values.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        for support in values[values.min(axis=1) >= -tolerance] > tolerance:
            # Rows that span fewer dimensions than r - 1 are zero on a face, not on a ray.
            if support.tobytes() not in supports:
                singular = np.linalg.svd(rows[~support], compute_uv=False)
                if np.sum(singular > 1e-8) == r - 1:
                    supports[support.tobytes()] = support
    rays = np.zeros((len(supports), len(Q)), dtype=bool)
    if supports:
        rays[:, told] = list(supports.values())
    return rays


def _faces(rays: np.ndarray) -> Iterator[np.ndarray]:
    """Supports of all faces: of the rays, then of what they span, smaller faces first."""
    seen = {ray.tobytes() for ray in rays}
    level = list(rays)
    while level:
        yield from level
        following = []
        for support in level:
            for ray in rays:
                joined = support | ray
                if joined.tobytes() not in seen:
                    seen.add(joined.tobytes())
                    following.append(joined)
        level = following


def _has_pattern(Z: np.ndarray, v: np.ndarray, active: np.ndarray, noise: float) -> bool:
    """Whether v is active on these samples and on no others, up to rounding at its kink."""
    slack = kink_tolerance(noise) * np.linalg.norm(Z, axis=1) * np.linalg.norm(v)
    values = Z @ v
    return bool(
        np.all(values[active] > -slack[active]) and np.all(values[~active] <= slack[~active])
    )


def _unit_by_program(Z: np.ndarray, Q: np.ndarray, active: np.ndarray) -> np.ndarray | None:
    """A unit of this pattern whose activations are in the outputs' space, by Algorithm 1.

    The constraints are those of the algorithm, with the margin on the active samples made as large
    as ``|v| <= 1`` allows.
    """
    p, r = Z.shape[1], Q.shape[1]
    on, off = Z[active], Z[~active]
    equal = np.block(
        [
            [on, -Q[active], np.zeros((len(on), 1))],
            [np.zeros((len(off), p)), Q[~active], np.zeros((len(off), 1))],
        ]
    )
    below = np.block(
        [
            [-on, np.zeros((len(on), r)), np.linalg.norm(on, axis=1)[:, None]],
            [off, np.zeros((len(off), r + 1))],
        ]
    )
    program = optimize.linprog(
        np.append(np.zeros(p + r), -1.0),
        A_ub=below,
        b_ub=np.zeros(len(below)),
        A_eq=equal,
        b_eq=np.zeros(len(equal)),
        bounds=[(-1.0, 1.0)] * p + [(None, None)] * r + [(0.0, None)],
        method="highs",
    )
    if program.status != 0 or program.x[-1] <= 1e-9:
        return None
    return np.asarray(program.x[:p])
