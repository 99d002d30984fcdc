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

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.stats import chi2

from sklearn_nnrecover.linalg.joint_diagonalization import joint_diagonalize
from sklearn_nnrecover.networks.moments.fourth_order_moments import (
    LowMoments,
    MomentSource,
    SampleMoments,
)
from sklearn_nnrecover.networks.moments.symmetric_moments import isometry

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


def largest_width(low: LowMoments) -> int:
    """Most hidden units that the moments can tell: the numbers of inputs and of output directions.

    Parameters
    ----------
    low : LowMoments
        Moments.

    Returns
    -------
    int
        At least 1.
    """
    values = np.linalg.eigvalsh(low.yy)
    rank = int(np.sum(values > 1e-13 * max(float(values[-1]), np.finfo(float).tiny)))
    return max(1, min(rank, len(low.z)))


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
    best: MomentEstimate | None = None
    widest = min(largest_width(source.low), first + MOST_WIDER)
    for k in range(first, max(first, widest) + 1):
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
        Number of hidden units, at most :func:`largest_width`.
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
    return found.vectors, found.residual, values
