"""What can be claimed about learned atoms: conditions on the data, status, and its reason.

The paper's hypotheses (incoherence, code consistency, closeness to the truth) are replaced by what
can be measured: coherence of the atoms, crosstalk of inactive atoms against active ones, agreement
of atoms learned from two halves of the data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse, stats

from sklearn_nnrecover.dictionaries.dictionary_learning import Learned
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.spherical_mixture import (
    Mixture,
    nearest_mean,
    tracy_widom_tail,
)
from sklearn_nnrecover.dictionaries.stability import (
    agreement_threshold,
    isolation,
    matched_cosines,
    matched_distances,
)
from sklearn_nnrecover.dictionaries.support_growth import (
    ALPHA,
    noise_correlation_square,
    unexplained,
)

ERROR_BARS = 3.0  # standard errors of a whole atom by which atoms from half the data may differ
SAME = 1e-4  # atoms closer than this are the same, whatever their error bars
TAIL = 0.01  # of the law of residual norms that is looked at
LEVEL = 1e-3  # of the lack-of-fit tests
ROUNDINGS = 512.0  # residuals of this many machine epsilons of their sample are rounding
JUDGED_ROWS = 20_000
ISOLATED = 1e-6  # eigenvalue, relative to the atoms' code energies, that counts as positive


class Judgement(NamedTuple):
    """Fields of a recovery report."""

    status: str
    reason: str
    proof: str | None
    conditions: list[tuple]
    units: list[dict]


def judge_dictionary(
    samples: Samples,
    learned: Learned,
    halves: tuple[np.ndarray, ...] | None,
    errors: np.ndarray,
    *,
    eps: float,
    rng: np.random.RandomState,
    share: float = 0.5,
) -> Judgement:
    """Check a sparse or non-negative model.

    Parameters
    ----------
    samples : Samples
        Training data.
    learned : Learned
        The dictionary and its encoder.
    halves : pair of ndarrays of shape (n_components, n_features), or None
        Atoms learned independently from two halves of the data.
    errors : ndarray of shape (n_components, n_features)
        Standard errors of the atoms.
    eps : float
        Machine epsilon of the data's dtype.
    rng : RandomState
        Draws samples to look at.
    share : float, default=.5
        Samples of a half, relative to all.
    """
    polished, rule = learned.polished, learned.rule
    D = polished.atoms
    n_components, n_features = D.shape
    rows = np.sort(rng.permutation(len(samples))[:JUDGED_ROWS])
    X = samples.read(rows)
    square = np.einsum("ij,ij->i", X, X)
    pursuit_rule = CodeRule(
        "omp", rule.n_nonzero, 0.0, rule.nonnegative, search_above=rule.search_above
    )
    codes = encode(X, D, pursuit_rule)
    residual = X - codes @ D
    left = np.einsum("ij,ij->i", residual, residual)

    worst = float(np.sqrt(np.max(left / np.where(square > 0, square, 1), initial=0.0)))
    at_rounding = worst <= ROUNDINGS * eps
    probe = residual @ D.T
    following = (probe if rule.nonnegative else np.abs(probe)).max(axis=1)
    quantile = noise_correlation_square(n_components, n_features - rule.n_nonzero)
    resolved = left > (ROUNDINGS * eps) ** 2 * square
    open_rows = unexplained(following, left, square, quantile) & resolved
    freedom = n_features - rule.n_nonzero
    determined = freedom > 0
    p_value = _lack_of_fit(open_rows, left, max(freedom, 1))
    fits = determined and (at_rounding or p_value >= LEVEL)

    usage = polished.usage
    unused = usage < max(2 * (rule.n_nonzero + 1), 10)
    coherence = _coherence(D)
    between, gap = _consistency(X, D, codes, following)
    conditions = [
        (
            "residual",
            worst,
            ROUNDINGS * eps,
            at_rounding,
            "every sample is reproduced to rounding by n_nonzero_coefs_ atoms",
        ),
        (
            "lack of fit",
            p_value,
            LEVEL,
            fits,
            "residuals correlate with no atom, and vary in size, no more than noise (p-value)",
        ),
        (
            "unused atoms",
            int(unused.sum()),
            0,
            not unused.any(),
            "every atom is used by enough samples to be determined",
        ),
        ("coherence", coherence, 0.98, coherence <= 0.98, "no two atoms are (nearly) the same"),
        (
            "crosstalk",
            between[0],
            between[1],
            between[0] < between[1],
            "one threshold on the correlations separates active from inactive atoms (Theorem 3)",
        ),
        (
            "support margin",
            gap,
            1.0,
            gap > 1,
            "the smallest active coefficient exceeds what the next atom could explain",
        ),
    ]
    agree = np.zeros(n_components, dtype=bool)
    closest = np.zeros(n_components)
    distance = np.full(n_components, np.inf)
    if halves is not None:
        signed = not rule.nonnegative
        closest = np.minimum(*(matched_cosines(D, half, signed=signed) for half in halves))
        distance = np.maximum(*(matched_distances(D, half, signed=signed) for half in halves))
        limit = agreement_threshold(n_components, n_features)
        size = np.linalg.norm(errors, axis=1)
        expected = np.maximum(ERROR_BARS * size / np.sqrt(share), SAME)
        agree = (closest >= limit) & (distance <= expected)
        conditions.append(
            (
                "stability",
                float(closest.min()),
                limit,
                bool(np.all(closest >= limit)),
                "atoms learned from either half of the data alone, from other starts, are the same",
            )
        )
        conditions.append(
            (
                "error bars",
                float(np.median(distance / np.maximum(size / np.sqrt(share), SAME))),
                ERROR_BARS,
                bool(np.all(distance <= expected)),
                "atoms from half of the data differ by no more than standard errors allow",
            )
        )
    proven = False
    if at_rounding and determined and not unused.any() and agree.all():
        held = isolation(codes, D, rng)
        exact_halves = bool(np.all(distance <= np.sqrt(eps)))
        proven = held > ISOLATED and exact_halves
        conditions.append(
            (
                "isolation",
                held,
                ISOLATED,
                held > ISOLATED,
                "no nearby dictionary reproduces the samples (smallest eigenvalue, relative)",
            )
        )
    identified = agree & ~unused & fits
    size = np.linalg.norm(errors, axis=1)
    energy = np.diagonal(polished.code_gram) / len(samples)
    units = [
        {
            "atom": j,
            "active": int(usage[j]),
            "energy": float(energy[j]),
            "agreement": float(closest[j]),
            "std": float(size[j]),
            "identified": bool(identified[j]),
        }
        for j in range(n_components)
    ]
    status, reason = _verdict(fits, identified, proven, unused, agree, halves is not None, samples)
    return Judgement(status, reason, "local" if proven else None, conditions, units)


def _lack_of_fit(open_rows: np.ndarray, residual_square: np.ndarray, freedom: int) -> float:
    """P-value of the hypothesis that residuals are white Gaussian noise.

    Atoms that are there correlate with residuals more often than the level allows; atoms that are
    missing leave residuals larger than a chi-squared law allows. The second count is compared with
    twice its level: atoms have errors of their own.
    """
    n = len(open_rows)
    aligned = stats.binom.sf(np.count_nonzero(open_rows) - 1, n, ALPHA)
    limit = np.median(residual_square) * stats.chi2.isf(TAIL, freedom) / stats.chi2.median(freedom)
    large = stats.binom.sf(np.count_nonzero(residual_square > limit) - 1, n, 2 * TAIL)
    return float(min(1.0, 2 * min(aligned, large)))


def _coherence(D: np.ndarray) -> float:
    gram = np.abs(D @ D.T)
    np.fill_diagonal(gram, 0)
    return float(gram.max(initial=0.0))


def _consistency(
    X: np.ndarray, D: np.ndarray, codes: sparse.csr_array, following: np.ndarray
) -> tuple[tuple[float, float], float]:
    """Crosstalk against active correlations, and the margin of the supports, on some samples."""
    few = min(len(X), 1000)
    z = np.abs(X[:few] @ D.T)
    dense = codes[:few].toarray()
    on = dense != 0
    inactive = float(np.quantile(z[~on], 0.999)) if not on.all() else 0.0
    active = float(np.quantile(z[on], 0.001)) if on.any() else 0.0
    magnitude = np.where(on, np.abs(dense), np.inf).min(axis=1)
    occupied = on.any(axis=1)
    floor = np.finfo(np.float64).eps * magnitude[occupied]
    ratio = magnitude[occupied] / np.maximum(following[:few][occupied], floor)
    margin = float(np.quantile(ratio, 0.01)) if occupied.any() else 0.0
    return (inactive, active), margin


def _verdict(
    fits: bool,
    identified: np.ndarray,
    proven: bool,
    unused: np.ndarray,
    agree: np.ndarray,
    compared: bool,
    samples: Samples,
) -> tuple[str, str]:
    n_components = len(identified)
    few = ""
    if len(samples) < n_components:
        few = f" There are fewer samples ({len(samples)}) than atoms ({n_components})."
    if proven:
        return "exact", (
            "Every sample is reproduced to rounding, three independent starts agree and no nearby "
            "dictionary does the same; a distant one is not excluded."
        )
    if not fits:
        return "not_recovered", (
            "Residuals are more than noise: the model does not describe these data; try "
            "more atoms (n_components), more active ones (n_nonzero_coefs) or another model." + few
        )
    if not compared:
        return "not_recovered", (
            "The stability of the atoms was not checked: fit with stability=True on more samples."
            + few
        )
    if identified.all():
        return "approximate", (
            "Residuals look like noise, and two halves of the data give the same atoms from other "
            "starts; components_std_ holds their standard errors."
        )
    if identified.any():
        lost = n_components - int(identified.sum())
        return "partial", (
            f"{lost} of {n_components} atoms are not determined by these data "
            f"({int(unused.sum())} hardly used, {int((~agree).sum())} differ between halves): "
            "take fewer atoms, or more samples." + few
        )
    return "not_recovered", (
        "Two halves of the data give different atoms: there are too few samples, or no such "
        "atoms behind them." + few
    )


def judge_mixture(
    samples: Samples,
    mixture: Mixture,
    halves: tuple[np.ndarray, ...] | None,
    errors: np.ndarray,
    *,
    eps: float,
    rng: np.random.RandomState,
) -> Judgement:
    """Check a mixture of spherical Gaussians; parameters as in :func:`judge_dictionary`."""
    means = mixture.means
    n_components = len(means)
    rows = np.sort(rng.permutation(len(samples))[:JUDGED_ROWS])
    X = samples.read(rows)
    labels, square = nearest_mean(X, means)
    scale = np.maximum(np.einsum("ij,ij->i", X, X), np.finfo(np.float64).tiny)
    worst = float(np.sqrt(np.max(square / scale, initial=0.0)))
    at_rounding = worst <= ROUNDINGS * eps
    counts = np.bincount(labels, minlength=n_components)
    p_value = 1.0 if at_rounding else _sphericity(X, labels, means, mixture.noise_variance, counts)
    fits = at_rounding or p_value >= LEVEL
    separation = np.full(n_components, np.inf)
    if n_components > 1:
        distance = np.linalg.norm(means[:, None] - means[None], axis=2)
        np.fill_diagonal(distance, np.inf)
        separation = distance.min(axis=1)
    noise = float(np.sqrt(mixture.noise_variance))
    overlap = float(separation.min()) / (2 * noise) if noise > 0 else np.inf
    unused = mixture.counts < 3
    agree, distance = np.zeros(n_components, dtype=bool), np.full(n_components, np.inf)
    conditions = [
        ("residual", worst, ROUNDINGS * eps, at_rounding, "every sample is one of the means"),
        (
            "lack of fit",
            p_value,
            LEVEL,
            fits,
            "no cluster is longer in one direction than a sphere allows (p-value)",
        ),
        ("smallest component", float(mixture.counts.min()), 3, not unused.any(), "in samples"),
        (
            "separation",
            min(overlap, 1e300),
            2.0,
            overlap > 2,
            "half the distance of the closest means, in standard deviations of the noise",
        ),
    ]
    if halves is not None:
        distance = np.maximum(*(matched_distances(means, half, signed=False) for half in halves))
        relative = distance / np.clip(separation, np.finfo(np.float64).tiny, 1e300)
        agree = relative <= 0.25
        conditions.append(
            (
                "stability",
                float(np.max(relative)),
                0.25,
                bool(agree.all()),
                "distance of means from two halves of the data, relative to the nearest other mean",
            )
        )
    identified = agree & ~unused & fits
    proven = bool(at_rounding and identified.all() and separation.min() > 0)
    units = [
        {
            "component": j,
            "samples": float(mixture.counts[j]),
            "separation": float(min(separation[j], 1e300)),
            "std": float(np.linalg.norm(errors[j])),
            "identified": bool(identified[j]),
        }
        for j in range(n_components)
    ]
    if proven:
        reason = "The samples are exactly these points."
        return Judgement("exact", reason, "global", conditions, units)
    if not fits:
        status, reason = (
            "not_recovered",
            (
                "Some clusters are not spherical: the model does not describe these data; try more "
                "components."
            ),
        )
    else:
        status, reason = _verdict(
            fits, identified, False, unused, agree, halves is not None, samples
        )
        reason = reason.replace("atoms", "means")
    return Judgement(status, reason, None, conditions, units)


def _sphericity(
    X: np.ndarray, labels: np.ndarray, means: np.ndarray, variance: float, counts: np.ndarray
) -> float:
    """Smallest p-value over clusters (Bonferroni) of the test of the longest direction."""
    smallest = 1.0
    for j in np.flatnonzero(counts >= 4):
        own = X[labels == j] - means[j]
        gram = own.T @ own if len(own) > own.shape[1] else own @ own.T
        largest = np.linalg.eigvalsh(gram)[-1] / max(variance, 1e-300)
        smallest = min(smallest, tracy_widom_tail(float(largest), counts[j] - 1, X.shape[1]))
    return min(1.0, smallest * max(int(np.count_nonzero(counts >= 4)), 1))
