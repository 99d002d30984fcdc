"""Means of a mixture of spherical Gaussians: the paper's k = 1 model, for means of any norm.

Exploring is Lloyd's iteration (the argmax encoder: each sample goes to its nearest mean) with
swaps: the pair of means that can be merged at least cost gives one to the cluster whose split gains
most.
The final means maximise the likelihood (expectation maximisation with one common variance), which
removes the bias of hard assignments where components overlap.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse, stats

from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.linalg.steps import Step, Steps

MAX_FAILED_SWAPS = 6  # splits tried in vain before a start ends
SPLIT_SHARE = 0.64  # 2 / pi: what halving a Gaussian along a direction takes from its variance


class Mixture(NamedTuple):
    """Result of :func:`learn_mixture`.

    Attributes
    ----------
    means : ndarray of shape (n_components, n_features)
        Component means.
    counts : ndarray of shape (n_components,)
        Expected number of samples of each.
    noise_variance : float
        Common variance of one entry.
    residual_square : ndarray of shape (n_samples,)
        Squared distance to the nearest mean.
    gap : float
        Last movement of a mean.
    """

    means: np.ndarray
    counts: np.ndarray
    noise_variance: float
    residual_square: np.ndarray
    gap: float


def nearest_mean(X: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and squared distance of the nearest mean of every row.

    The distance is computed from the difference, not from its square's three terms.
    """
    score = X @ means.T
    score -= 0.5 * np.einsum("ij,ij->i", means, means)
    labels = score.argmax(axis=1)
    difference = X - means[labels]
    return labels, np.einsum("ij,ij->i", difference, difference)


def one_hot(labels: np.ndarray, n_components: int, dtype: Any = np.float64) -> sparse.csr_array:
    """Codes of a mixture: a single one in every row."""
    n = len(labels)
    return sparse.csr_array(
        (np.ones(n, dtype=dtype), labels.astype(np.int32), np.arange(n + 1, dtype=np.int32)),
        shape=(n, n_components),
    )


def responsibilities(
    X: np.ndarray, means: np.ndarray, variance: float, log_share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior probability of every component, and squared distance to its mean, for every row.

    Parameters
    ----------
    X, means : ndarrays of shapes (n_samples, n_features), (n_components, n_features)
        Samples and means.
    variance : float
        Common variance of one entry, positive.
    log_share : ndarray of shape (n_components,)
        Logarithms of the components' prior probabilities.
    """
    distance = (
        np.einsum("ij,ij->i", means, means)
        - 2 * (X @ means.T)
        + np.einsum("ij,ij->i", X, X)[:, None]
    )
    np.maximum(distance, 0, out=distance)
    logits = log_share - distance / (2 * variance)
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits, out=logits)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, distance


def find_means(
    X: np.ndarray, n_components: int, rng: np.random.RandomState, *, max_iter: int = 60
) -> Steps[tuple[np.ndarray, float]]:
    """Explore in memory: Lloyd's iteration, then swaps as long as one of them lowers the loss.

    Returns
    -------
    means : ndarray of shape (n_components, n_features)
    loss : float
        Mean squared distance to the nearest mean.
    """
    means, loss = yield from _lloyd(X, _spread_start(X, n_components, rng), max_iter)
    rank = 0
    while rank < MAX_FAILED_SWAPS:
        candidate = _swap(X, means, rank)
        if candidate is None:
            break
        candidate, candidate_loss = yield from _lloyd(X, candidate, max_iter)
        if candidate_loss < loss * (1 - 1e-6):
            means, loss, rank = candidate, candidate_loss, 0
        else:
            rank += 1
    return means, loss


def _lloyd(X: np.ndarray, means: np.ndarray, max_iter: int) -> Steps[tuple[np.ndarray, float]]:
    """Assign and average until the loss falls by less than a ten-thousandth."""
    previous = np.inf
    for _ in range(max_iter):
        labels, square = nearest_mean(X, means)
        loss = float(square.mean(dtype=np.float64))
        yield Step(loss, (previous - loss) / previous if 0 < previous < np.inf else 1.0, means)
        if loss >= previous * (1 - 1e-4):
            break
        previous = loss
        means = _cluster_means(X, labels, means)
    return means, loss


def _spread_start(X: np.ndarray, n_components: int, rng: np.random.RandomState) -> np.ndarray:
    """k-means++ seeding; random samples once every sample is a mean."""
    means = np.empty((n_components, X.shape[1]), dtype=X.dtype)
    means[0] = X[rng.randint(len(X))]
    difference = X - means[0]
    distance = np.einsum("ij,ij->i", difference, difference).astype(np.float64)
    for j in range(1, n_components):
        total = distance.sum()
        draw = rng.random_sample()
        if total > 0:
            row = min(int(np.searchsorted(np.cumsum(distance), draw * total)), len(X) - 1)
        else:
            row = int(draw * len(X))
        means[j] = X[row]
        difference = X - means[j]
        np.minimum(distance, np.einsum("ij,ij->i", difference, difference), out=distance)
    return means


def _cluster_means(X: np.ndarray, labels: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Average the samples of each mean; a mean without samples stays."""
    counts = np.bincount(labels, minlength=len(means)).astype(X.dtype)[:, None]
    sums = one_hot(labels, len(means), X.dtype).T @ X
    return np.where(counts > 0, sums / np.maximum(counts, 1), means)


def _swap(X: np.ndarray, means: np.ndarray, rank: int) -> np.ndarray | None:
    """Move a mean from the cheapest merge to a useful split, or None if it cannot pay.

    ``rank`` counts the splits that were tried in vain.
    """
    n_components = len(means)
    if rank >= n_components - 1:
        return None
    labels, _ = nearest_mean(X, means)
    counts = np.bincount(labels, minlength=n_components)
    codes = one_hot(labels, n_components, X.dtype)
    centred = X - means[labels]
    axes = np.ones_like(means)
    axes[:, 0] += 0.5
    for _ in range(12):  # power iteration for every cluster at once
        along = np.einsum("ij,ij->i", centred, axes[labels])
        axes = codes.T @ (along[:, None] * centred)
        norms = np.linalg.norm(axes, axis=1, keepdims=True)
        axes = axes / np.where(norms > 0, norms, 1)
    along = np.einsum("ij,ij->i", centred, axes[labels])
    gain = SPLIT_SHARE * np.bincount(labels, weights=along**2, minlength=n_components)
    gain[counts < 2] = 0
    square = np.einsum("ij,ij->i", means, means)
    between = square[:, None] + square - 2 * means @ means.T
    weight = counts[:, None] * counts / np.maximum(counts[:, None] + counts, 1)
    cost = np.where(np.eye(n_components, dtype=bool), np.inf, np.maximum(between, 0) * weight)
    taker = np.argsort(-gain, kind="stable")[rank]
    cost[taker] = cost[:, taker] = np.inf
    if not np.isfinite(cost).any():
        return None
    giver, kept = np.unravel_index(int(cost.argmin()), cost.shape)
    if not gain[taker] > 0.5 * cost[giver, kept]:
        return None
    giver, kept = (giver, kept) if counts[giver] <= counts[kept] else (kept, giver)
    swapped = means.copy()
    total = max(counts[giver] + counts[kept], 1)
    swapped[kept] = (counts[giver] * means[giver] + counts[kept] * means[kept]) / total
    members = labels == taker
    side = along[members] > 0
    if side.all() or not side.any():
        return None
    swapped[taker] = X[members][side].mean(axis=0)
    swapped[giver] = X[members][~side].mean(axis=0)
    return swapped


def learn_mixture(
    samples: Samples,
    n_components: int,
    rng: np.random.RandomState,
    *,
    n_init: int,
    n_explored: int,
    start: np.ndarray | None = None,
    max_iter: int = 60,
    tol: float = 1e-12,
    max_passes: int = 200,
) -> Steps[Mixture]:
    """Best of ``n_init`` explorations on at most ``n_explored`` samples, then all samples.

    Yields
    ------
    Step
        Objective: mean squared distance to the nearest mean.

    Returns
    -------
    Mixture
    """
    candidates = [] if start is None else [(0.0, start)]
    for _ in range(n_init if start is None else 0):
        X = samples.explored(rng.permutation(len(samples))[:n_explored])
        shift = X.mean(axis=0)
        found, loss = yield from find_means(X - shift, n_components, rng, max_iter=max_iter)
        candidates.append((loss, found.astype(np.float64) + shift))
    means = min(candidates, key=lambda candidate: candidate[0])[1]
    return (yield from _maximise_likelihood(samples, means, tol=tol, max_passes=max_passes))


def _maximise_likelihood(
    samples: Samples, means: np.ndarray, *, tol: float, max_passes: int
) -> Steps[Mixture]:
    """Expectation maximisation of a mixture with common spherical covariance, in blocks."""
    n_samples, n_features = samples.shape
    n_components = len(means)
    slices = samples.slices(8 * (4 * n_components + 3 * n_features))
    means = np.array(means, dtype=np.float64)
    gap = np.inf
    variance, log_share = 0.0, np.full(n_components, -np.log(n_components))
    square = np.empty(n_samples)
    for _ in range(max_passes):
        counts = np.zeros(n_components)
        drift, scatter = np.zeros_like(means), 0.0
        for here in slices:
            X = samples.read(here)
            labels, square[here] = nearest_mean(X, means)
            weights = nearest = one_hot(labels, n_components)
            if variance == 0:
                scatter += float(square[here].sum())
            else:
                weights, distance = responsibilities(X, means, variance, log_share)
                scatter += float(np.einsum("ij,ij->", weights, distance))
            # Sums of w (x - mean), from differences to the nearest mean: sums of samples round.
            confused = (nearest.T @ weights).T
            confused = confused.toarray() if sparse.issparse(confused) else confused
            members = confused.sum(axis=1)
            counts += members
            drift += weights.T @ (X - means[labels]) + (confused - np.diag(members)) @ means
        filled = counts > 0
        moved = means.copy()
        moved[filled] += drift[filled] / counts[filled, None]
        assigned = variance == 0  # as Lloyd's iteration does: at rest is not at the optimum
        previous, gap = gap, float(np.max(np.linalg.norm(moved - means, axis=1)))
        freedom = max(n_samples - np.count_nonzero(filled), 1) * n_features
        variance = scatter / freedom
        with np.errstate(divide="ignore"):
            log_share = np.log(counts / counts.sum())
        scale = float(np.sqrt(np.mean(np.einsum("ij,ij->i", moved, moved)))) or 1.0
        if variance <= (1e-14 * scale) ** 2 * 100:
            variance = 0.0
        means = moved
        yield Step(float(square.mean()), gap, means)
        # A hundredth of a mean's standard error is close enough to the optimum. Where components
        # overlap steps shrink slowly: what is left of a geometric series counts, not its last step.
        floor = 0.01 * np.sqrt(n_features * variance / max(np.median(counts), 1))
        left = gap / max(1 - gap / previous, 1e-3) if gap < previous else np.inf
        if (variance == 0 or not assigned) and (gap <= tol * scale or left <= floor):
            break
    for here in slices:
        square[here] = nearest_mean(samples.read(here), means)[1]
    return Mixture(means, counts, float(variance), square, gap)


def tracy_widom_tail(largest: float, n_samples: int, n_features: int) -> float:
    """Probability that the top eigenvalue of a white sample covariance exceeds ``largest``.

    ``largest`` is in units of the noise variance times ``n_samples``. The Tracy-Widom law of order
    1 is approximated by a shifted Gamma law (M. Chiani, J. Multivariate Anal. 129, 2014).
    """
    a, b = np.sqrt(max(n_samples - 0.5, 0.5)), np.sqrt(n_features - 0.5)
    centre = (a + b) ** 2
    scale = np.sqrt(centre) * (1 / a + 1 / b) ** (1 / 3)
    return float(stats.gamma.sf((largest - centre) / scale + 9.84801, 46.446, scale=0.186054))
