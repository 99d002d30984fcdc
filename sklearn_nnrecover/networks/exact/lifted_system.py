"""The lifted linear system: a noiseless ReLU network from outputs at least as many as its units.

Let q be coordinates of the outputs' space (rank k), g the linear functions of the inputs that lie
in it (the constant when there are intercepts, and the units that are never inactive) and z the
design. A unit with a kink is h = q.zeta + g.gamma = relu(z.v), hence

    (q.zeta + g.gamma) (q.zeta + g.gamma - z.v) = 0                                         (1)

for every sample, whatever the distribution of the inputs: linear in the monomials {qq', qz', gz'},
each used once. The null space of the rows of monomials has dimension k_kinked from about as many
rows as monomials on. After {qz', gz'} is regressed out, the qq' part of the null space is spanned
by zeta_j zeta_j', which joint diagonalisation separates. A null space of *exactly* this dimension
proves that no other network of this width gives these outputs, up to the rounding of the data.

Only the qq' part is needed to be unique: inputs that satisfy algebraic relations of their own
(0/1 columns) enlarge the null space of the whole system, not of this part.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from sklearn_nnrecover.linalg.blocks import require_memory, row_blocks, working_memory_bytes
from sklearn_nnrecover.linalg.joint_diagonalization import joint_diagonalize
from sklearn_nnrecover.networks.exact.activation_pattern import (
    PatternUnit,
    refine_unit,
    unit_of_pattern,
)
from sklearn_nnrecover.networks.exact.always_on_units import assemble_network
from sklearn_nnrecover.networks.exact.nested_units import nested_pairs
from sklearn_nnrecover.networks.exact.output_rank import EPS, OutputRank, output_rank
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

# A null space is proven when the next singular value exceeds the rounding level this many times;
# that level bounds the Frobenius norm of the rows' errors, so that 1 would do (Weyl).
PROOF_GAP = 10.0


@dataclass(frozen=True)
class Lifted:
    """Result of :func:`lifted_recovery`.

    Attributes
    ----------
    network : TwoLayerNetwork or None
        The network, its residual at rounding level; None if there is no such network.
    reason : str
        Why there is no network: "" or one of "constant outputs", "linear outputs", "width" (the
        outputs have a higher rank than ``n_hidden``), "too few samples", "null space too large"
        (units active on the same samples, or one only where another is), "no network" (no
        noiseless network with as many units as the rank of the outputs).
    outputs : OutputRank
        Ranks of the outputs with their singular values.
    singular_values : ndarray
        The smallest singular values of the qq' part of the system, increasing, relative to the
        largest of the whole system (the null ones and a few more).
    nullity : int
        Number of singular values at rounding level.
    expected_nullity : int
        Units with a kink, and pairs of them that add a relation (see :func:`with_nested_units`).
    threshold : float
        Rounding level of the singular values.
    gap : float
        First singular value beyond the expected null space over the rounding level (infinite for
        one unit, whose qq' part is a single number).
    n_equations, n_unknowns : int
        Rows used and monomials.
    complete : bool
        Whether the {qz', gz'} part of every null vector is determined too.
    residual : float
        Largest absolute residual of the network over the largest output.
    always_on : ndarray of bool, shape (k,)
        Units that are never inactive on the samples: only their sum is determined.
    units : tuple of PatternUnit
        For each unit with a kink: active samples, their rank, principal angles.
    """

    network: TwoLayerNetwork | None
    reason: str
    outputs: OutputRank
    singular_values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    nullity: int = 0
    expected_nullity: int = 0
    threshold: float = 0.0
    gap: float = 0.0
    n_equations: int = 0
    n_unknowns: int = 0
    complete: bool = False
    residual: float = np.inf
    always_on: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    units: tuple[PatternUnit, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether the null space has exactly the right dimension, with a gap."""
        return (
            self.network is not None
            and self.nullity == self.expected_nullity
            and self.gap >= PROOF_GAP
        )


def with_nested_units(attempt: Lifted, network: TwoLayerNetwork, samples: Samples) -> Lifted:
    """Prove a network found by other means from a null space that pairs of its units may enlarge.

    Parameters
    ----------
    attempt : Lifted
        Attempt without a network.
    network : TwoLayerNetwork
        Network that reproduces the samples, without units that are never inactive.
    samples : Samples
        Samples in design coordinates.

    Returns
    -------
    Lifted
        With the network, if its units and pairs account for the whole null space; else the attempt.
    """
    pairs = nested_pairs(network, samples)
    if pairs is None or (pairs and not attempt.complete) or attempt.outputs.n_linear:
        return attempt
    expected = network.n_hidden + pairs
    if attempt.nullity != expected or network.n_hidden != attempt.outputs.n_kinked:
        return attempt
    values = attempt.singular_values
    gap = values[expected] / attempt.threshold if len(values) > expected else np.inf
    residual = np.abs(samples.Y - network.predict(samples.Z)).max() / np.abs(samples.Y).max()
    return replace(
        attempt,
        network=network,
        reason="",
        expected_nullity=expected,
        gap=float(gap),
        residual=float(residual),
        always_on=np.zeros(network.n_hidden, dtype=bool),
    )


@dataclass(frozen=True)
class _System:
    """Monomials of one recovery: coordinates, and how many rows and columns."""

    Q: np.ndarray  # (n, k) kinked outputs
    Z: np.ndarray  # (n, p) design, rotated: its first n_linear columns are g
    n_linear: int
    noise: float

    @property
    def n_regressors(self) -> int:
        k, p, g = self.Q.shape[1], self.Z.shape[1], self.n_linear
        return k * p + g * (g + 1) // 2 + g * (p - g)

    @property
    def n_unknowns(self) -> int:
        return self.n_regressors + self.n_squares

    @property
    def n_squares(self) -> int:
        k = self.Q.shape[1]
        return k * (k + 1) // 2

    def rows(self, index: np.ndarray) -> tuple[np.ndarray, float]:
        """Rows [q x z, g x z, vec(qq')] of the samples, and the squared size of their rounding."""
        Q, Z, g = self.Q[index], self.Z[index], self.n_linear
        size = np.einsum("ij,ij->i", Q, Q) + np.einsum("ij,ij->i", Z, Z)
        size = np.where(size > 0, size, 1.0)
        # Any scaling of an equation is allowed; this one makes their rounding errors alike.
        scale = np.sqrt(size)[:, None]
        Q, Z = Q / scale, Z / scale
        upper, lower = np.triu_indices(Q.shape[1])
        parts = [np.einsum("ij,il->ijl", Q, Z).reshape(len(Q), -1)]
        if g:
            first, second = np.triu_indices(g)
            parts.append(Z[:, first] * Z[:, second])
            parts.append(np.einsum("ij,il->ijl", Z[:, :g], Z[:, g:]).reshape(len(Q), -1))
        parts.append(Q[:, upper] * Q[:, lower] * np.where(upper == lower, 1.0, np.sqrt(2.0)))
        rounding = float(np.sum(9.0 * self.noise**2 * Q.shape[1] / size)) + len(Q) * EPS**2
        return np.hstack(parts), rounding

    def vector(self, matrix: np.ndarray) -> np.ndarray:
        """Coefficients of qq' of one symmetric matrix."""
        upper, lower = np.triu_indices(len(matrix))
        return matrix[upper, lower] * np.where(upper == lower, 1.0, np.sqrt(2.0))

    def matrices(self, vectors: np.ndarray) -> np.ndarray:
        """Symmetric matrices of qq' coefficients, columns of ``vectors``."""
        k = self.Q.shape[1]
        upper, lower = np.triu_indices(k)
        matrices = np.zeros((vectors.shape[1], k, k))
        matrices[:, upper, lower] = vectors.T / np.where(upper == lower, 1.0, np.sqrt(2.0))
        matrices[:, lower, upper] = matrices[:, upper, lower]
        return matrices


@dataclass(frozen=True)
class _NullSpace:
    """Null space of the qq' part; ``regression`` completes a null vector of it to the system."""

    matrices: np.ndarray
    regression: np.ndarray | None
    singular_values: np.ndarray
    nullity: int
    threshold: float
    gap: float
    n_equations: int


def lifted_recovery(
    samples: Samples,
    *,
    rng: np.random.RandomState,
    n_hidden: int | None = None,
    known: TwoLayerNetwork | None = None,
    max_bytes: float = 4e9,
) -> Lifted:
    """Recover a noiseless network with at least as many outputs as units.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    rng : RandomState
        Draws the order in which samples are used and the starts of the joint diagonalisation.
    n_hidden : int or None
        Known number of units; None reads it from the rank of the outputs.
    known : TwoLayerNetwork or None
        Network that reproduces the samples, found by other means: it is returned where its units
        account for the whole null space, so that none has to be solved for.
    max_bytes : float, default=4e9
        Largest memory of the triangular factor of the system.

    Returns
    -------
    Lifted

    Raises
    ------
    MemoryError
        If the triangular factor would exceed ``max_bytes``.
    """
    outputs = output_rank(samples)
    k = outputs.n_kinked
    if outputs.rank == 0:
        return Lifted(None, "constant outputs", outputs)
    if k == 0:
        return Lifted(None, "linear outputs", outputs)
    if n_hidden is not None and n_hidden < outputs.rank:
        return Lifted(None, "width", outputs)
    system = _system(samples, outputs)
    found = _null_space(system, rng, max_bytes)
    attempt = Lifted(
        None,
        "no network",
        outputs,
        singular_values=found.singular_values,
        nullity=found.nullity,
        expected_nullity=k,
        threshold=found.threshold,
        gap=found.gap,
        n_equations=found.n_equations,
        n_unknowns=system.n_unknowns,
        complete=found.regression is not None,
    )
    if known is not None and (proof := with_nested_units(attempt, known, samples)).proven:
        return proof
    if found.nullity > k:
        too_few = found.n_equations < system.n_unknowns - k
        return replace(attempt, reason="too few samples" if too_few else "null space too large")
    if found.nullity < k:
        return attempt
    units = _units(samples, system, found, joint_diagonalize(found.matrices, rng=rng).vectors)
    if units is None:
        return attempt
    V = np.column_stack([unit.v for unit in units])
    assembled = assemble_network(V, samples, outputs.n_linear)
    if assembled is None:
        return attempt
    return replace(
        attempt,
        network=assembled.network,
        reason="",
        residual=assembled.residual,
        always_on=assembled.always_on,
        units=tuple(units),
    )


def _system(samples: Samples, outputs: OutputRank) -> _System:
    """Rotate the design so that the linear functions of the outputs' space come first."""
    p = samples.Z.shape[1]
    known = outputs.linear
    rotation = np.linalg.qr(np.column_stack([known, np.eye(p)]))[0]
    return _System(outputs.kinked, samples.Z @ rotation, known.shape[1], outputs.noise)


def _null_space(system: _System, rng: np.random.RandomState, max_bytes: float) -> _NullSpace:
    """Null space of the qq' part, from as few samples as determine it.

    Fewer rows can only enlarge the null space: a subset with nullity k (or less) is as good as all
    samples. Rows are drawn in random order and doubled until then.
    """
    n, k = system.Q.shape
    unknowns = system.n_unknowns
    require_memory(
        3.0 * 8 * unknowns**2, max_bytes, f"The lifted system of {k} units", "use solver='pencil'"
    )
    order = rng.permutation(n)
    used, squared_noise, target = 0, 0.0, 2 * unknowns + 50
    factor = np.zeros((0, unknowns))
    budget = max(working_memory_bytes(), 8.0 * unknowns**2) / 2**20
    while True:
        stop = min(n, target)
        for block in row_blocks(stop - used, 8.0 * unknowns, budget):
            rows, squared = system.rows(order[used + block.start : used + block.stop])
            squared_noise += squared
            factor = np.vstack([factor, rows])
            factor = np.asarray(np.linalg.qr(factor, mode="r"))
        used = stop
        found = _split(system, factor, np.sqrt(squared_noise), used)
        if found.nullity <= k or used == n:
            return found
        target *= 2


def _split(system: _System, factor: np.ndarray, noise: float, used: int) -> _NullSpace:
    """Regress {qz', gz'} out of qq'; null space of what remains."""
    k, regressors = system.Q.shape[1], system.n_regressors
    corner, cross = factor[:regressors, :regressors], factor[:regressors, regressors:]
    rest = factor[regressors:, regressors:]
    scale = float(np.linalg.norm(factor) / np.sqrt(system.n_unknowns))
    independent = len(corner) == regressors and lapack.dtrcon(corner)[0] > 1e-8
    if not independent:
        # Only the range of the corner is regressed out: the rows beyond it say something of qq'.
        left, singular, _ = np.linalg.svd(corner)
        rank = int(np.sum(singular > 1e-10 * singular[0]))
        rest = np.vstack([left[:, rank:].T @ cross, rest])
    _, values, directions = np.linalg.svd(rest)
    values = np.pad(values, (0, system.n_squares - len(values)))
    nullity = int(np.sum(values < noise))
    null = directions[system.n_squares - nullity :].T
    regression = -linalg.solve_triangular(corner, cross) if independent else None
    return _NullSpace(
        system.matrices(null),
        regression,
        values[::-1][: nullity + k + 1] / scale,
        nullity,
        noise / scale,
        float(values[-k - 1] / noise) if len(values) > k else np.inf,
        used,
    )


def _units(
    samples: Samples, system: _System, found: _NullSpace, vectors: np.ndarray
) -> list[PatternUnit] | None:
    """Turn each zeta into its unit: offset and sign from the hinge, weights from active rows."""
    root = np.sqrt(samples.weight / samples.weight.sum())[:, None]
    Z = root * samples.Z
    basis = np.column_stack([system.Q, system.Z[:, : system.n_linear]])
    outputs = np.asarray(np.linalg.qr(root * basis)[0])
    units = []
    for zeta in vectors.T:
        best: tuple[float, np.ndarray] | None = None
        for values in _hinges(samples, system, found, zeta):
            active = values > max(1e-6, 100.0 * system.noise) * np.max(values)
            unit = unit_of_pattern(Z, outputs, active)
            if unit is not None and (best is None or unit.sine < best[0]):
                best = unit.sine, active
        # The unit's own pattern corrects samples that were too close to its kink.
        refined = None if best is None else refine_unit(Z, outputs, best[1], noise=system.noise)
        if refined is None:
            return None
        units.append(refined)
    return units


def _hinges(
    samples: Samples, system: _System, found: _NullSpace, zeta: np.ndarray
) -> list[np.ndarray]:
    """Candidates for the unit's activations q.zeta + g.gamma, one of each sign."""
    values = system.Q @ zeta
    if system.n_linear == int(samples.intercept):
        # No function but a constant to add: activations are 0 at their smallest.
        offset = samples.intercept
        return [values - offset * np.min(values), -values + offset * np.max(values)]
    if found.regression is None:
        return []
    # Coefficients of q z' are zeta (2 gamma - v)', those of g z' beyond g are -gamma v'.
    k, p, g = system.Q.shape[1], system.Z.shape[1], system.n_linear
    completion = found.regression @ system.vector(np.outer(zeta, zeta))
    cross = zeta @ completion[: k * p].reshape(k, p) / (zeta @ zeta)
    beyond = completion[system.n_regressors - g * (p - g) :].reshape(g, p - g)
    if not np.any(cross[g:]):
        return []
    gamma = beyond @ cross[g:] / (cross[g:] @ cross[g:])
    values = values + system.Z[:, :g] @ gamma
    return [values, -values]
