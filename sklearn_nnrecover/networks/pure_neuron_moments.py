"""Networks on symmetric inputs from moments of order four: pure neurons.

Model (rows are samples): ``y = f(x V) A + noise``, x and -x equally likely, f the ReLU or a leaky
ReLU of slope a, at least as many outputs and features as units. Then y = b + r with a linear part
b = x B = (1 + a)/2 x V A and an even part r = (1 - a)/2 |x V| A + noise. For an output direction u,
with pure neurons those for which A u has one non-zero entry,

    T vec(u u') = Cov(x x', (b u / (1 + a))^2 - (r u / (1 - a))^2) = 0     iff u is a pure neuron,

as long as the distinguishing matrix has full rank. (The covariance, not the mean product, removes
the noise, which is independent of x.) So the null space of T is spanned by vec(u_j u_j'), which
joint diagonalisation separates; then V = 2 / (1 + a) B u, and A is the inverse of the u_j.

Without label noise the only error of T is that of B. The linear part is therefore regressed beside
a constant and the even functions x_i x_j, whose coefficients are noise-free by symmetry and take
most of r away; and it can be re-estimated beside |x V| of the network found (*refits*): without
noise the error falls geometrically.

References
----------
Ge, Kuditipudi, Li and Wang, "Learning Two-layer Neural Networks with Symmetric Inputs", ICLR 2019,
Lemmas 3, 9 and Algorithms 2-4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from scipy import linalg
from scipy.stats import chi2

from sklearn_nnrecover.linalg.blocks import (
    MEBIBYTE,
    require_memory,
    row_blocks,
    working_memory_bytes,
)
from sklearn_nnrecover.linalg.joint_diagonalization import joint_diagonalize
from sklearn_nnrecover.linalg.whitening import Whitening
from sklearn_nnrecover.networks.symmetric_moments import (
    BLOCK_MEBIBYTES,
    SymmetricMoments,
    isometry,
    keeps_quartic,
    monomials,
    n_monomials,
)
from sklearn_nnrecover.networks.two_layer_network import Samples

# Samples per regressor from which even functions are regressed out of the linear part.
ROWS_PER_CONTROL = 2.0
# Shift of the monomials' Gram matrix relative to its trace: dependent monomials (0/1 inputs).
CONTROL_SHIFT = 1e-10
# Level of each of Bartlett's tests.
WIDTH_LEVEL = 1e-3
# Singular value k + 1 of T over singular value k: 1 to 1.3 when the estimate fails, over 4 when
# it is good.
MIN_GAP = 1.5
# Wider networks tried where the moments of the first width do not tell its units apart.
MOST_WIDER = 4


class LowMoments(NamedTuple):
    """Means of products of whitened inputs z and outputs y up to order three (and four, if kept).

    Attributes
    ----------
    weight : float
        Sum of the frequencies.
    z, y : ndarrays of shapes (p,), (m,)
        Means.
    yz, yy : ndarrays of shapes (m, p), (m, m)
        Mean products; those of z with itself are the identity.
    controls : tuple of ndarrays or None
        Means of phi, (z, y) phi' and phi phi', phi the isometric monomials; None for many features.
    """

    weight: float
    z: np.ndarray
    y: np.ndarray
    yz: np.ndarray
    yy: np.ndarray
    controls: tuple[np.ndarray, np.ndarray, np.ndarray] | None


class MomentSource(Protocol):
    """Where moments come from: samples, or sums of samples that are gone."""

    low: LowMoments

    def detector(self, projection: np.ndarray, B: np.ndarray, slope: float) -> np.ndarray:
        """Pure neuron detector T of the outputs ``y @ projection`` with linear part ``z @ B``."""


class MomentEstimate(NamedTuple):
    """A network from moments.

    Attributes
    ----------
    V : ndarray of shape (p, k)
        Hidden units in whitened coordinates.
    A : ndarray of shape (k, m)
        Output weights.
    singular_values : ndarray
        Those of T, increasing; the first k belong to pure neurons.
    gap : float
        Singular value k + 1 over singular value k: how clearly T has a null space of dimension k.
        Infinite for one unit.
    residual : float
        Relative residual of the joint diagonalisation.
    """

    V: np.ndarray
    A: np.ndarray
    singular_values: np.ndarray
    gap: float
    residual: float


class SampleMoments:
    """Moments of samples in memory: B first, then T, in memory of order (d k)^2.

    Parameters
    ----------
    samples : Samples
        Samples without intercept: ``(w Z)'Z = sum(w) I``.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        Z, Y, w = samples.Z, samples.Y, samples.weight
        total = float(w.sum())
        self.total = total
        weighted = w[:, None] * Y
        controls = None
        if keeps_quartic(Z.shape[1]):
            controls = self._controls()
        self.low = LowMoments(
            total,
            w @ Z / total,
            w @ Y / total,
            weighted.T @ Z / total,
            weighted.T @ Y / total,
            controls,
        )

    def _blocks(self, rows: int) -> Iterator[slice]:
        budget = min(BLOCK_MEBIBYTES, working_memory_bytes() / MEBIBYTE)
        return row_blocks(len(self.samples.Z), 8.0 * rows, budget)

    def _controls(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        Z, Y, w = self.samples.Z, self.samples.Y, self.samples.weight
        (_, p), m = Z.shape, Y.shape[1]
        D = n_monomials(p)
        mean, cross, gram = np.zeros(D), np.zeros((p + m, D)), np.zeros((D, D))
        for block in self._blocks(2 * D + p + m):
            root = np.sqrt(w[block])
            features = monomials(np.ascontiguousarray(Z[block].T)) * root
            mean += features @ root
            cross += (np.hstack([Z[block], Y[block]]).T * root) @ features.T
            gram += features @ features.T
        scale = isometry(p)
        return (
            mean * scale / self.total,
            cross * scale / self.total,
            gram * scale * scale[:, None] / self.total,
        )

    def detector(self, projection: np.ndarray, B: np.ndarray, slope: float) -> np.ndarray:
        """Accumulate T over blocks of rows; see :class:`MomentSource`."""
        Z, Y, w = self.samples.Z, self.samples.Y, self.samples.weight
        p, k = B.shape
        D, K = n_monomials(p), n_monomials(k)
        require_memory(
            16.0 * D * K,
            working_memory_bytes(),
            f"The fourth-order moments of {p} features and {k} hidden units",
            "reduce the columns (for example by PCA), or allow more by "
            "sklearn.set_config(working_memory=...).",
        )
        T, inputs, outputs = np.zeros((D, K)), np.zeros(D), np.zeros(K)
        for block in self._blocks(D + 2 * K + 2 * p + 3 * k):
            Zt = np.ascontiguousarray(Z[block].T)
            linear = B.T @ Zt
            even = projection.T @ Y[block].T - linear
            right = monomials(linear / (1.0 + slope))
            right -= monomials(even / (1.0 - slope))
            left = monomials(Zt)
            inputs += left @ w[block]
            right *= w[block]
            outputs += right.sum(axis=1)
            T += left @ right.T
        T = T / self.total - np.outer(inputs, outputs) / self.total**2
        return T * isometry(p)[:, None] * isometry(k)

    def refit(self, V: np.ndarray, projection: np.ndarray) -> np.ndarray:
        """Linear part of the outputs ``y @ projection`` beside |z V|, shape (p, k)."""
        Z, Y, w = self.samples.Z, self.samples.Y, self.samples.weight
        p, q = Z.shape[1], Z.shape[1] + V.shape[1]
        gram, cross = np.zeros((q, q)), np.zeros((q, projection.shape[1]))
        for block in self._blocks(3 * q):
            features = np.hstack([Z[block], np.abs(Z[block] @ V)])
            weighted = w[block, None] * features
            gram += weighted.T @ features
            cross += weighted.T @ (Y[block] @ projection)
        return np.linalg.lstsq(gram, cross, rcond=1e-13)[0][:p]


class SummedMoments:
    """Moments of accumulated sums.

    Parameters
    ----------
    moments : SymmetricMoments
        Sums in the user's coordinates.
    whitening : Whitening
        Map of the inputs, without centring (see :func:`whiten_moments`).
    output_scale : float
        Divisor of the outputs.
    """

    def __init__(
        self, moments: SymmetricMoments, whitening: Whitening, output_scale: float
    ) -> None:
        self.moments, self.output_scale = moments, output_scale
        self.L = L = whitening.transform
        d, total = moments.n_features, moments.weight
        mean = moments.second / total
        yz = mean[1 + d :, 1 : 1 + d] @ L / output_scale
        yy = mean[1 + d :, 1 + d :] / output_scale**2
        controls = None
        if keeps_quartic(d):
            mixed = self._whitened(moments.mixed("u")[1:] / total)
            cross = np.vstack([L.T @ mixed[:d], mixed[d:] / output_scale])
            quartic = self._whitened(moments.mixed("xx") / total)
            quartic = self._whitened(np.ascontiguousarray(quartic.T)).T
            scale = isometry(L.shape[1])
            phi = self._pack((L.T @ mean[1 : 1 + d, 1 : 1 + d] @ L)[None])[0]
            controls = phi * scale, cross * scale, quartic * scale * scale[:, None]
        z, y = mean[0, 1 : 1 + d] @ L, mean[0, 1 + d :] / output_scale
        self.low = LowMoments(total, z, y, yz, yy, controls)

    def _symmetric(self, rows: np.ndarray) -> np.ndarray:
        """Rows over monomials x_i x_j as matrices over (i, j)."""
        d = self.moments.n_features
        matrices = np.empty((len(rows), d, d))
        upper, lower = np.triu_indices(d)
        matrices[:, upper, lower] = matrices[:, lower, upper] = rows
        return matrices

    @staticmethod
    def _pack(matrices: np.ndarray) -> np.ndarray:
        upper, lower = np.triu_indices(matrices.shape[1])
        return matrices[:, upper, lower]

    def _whitened(self, rows: np.ndarray) -> np.ndarray:
        """Rows over the monomials of x as rows over those of z = x L."""
        return self._pack(self.L.T @ self._symmetric(rows) @ self.L)

    def detector(self, projection: np.ndarray, B: np.ndarray, slope: float) -> np.ndarray:
        """Contract the sums with B; see :class:`MomentSource`."""
        moments, total = self.moments, self.moments.weight
        d, m = moments.n_features, moments.n_outputs
        (p, k), D = B.shape, n_monomials(moments.n_features)
        M = projection / self.output_scale
        linear = self.L @ B
        # q = y M and b = x linear: sums of q_i b_j phi(x) and q_i q_j phi(x).
        yx = moments.mixed("yx").reshape(m, d, D)
        qx = np.tensordot(M, yx, axes=(0, 0)).reshape(k, d, D)
        qb = np.einsum("jdD,dl->jlD", qx, linear, optimize=True)
        qb = 0.5 * (qb + qb.transpose(1, 0, 2))
        upper, lower = np.triu_indices(m)
        yy = np.empty((m, m, D))
        yy[upper, lower] = yy[lower, upper] = moments.mixed("yy")
        qq = np.tensordot(M, np.tensordot(yy, M, axes=(1, 0)), axes=(0, 0)).transpose(0, 2, 1)
        if keeps_quartic(d):
            upper, lower = np.triu_indices(d)
            xx = np.empty((d, d, D))
            xx[upper, lower] = xx[lower, upper] = moments.mixed("xx")
            bb = np.tensordot(linear, np.tensordot(xx, linear, axes=(1, 0)), axes=(0, 0))
            bb = bb.transpose(0, 2, 1)
            even = qq - 2 * qb + bb
            products = bb / (1.0 + slope) ** 2 - even / (1.0 - slope) ** 2
        else:
            # Of the same expectation, without x^4 (and the same for the ReLU).
            products = 2 * (1 + slope**2) / (1 + slope) ** 2 * qb - qq
            products /= (1.0 - slope) ** 2
        second = moments.second / total
        S_qx = M.T @ second[1 + d :, 1 : 1 + d]
        mean_qb = S_qx @ linear
        mean_qb = 0.5 * (mean_qb + mean_qb.T)
        mean_qq = M.T @ second[1 + d :, 1 + d :] @ M
        if keeps_quartic(d):
            mean_bb = linear.T @ second[1 : 1 + d, 1 : 1 + d] @ linear
            mean = mean_bb / (1 + slope) ** 2 - (mean_qq - 2 * mean_qb + mean_bb) / (1 - slope) ** 2
        else:
            mean = (2 * (1 + slope**2) / (1 + slope) ** 2 * mean_qb - mean_qq) / (1 - slope) ** 2
        upper, lower = np.triu_indices(k)
        rows = products[upper, lower] / total
        phi = moments.mixed("u")[0] / total
        rows -= np.outer(mean[upper, lower], phi)
        return (self._whitened(rows) * isometry(p)).T * isometry(k)


def whiten_moments(moments: SymmetricMoments) -> Whitening:
    """Whitening of the inputs behind accumulated sums, without centring.

    Parameters
    ----------
    moments : SymmetricMoments
        Sums.

    Returns
    -------
    Whitening
        Directions whose variance is below 1e-12 of the largest (columns scaled) are left out: sums
        of squares cannot tell them from rounding.
    """
    d = moments.n_features
    C = moments.second[1 : 1 + d, 1 : 1 + d] / moments.weight
    scale = np.sqrt(np.diagonal(C))
    varies = scale > 0
    inverse = np.divide(1.0, scale, out=np.zeros(d), where=varies)
    values, vectors = np.linalg.eigh(C * inverse * inverse[:, None])
    kept = values > 1e-12 * max(float(values[-1]), np.finfo(float).tiny)
    transform = inverse[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    return Whitening(np.zeros(d), transform, int(kept.sum()), vectors[:, ~kept])


def linear_part(low: LowMoments) -> np.ndarray:
    """Linear part B of the outputs, beside a constant and, where rows allow it, even functions.

    Parameters
    ----------
    low : LowMoments
        Moments.

    Returns
    -------
    ndarray of shape (p, m)
    """
    p = len(low.z)
    gram = np.eye(p) - np.outer(low.z, low.z)
    cross = low.yz.T - np.outer(low.z, low.y)
    if low.controls is not None:
        phi, products, phi_phi = low.controls
        if low.weight >= ROWS_PER_CONTROL * (1 + p + len(phi)):
            means = np.concatenate([low.z, low.y])
            centered = products - np.outer(means, phi)
            even = phi_phi - np.outer(phi, phi)
            even[np.diag_indices_from(even)] += CONTROL_SHIFT * max(np.trace(even) / len(even), 1.0)
            solved = linalg.cho_solve(linalg.cho_factor(even), centered.T)
            gram = gram - centered[:p] @ solved[:, :p]
            cross = cross - centered[:p] @ solved[:, p:]
    return np.linalg.lstsq(gram, cross, rcond=1e-10)[0]


def choose_width(low: LowMoments, n_rows: int) -> tuple[int, float]:
    """Number of hidden units from the rank of E[y z'], by Bartlett's test.

    Output directions without signal are independent of the inputs; those of a unit are correlated
    with them, as half of a unit is linear.

    Parameters
    ----------
    low : LowMoments
        Moments.
    n_rows : int
        Number of samples.

    Returns
    -------
    width : int
        At least 1.
    p_value : float
        Of the last direction that is counted as a unit: small if it is no noise.
    """
    values, vectors = np.linalg.eigh(low.yy)
    kept = values > 1e-13 * max(float(values[-1]), np.finfo(float).tiny)
    whitened = (vectors[:, kept] / np.sqrt(values[kept])).T @ low.yz
    correlations = np.linalg.svd(whitened, compute_uv=False)
    m, p = whitened.shape
    logs = np.log1p(-(np.minimum(correlations, 1 - 1e-12) ** 2))
    width, p_value = 1, 0.0
    for rank in range(min(m, p)):
        statistic = -max(n_rows - (m + p + 1) / 2, 1.0) * logs[rank:].sum()
        tail = float(chi2.sf(statistic, (m - rank) * (p - rank)))
        if tail > WIDTH_LEVEL:
            break
        width, p_value = rank + 1, tail
    return width, p_value


def estimate_with_width(
    source: MomentSource,
    n_rows: int,
    *,
    rng: np.random.RandomState,
    slope: float = 0.0,
    n_refits: int = 0,
) -> tuple[MomentEstimate, int]:
    """Estimate a network and its width.

    Units that nearly cancel hide from Bartlett's test; the gap of T then shows that the width is
    wrong, and wider networks are tried.

    Parameters
    ----------
    source : SampleMoments or SummedMoments
        Moments.
    n_rows : int
        Number of samples.
    rng, slope, n_refits
        See :func:`estimate_network`.

    Returns
    -------
    estimate : MomentEstimate
        That of the first width with a gap, else of the largest gap.
    first : int
        Width by Bartlett's test.
    """
    first = choose_width(source.low, n_rows)[0]
    values = np.linalg.eigvalsh(source.low.yy)
    rank = int(np.sum(values > 1e-13 * values[-1]))
    best: MomentEstimate | None = None
    for k in range(first, max(first, min(rank, len(source.low.z), first + MOST_WIDER)) + 1):
        found = estimate_network(source, k, rng=rng, slope=slope, n_refits=n_refits)
        if best is None or found.gap > best.gap:
            best = found
        if best.gap >= MIN_GAP and np.isfinite(best.gap):
            break
        if k == 1 and first == 1:
            # One unit needs no gap; its fit will tell.
            break
    assert best is not None
    return best, first


def output_projection(low: LowMoments, n_hidden: int) -> np.ndarray:
    """Whitened principal components of the outputs, shape (m, k)."""
    values, vectors = np.linalg.eigh(low.yy)
    values, vectors = values[::-1][:n_hidden], vectors[:, ::-1][:, :n_hidden]
    floor = 1e-14 * max(float(values[0]), np.finfo(float).tiny)
    return vectors / np.sqrt(np.maximum(values, floor))


def estimate_network(
    source: MomentSource,
    n_hidden: int,
    *,
    rng: np.random.RandomState,
    slope: float = 0.0,
    n_refits: int = 0,
) -> MomentEstimate:
    """Estimate a network from moments.

    Parameters
    ----------
    source : SampleMoments or SummedMoments
        Moments.
    n_hidden : int
        Number of hidden units, at most the numbers of outputs and of features.
    rng : RandomState
        Draws the starts of the joint diagonalisation.
    slope : float, default=0
        Negative slope of the units, between -1 and 1.
    n_refits : int, default=0
        How often the linear part is estimated again beside the units found. Needs
        :class:`SampleMoments`.

    Returns
    -------
    MomentEstimate
    """
    k = n_hidden
    projection = output_projection(source.low, k)
    mean = source.low.y @ projection
    B = linear_part(source.low) @ projection
    V, gap, spectrum = np.zeros_like(B), np.inf, np.zeros(0)
    for refit in range(n_refits + 1):
        if refit:
            assert isinstance(source, SampleMoments)
            B = source.refit(V, projection)
        T = source.detector(projection, B, slope)
        vectors, residual, values = _pure_neurons(T, k, rng)
        if refit == 0:
            spectrum = values
            gap = float(values[k] / max(values[k - 1], np.finfo(float).tiny)) if k > 1 else np.inf
        sign = np.sign(mean @ vectors)
        U = vectors * np.where(sign == 0, 1.0, sign)
        V = 2.0 / (1.0 + slope) * B @ U
    back = np.linalg.pinv(projection)
    return MomentEstimate(V, np.linalg.inv(U) @ back, spectrum, gap, residual)


def _pure_neurons(
    T: np.ndarray, n_hidden: int, rng: np.random.RandomState
) -> tuple[np.ndarray, float, np.ndarray]:
    """Pure neurons as unit columns, residual, singular values of T in increasing order."""
    k = n_hidden
    factor = np.asarray(np.linalg.qr(T, mode="r")) if len(T) > T.shape[1] else T
    _, values, right = np.linalg.svd(factor)
    values = np.pad(values, (0, T.shape[1] - len(values)))[::-1]
    # Directions that are nearly as far from the null space as the first one outside count less.
    bound = max(float(values[k]) if len(values) > k else 1.0, np.finfo(float).tiny)
    reliability = 1.0 / (1.0 + (values[:k] / bound) ** 2)
    null = right[::-1][:k] * reliability[:, None] / isometry(k)
    upper, lower = np.triu_indices(k)
    matrices = np.zeros((k, k, k))
    matrices[:, upper, lower] = matrices[:, lower, upper] = null
    found = joint_diagonalize(matrices, rng=rng)
    return _settled(found.vectors, matrices), found.residual, values


def _settled(vectors: np.ndarray, matrices: np.ndarray, max_iter: int = 500) -> np.ndarray:
    """Iterate a joint diagonaliser of perturbed matrices to its fixed point.

    There, for each pair of vectors, no rotation lowers the off-diagonal part in least squares; so
    moments that differ by rounding give networks that differ by rounding.
    """
    k = len(vectors)
    unmixing = np.linalg.inv(vectors)
    last = np.inf
    for _ in range(max_iter):
        rotated = unmixing @ matrices @ unmixing.T
        diagonal = np.einsum("ijj->ij", rotated)
        gram = diagonal.T @ diagonal
        square = np.diag(gram)
        right = np.einsum("iab,ib->ab", rotated, diagonal)
        determinant = np.multiply.outer(square, square) - gram**2
        np.fill_diagonal(determinant, 1.0)
        step = (square[:, None] * right - gram * right.T) / determinant
        np.fill_diagonal(step, 0.0)
        # Scales are a gauge of the unmixing rows: relative to them the step has a size.
        scale = np.sqrt(np.sqrt(square))
        size = float(np.abs(step * scale / scale[:, None]).max())
        if not np.isfinite(size) or size > 0.5 or (size > 0.9 * last and size < 1e-12):
            break
        last = size
        unmixing = np.linalg.solve(np.eye(k) + step, unmixing)
        if size < 1e-15:
            break
    vectors = np.linalg.inv(unmixing)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=0))
