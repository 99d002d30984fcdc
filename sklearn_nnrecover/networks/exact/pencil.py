"""Activation-pattern pencils: a noiseless ReLU network from the fewest samples.

A unit's activations lie in the outputs' space: relu(Z v) = Q zeta, Q an orthonormal basis of the
outputs (and the constant). For the active set S of a trial v,

    C = Z_S' Z_S,   D = Z_S' Q_S,   (C - D D') v' = lambda C v'

gives the direction v' whose masked function 1_S (Z v') is nearest to the outputs' space: lambda is
the squared sine of the angle. Replacing v by v' and S by its pattern is repeated until S stays; a
true unit has lambda = 0. Units are collected from random starts until the outputs are spanned. The
counting limit is about p + k samples; three times as many nearly always suffice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.exact.activation_pattern import (
    PatternUnit,
    angle_tolerance,
    isolation,
    refine_unit,
)
from sklearn_nnrecover.networks.exact.always_on_units import assemble_network
from sklearn_nnrecover.networks.exact.output_rank import OutputRank, output_rank
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

# Pencils solved without the activations already found, before those of all outputs: starts are
# led away from known units.
DEFLATED_STEPS = 3
# Starts that must end in a unit before others are led away from it.
CONFIRMATIONS = 3
# Sines below this are not told from zero.
SEPARATED = 1e-7


@dataclass(frozen=True)
class Pencil:
    """Result of :func:`pencil_recovery`.

    Attributes
    ----------
    network : TwoLayerNetwork or None
        The network, its residual at rounding level; None if not all units were found.
    reason : str
        "" or one of "constant outputs", "linear outputs", "width" (the outputs have a higher rank
        than ``n_hidden``), "too few samples", "several networks" (more units in the outputs' space
        than its rank: different choices of them fit alike), "no network" (units are missing).
    outputs : OutputRank
        Ranks of the outputs.
    units : tuple of PatternUnit
        The units with a kink that were found.
    hits : ndarray of int, shape (n_units,)
        How many starts ended in each of them.
    n_starts : int
        Starts made.
    residual : float
        Largest absolute residual of the network over the largest output.
    always_on : ndarray of bool, shape (k,)
        Units that are never inactive on the samples.
    """

    network: TwoLayerNetwork | None
    reason: str
    outputs: OutputRank
    units: tuple[PatternUnit, ...] = ()
    hits: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    n_starts: int = 0
    residual: float = np.inf
    always_on: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


def pencil_recovery(
    samples: Samples,
    *,
    rng: np.random.RandomState,
    n_hidden: int | None = None,
    n_starts: int = 2000,
    batch_size: int = 50,
    patience: int = 300,
    max_iter: int = 30,
) -> Steps[Pencil]:
    """Recover a noiseless network with at least as many outputs as units from few samples.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    rng : RandomState
        Draws starts.
    n_hidden : int or None
        Known number of units; None reads it from the rank of the outputs.
    n_starts : int, default=2000
        Largest number of starts.
    batch_size : int, default=50
        Starts that are run side by side; one step is yielded per batch.
    patience : int, default=300
        Starts without a new or confirmed unit after which the search ends; a third of it before
        the first unit.
    max_iter : int, default=30
        Pencils solved per start.

    Yields
    ------
    Step
        Objective: share of the units still to find or to confirm.

    Returns
    -------
    Pencil
    """
    outputs = output_rank(samples)
    k = outputs.n_kinked
    if outputs.rank == 0:
        return Pencil(None, "constant outputs", outputs)
    if k == 0:
        return Pencil(None, "linear outputs", outputs)
    if n_hidden is not None and n_hidden < outputs.rank:
        return Pencil(None, "width", outputs)
    root = np.sqrt(samples.weight / samples.weight.sum())[:, None]
    Z = root * samples.Z
    functions = np.column_stack([outputs.kinked, samples.Z @ outputs.linear])
    Q = np.asarray(np.linalg.qr(root * functions)[0])
    n, p = Z.shape
    if n < p + Q.shape[1]:
        return Pencil(None, "too few samples", outputs)
    tolerance = angle_tolerance(outputs.noise)
    collected = _Collection()
    tried = fruitless = 0
    while tried < n_starts and (len(collected.units) < k or min(collected.hits) < CONFIRMATIONS):
        batch = min(batch_size, n_starts - tried)
        V = _hyperplanes(samples, rng, batch)
        known = collected.confirmed()
        if known:
            V = _run_batch(Z, _without(Q, known), V, DEFLATED_STEPS)
        V = _run_batch(Z, Q, V, max_iter)
        tried += batch
        before = collected.missing(k)
        for v in V.T:
            if collected.contains(np.maximum(Z @ v, 0.0)):
                continue
            unit = refine_unit(Z, Q, Z @ v > 0, noise=outputs.noise)
            if unit is None or unit.sine > tolerance or not _genuine(unit, outputs, Z, Q):
                continue
            h = np.maximum(Z @ unit.v, 0.0)
            if not collected.contains(h):
                collected.add(unit, h)
        missing = collected.missing(k)
        yield Step(missing / k, missing / k)
        fruitless = 0 if missing < before else fruitless + batch
        if fruitless >= (patience if collected.units else patience // 3):
            break
        if len(collected.units) > k:
            break
    attempt = Pencil(
        None,
        "no network",
        outputs,
        units=tuple(collected.units),
        hits=np.array(collected.hits, dtype=int),
        n_starts=tried,
    )
    if len(collected.units) > k:
        return replace(attempt, reason="several networks")
    if len(collected.units) < k:
        return attempt
    V = np.column_stack([unit.v for unit in collected.units])
    assembled = assemble_network(V, samples, outputs.n_linear)
    if assembled is None:
        return attempt
    return replace(
        attempt,
        network=assembled.network,
        reason="",
        residual=assembled.residual,
        always_on=assembled.always_on,
    )


class _Collection:
    """Distinct units, told apart by their activations on the samples."""

    def __init__(self) -> None:
        self.units: list[PatternUnit] = []
        self.activations: list[np.ndarray] = []
        self.hits: list[int] = []

    def contains(self, h: np.ndarray) -> bool:
        """Whether these activations are known up to scale; counts a hit if so."""
        if not self.units:
            return False
        cosines = np.array(self.activations) @ h
        nearest = int(np.argmax(cosines))
        known = bool(cosines[nearest] > (1 - 1e-10) * np.linalg.norm(h))
        self.hits[nearest] += known
        return known

    def add(self, unit: PatternUnit, h: np.ndarray) -> None:
        """Add a unit with its activations."""
        self.units.append(unit)
        self.activations.append(h / np.linalg.norm(h))
        self.hits.append(1)

    def confirmed(self) -> list[np.ndarray]:
        """Activations found often enough."""
        pairs = zip(self.activations, self.hits, strict=True)
        return [h for h, count in pairs if count >= CONFIRMATIONS]

    def missing(self, k: int) -> float:
        """Units still to find, those still to confirm as fractions."""
        return k - sum(min(count / CONFIRMATIONS, 1.0) for count in self.hits)


def _genuine(unit: PatternUnit, outputs: OutputRank, Z: np.ndarray, Q: np.ndarray) -> bool:
    """Whether a zero angle shows a unit: samples to spare, one solution, not a linear function."""
    separated = max(SEPARATED, 100.0 * outputs.noise)
    # A linear function of the outputs' space, shifted to 0 at its smallest, is no unit.
    beyond = unit.v - outputs.linear @ (outputs.linear.T @ unit.v)
    return (
        unit.active_rank + Q.shape[1] < len(Q)
        and unit.n_active < len(Q)
        and float(np.linalg.norm(beyond)) > separated
        and isolation(Z, Q, unit, noise=outputs.noise) > separated
    )


def _hyperplanes(samples: Samples, rng: np.random.RandomState, count: int) -> np.ndarray:
    """Random starts (p, count); with biases, hyperplanes through samples drawn at random."""
    Z = samples.Z
    V = rng.standard_normal((Z.shape[1], count))
    if samples.intercept:
        through = rng.randint(len(Z), size=count)
        V[-1] = -np.einsum("ij,ji->i", Z[through, :-1], V[:-1])
    return V


def _without(Q: np.ndarray, activations: list[np.ndarray]) -> np.ndarray:
    """Orthonormal basis of the outputs' functions orthogonal to the activations found."""
    known = Q.T @ np.column_stack(activations)
    return Q @ np.linalg.qr(known, mode="complete")[0][:, len(activations) :]


def _run_batch(Z: np.ndarray, Q: np.ndarray, V: np.ndarray, max_iter: int) -> np.ndarray:
    """Iterate the pencils of all starts (columns of V) until their patterns stay."""
    n, p = Z.shape
    r = Q.shape[1]
    running = np.arange(V.shape[1])
    patterns = np.zeros((V.shape[1], n), dtype=bool)
    for _ in range(max_iter):
        active = (Z @ V[:, running]).T > 0
        moved = np.any(active != patterns[running], axis=1)
        patterns[running] = active
        running, active = running[moved], active[moved]
        if len(running) == 0:
            break
        C = np.zeros((len(running), p * p))
        D = np.zeros((len(running), p * r))
        for block in row_blocks(n, 8.0 * p * (p + r)):
            mask = active[:, block].astype(float)
            C += mask @ np.einsum("ij,il->ijl", Z[block], Z[block]).reshape(-1, p * p)
            D += mask @ np.einsum("ij,il->ijl", Z[block], Q[block]).reshape(-1, p * r)
        V[:, running] = _nearest_directions(
            C.reshape(-1, p, p), D.reshape(-1, p, r), V[:, running].T
        ).T
    return V


def _nearest_directions(C: np.ndarray, D: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """Leading eigenvectors of D D' v = (1 - lambda) C v, signed to agree with the last v."""
    p = C.shape[1]
    # The ridge only keeps patterns with fewer than p samples defined; units are solved without.
    ridge = 1e-10 * np.trace(C, axis1=1, axis2=2)[:, None, None] / p + 1e-300
    factor = np.linalg.cholesky(C + ridge * np.eye(p))
    M = np.linalg.solve(factor, D)
    leading = np.linalg.eigh(M @ M.transpose(0, 2, 1))[1][:, :, -1]
    v = np.linalg.solve(factor.transpose(0, 2, 1), leading[:, :, None])[:, :, 0]
    v *= np.where(np.einsum("bi,bij,bj->b", v, C, previous) < 0, -1.0, 1.0)[:, None]
    return v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300)
