"""Moments of order four of whitened inputs and outputs, from samples or from sums of them.

Two passes over samples at hand know the linear part B of the outputs before the fourth moments are
formed, and need memory of order (d k)^2 only. Sums of samples that are gone contract to the same.

References
----------
Ge, Kuditipudi, Li and Wang, "Learning Two-layer Neural Networks with Symmetric Inputs", ICLR 2019,
Algorithms 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from sklearn_nnrecover.linalg.blocks import (
    MEBIBYTE,
    require_memory,
    row_blocks,
    working_memory_bytes,
)
from sklearn_nnrecover.linalg.whitening import Whitening
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.moments.symmetric_moments import (
    BLOCK_MEBIBYTES,
    SymmetricMoments,
    isometry,
    keeps_quartic,
    monomials,
    n_monomials,
)


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
