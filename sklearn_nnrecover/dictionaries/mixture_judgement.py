"""What can be claimed about the means of a mixture of spherical Gaussians."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist

from sklearn_nnrecover.dictionaries.judgement import JUDGED_ROWS, LEVEL, ROUNDINGS
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.spherical_mixture import (
    Mixture,
    responsibilities,
    tracy_widom_tail,
)
from sklearn_nnrecover.dictionaries.stability import matched_distances
from sklearn_nnrecover.dictionaries.verdict import Judgement, verdict

MIN_MEMBERS = 3  # samples of a component
SAME_MEAN = 0.25  # distance of means from two halves, relative to the nearest other mean


def judge_mixture(
    samples: Samples,
    mixture: Mixture,
    halves: tuple[np.ndarray, ...] | None,
    errors: np.ndarray,
    *,
    eps: float,
    rng: np.random.RandomState,
) -> Judgement:
    """Check a mixture of spherical Gaussians.

    Parameters
    ----------
    samples : Samples
        Training data.
    mixture : Mixture
        What was learned from them.
    halves : pair of ndarrays of shape (n_components, n_features), or None
        Means learned independently from two halves of the data.
    errors : ndarray of shape (n_components, n_features)
        Standard errors of the means.
    eps : float
        Machine epsilon of the data's dtype.
    rng : RandomState
        Draws samples to look at, and their labels.
    """
    means, noise = mixture.means, float(np.sqrt(mixture.noise_variance))
    n_components = len(means)
    scale = float(np.max(np.linalg.norm(means, axis=1), initial=0.0)) or 1.0
    worst = float(np.sqrt(np.max(mixture.residual_square, initial=0.0))) / scale
    at_rounding = worst <= ROUNDINGS * eps
    p_value = 1.0 if at_rounding else _lack_of_fit(samples, mixture, rng)
    fits = p_value >= LEVEL
    separation = np.full(n_components, 1e300)
    if n_components > 1:
        between = cdist(means, means)
        np.fill_diagonal(between, np.inf)
        separation = between.min(axis=1)
    overlap = float(separation.min()) / (2 * noise) if noise > 0 else 1e300
    occupied = mixture.counts >= MIN_MEMBERS
    conditions = [
        ("residual", worst, ROUNDINGS * eps, at_rounding, "every sample is one of the means"),
        (
            "lack of fit",
            p_value,
            LEVEL,
            fits,
            "samples scatter around their means as a sphere of Gaussian noise does (p-value)",
        ),
        (
            "smallest component",
            float(mixture.counts.min()),
            MIN_MEMBERS,
            bool(occupied.all()),
            "in samples",
        ),
        (
            "separation",
            overlap,
            2.0,
            overlap > 2,
            "half the distance of the closest means, in standard deviations of the noise",
        ),
    ]
    agree = np.zeros(n_components, dtype=bool)
    if halves is not None:
        distance = np.maximum(*(matched_distances(means, half, signed=False) for half in halves))
        relative = distance / np.maximum(separation, np.finfo(np.float64).tiny)
        agree = relative <= SAME_MEAN
        conditions.append(
            (
                "stability",
                float(np.max(relative)),
                SAME_MEAN,
                bool(agree.all()),
                "distance of means from two halves of the data, relative to the nearest other mean",
            )
        )
    identified = agree & occupied & fits
    distinct = separation.min() > 2 * ROUNDINGS * eps * scale
    exact = bool(at_rounding and identified.all() and distinct)
    units = [
        {
            "component": j,
            "samples": float(mixture.counts[j]),
            "separation": float(separation[j]),
            "std": float(np.linalg.norm(errors[j])),
            "identified": bool(identified[j]),
        }
        for j in range(n_components)
    ]
    if exact:
        reason = "The samples are exactly these points."
        return Judgement("exact", reason, "global", conditions, units)
    if not fits:
        reason = (
            "Some clusters are not spherical: the model does not describe these data; try more "
            "components."
        )
        return Judgement("not_recovered", reason, None, conditions, units)
    status, reason = verdict(
        fits,
        identified,
        exact=False,
        approximate=bool(identified.all()),
        compared=halves is not None,
        n_samples=len(samples),
        atoms="means",
    )
    return Judgement(status, reason, None, conditions, units)


def _lack_of_fit(samples: Samples, mixture: Mixture, rng: np.random.RandomState) -> float:
    """P-value of the hypothesis that samples are Gaussian around their means.

    Labels are drawn from their posterior: then, and not with the nearest mean, the differences are
    Gaussian even where components overlap. Tested are their norms, by Kolmogorov and Smirnov's
    statistic, and the longest direction of every component (Bonferroni).
    """
    X = samples.read(np.sort(rng.permutation(len(samples))[:JUDGED_ROWS]))
    variance = max(mixture.noise_variance, np.finfo(np.float64).tiny)
    with np.errstate(divide="ignore"):
        log_share = np.log(mixture.counts / mixture.counts.sum())
    weights, _ = responsibilities(X, mixture.means, variance, log_share)
    labels = np.sum(weights.cumsum(axis=1) < rng.rand(len(X), 1), axis=1)
    labels = np.minimum(labels, len(mixture.means) - 1)
    # A mean of c samples takes a share 1 / c of their variance.
    kept = 1 - 1 / np.maximum(mixture.counts, 2)
    centred = (X - mixture.means[labels]) / np.sqrt(variance * kept[labels])[:, None]
    counts = np.bincount(labels, minlength=len(mixture.means))
    square = np.einsum("ij,ij->i", centred, centred)
    smallest = [stats.kstest(square, stats.chi2(X.shape[1]).cdf).pvalue]
    for j in np.flatnonzero(counts >= MIN_MEMBERS + 1):
        own = centred[labels == j]
        gram = own.T @ own if len(own) > own.shape[1] else own @ own.T
        longest = float(np.linalg.eigvalsh(gram)[-1])
        smallest.append(tracy_widom_tail(longest, int(counts[j]), X.shape[1]))
    return float(min(1.0, 2 * smallest[0], 2 * min(smallest[1:], default=1.0) * len(smallest)))
