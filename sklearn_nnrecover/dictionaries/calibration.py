"""The constants of an encoder, chosen from the residuals that its atoms leave.

How many atoms a sample needs, from which correlation on an atom counts, and the variance of the
noise: what the user left open is decided here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_nnrecover.dictionaries.encoders import (
    THRESHOLDING,
    CodeRule,
    balanced_threshold,
    encode,
)
from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    correlations,
    orthogonal_matching_pursuit,
)
from sklearn_nnrecover.dictionaries.polishing import doubtful_residual
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.support_growth import ALPHA, noise_correlation

CALIBRATION_ROWS = 4000
ROUNDINGS = 100.0  # in units of machine epsilon times the sample: below, nothing counts


class LearningOptions(NamedTuple):
    """What the user decided; the meaning is that of :class:`TiedAutoencoder`'s parameters."""

    n_components: int
    rule: CodeRule
    grow: bool
    given_threshold: bool
    update: str = "preconditioned"
    learning_rate: float = 0.5
    max_coherence: float | None = None
    n_init: int = 4
    max_iter: int = 60
    tol: float = 1e-14


def calibrate(
    samples: Samples,
    D: np.ndarray,
    rule: CodeRule,
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    negligible: float = 0.01,
    stop: float = 0.0,
) -> tuple[CodeRule, float]:
    """Set the constants of an encoder from the residuals that its atoms leave.

    Parameters
    ----------
    samples : Samples
        The data.
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms.
    rule : CodeRule
        Its ``n_nonzero`` is kept, unless supports were free to grow and more than 10 % of the
        samples need more.
    options : LearningOptions
        Which constants the user fixed.
    rng : RandomState
        Draws the samples to look at.
    negligible : float, default=.01
        Correlations below this share of the mean coefficient ask for no further atom.
    stop : float, default=0.0
        Correlation that is certainly no more than noise, where samples have different numbers of
        active atoms: without it, samples of few atoms take up noise by others.

    Returns
    -------
    rule : CodeRule
        With threshold and ``search_above`` set.
    noise_variance : float
        Variance of one entry of the residuals' noise.
    """
    n_components, n_features = D.shape
    rows = np.sort(rng.permutation(len(samples))[:CALIBRATION_ROWS])
    X = samples.read(rows)
    width = rule.n_nonzero
    limit = min(2 * width, options.rule.n_nonzero) if options.grow else width
    gram = D @ D.T
    sample_norm = float(np.sqrt(np.median(np.einsum("ij,ij->i", X, X))))
    rounding = ROUNDINGS * np.finfo(np.float64).eps * sample_norm
    greedy = CodeRule("omp", width, stop, rule.nonnegative, rule.search_above)
    pursuit_square = _residual_square(X, D, encode(X, D, greedy, gram=gram))
    doubtful = doubtful_residual(pursuit_square, greedy, samples) + rounding**2 + stop**2
    codes = encode(X, D, replace(greedy, search_above=doubtful), gram=gram)
    residual = X - codes @ D
    square = np.einsum("ij,ij->i", residual, residual)
    used = np.diff(codes.indptr) if stop else width
    noise_variance = float(np.median(square / np.maximum(n_features - used, 1)))
    spare = n_features - width
    stop = max(noise_correlation(noise_variance, n_components, spare), rounding)
    sizable = max(stop, negligible * float(np.abs(codes.data).mean()) if codes.nnz else 0.0)
    following = correlations(residual, D, rule.nonnegative).max(axis=1)
    if limit > width and np.mean(following > sizable) > 2 * ALPHA:
        longer = orthogonal_matching_pursuit(
            X, D, limit, gram=gram, min_correlation=sizable, nonnegative=rule.nonnegative
        )
        sizes = np.count_nonzero(longer.values, axis=1)
        width = max(width, int(np.quantile(sizes, 1 - 2 * ALPHA, method="inverted_cdf")))
    rule = replace(rule, n_nonzero=width)
    if rule.encoder == "omp":
        doubtful = doubtful_residual(square, rule, samples) + rounding**2
        free = options.grow and not options.given_threshold
        if free:
            # Samples with fewer atoms fit some noise by the others: estimate it without those.
            for _ in range(2):
                stopped = encode(X, D, replace(greedy, threshold=stop), gram=gram)
                left = np.maximum(n_features - np.diff(stopped.indptr), 1)
                noise_variance = float(np.median(_residual_square(X, D, stopped) / left))
                stop = max(noise_correlation(noise_variance, n_components, spare), rounding)
        return (
            # Coefficients below the stop stay in the residuals of right supports, too.
            replace(
                rule,
                threshold=stop if free else rule.threshold,
                search_above=doubtful + (stop**2 if free else 0.0),
            ),
            noise_variance,
        )
    if rule.encoder in THRESHOLDING and not options.given_threshold:
        usage: float | np.ndarray = width / n_components
        if rule.encoder == "jumprelu":
            codes = encode(X, D, replace(rule, encoder="omp", threshold=0.0))
            usage = np.bincount(codes.indices, minlength=n_components) / len(X)
        rule = replace(rule, threshold=balanced_threshold(X, D, usage, rule.nonnegative))
    return rule, noise_variance


def _residual_square(X: np.ndarray, D: np.ndarray, codes: sparse.csr_array) -> np.ndarray:
    residual = X - codes @ D
    return np.einsum("ij,ij->i", residual, residual)
