"""From samples to a calibrated dictionary: explore from several starts, polish, set the constants.

This composes the steps of the wing and decides what the user left open: how many atoms a sample
has, and from which correlation on an atom counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_nnrecover.dictionaries.alternating_minimization import (
    Found,
    find_atoms,
    starting_atoms,
)
from sklearn_nnrecover.dictionaries.encoders import (
    THRESHOLDING,
    CodeRule,
    balanced_threshold,
    correlations,
    encode,
)
from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    orthogonal_matching_pursuit,
)
from sklearn_nnrecover.dictionaries.polishing import Polished, doubtful_residual, polish
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.stability import agreement_threshold, matched_cosines
from sklearn_nnrecover.dictionaries.support_growth import (
    ALPHA,
    description_length,
    noise_correlation_square,
)
from sklearn_nnrecover.linalg.steps import Steps

EXPLORED_ROWS = 4000  # at least, and
EXPLORED_PER_ATOM = 16
EXPLORED_PER_FEATURE = 8
CALIBRATION_ROWS = 4000
MAX_WIDTHS = 4  # times that the number of active atoms is corrected after polishing
ROUNDINGS = 100.0  # in units of machine epsilon times the sample: below, nothing counts


class Learned(NamedTuple):
    """A dictionary and what is needed to use and to judge it.

    Attributes
    ----------
    polished : Polished
        Atoms and sums over all samples.
    rule : CodeRule
        The encoder with the constants chosen from the data.
    noise_variance : float
        Of one entry of X: median squared residual over its degrees of freedom.
    open_share : float
        Share of samples whose residual is more than noise, when exploring ended.
    description_length : float
        Nats per sample, for comparing starts.
    """

    polished: Polished
    rule: CodeRule
    noise_variance: float
    open_share: float = 1.0
    description_length: float = np.inf


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


def explored_rows(n_samples: int, n_components: int, n_features: int) -> int:
    """Samples that exploring needs: enough users for every atom, bounded by what is there."""
    wanted = max(EXPLORED_ROWS, EXPLORED_PER_ATOM * n_components, EXPLORED_PER_FEATURE * n_features)
    return min(n_samples, wanted)


def learn_dictionary(
    samples: Samples,
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    start: np.ndarray | None = None,
    max_passes: int = 10,
) -> Steps[Learned]:
    """Explore from up to ``n_init`` starts, polish the best, calibrate its encoder.

    Parameters
    ----------
    samples : Samples
        The data.
    options : LearningOptions
        What the user decided.
    rng : RandomState
        Draws starts and the samples to explore on.
    start : ndarray of shape (n_components, n_features) or None
        Unit-norm atoms of the first start.
    max_passes : int, default=10
        Budget of :func:`polish`.

    Yields
    ------
    Step
        Objective: mean squared residual; gap as in the current stage.

    Returns
    -------
    Learned
    """
    found = yield from _explore(samples, options, rng, start)
    rule = options.rule
    if options.grow:
        rule = replace(rule, n_nonzero=found.n_nonzero)
    D = found.atoms.astype(np.float64)
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    # A threshold that was given is for the codes; atoms are polished with one that fits them.
    fixed, options = options, options._replace(given_threshold=False)
    rule = replace(rule, threshold=0.0)
    if rule.encoder in THRESHOLDING:
        rule, _ = calibrate(samples, D, rule, options, rng)
    narrowing = options.grow
    for _ in range(MAX_WIDTHS):
        polished = yield from polish(samples, D, rule, tol=options.tol, max_passes=max_passes)
        D, width = polished.atoms, rule.n_nonzero
        calibrated, noise_variance = calibrate(samples, D, rule, options, rng)
        narrower = replace(rule, n_nonzero=max(width - 1, 1))
        narrowing &= calibrated.n_nonzero == width > 1
        if narrowing:
            tried, variance = calibrate(samples, D, narrower, options, rng, negligible=0.1)
            if tried.n_nonzero < width:
                calibrated, noise_variance = tried, variance
        rule = calibrated
        if rule.n_nonzero == width:
            break
    if fixed.given_threshold:
        # Samples that stop early on purpose must not be searched again.
        rule = replace(rule, threshold=fixed.rule.threshold, search_above=np.inf)
    length = description_length(
        float(polished.residual_square.sum()),
        float(np.trace(polished.code_gram)),
        int(polished.usage.sum()),
        len(samples),
        samples.shape[1],
        options.n_components,
    )
    return Learned(polished, rule, noise_variance, found.open_share, length)


def learn_with_halves(
    samples: Samples,
    halves: list[Samples],
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    start: np.ndarray | None = None,
) -> Steps[list[Learned]]:
    """Learn from all samples and, independently, from each half.

    Where data are explained but the three disagree in some atoms (not in most: then the data are to
    blame), a start may have failed: each of them then gets another start, up to ``n_init`` in all,
    and keeps what explains its samples with fewer active atoms or a shorter description.

    Returns
    -------
    list of Learned
        From all samples, then from each half.
    """
    sources = [samples, *halves]
    best = []
    for source in sources:
        first = start if source is samples else None
        best.append((yield from learn_dictionary(source, options, rng, start=first)))
    for attempt in range(options.n_init - 1 if halves else 0):
        agreement = _agreement(best)
        if best[0].open_share > 2 * ALPHA or agreement == 1 or agreement < 0.5:
            break
        width = min(each.rule.n_nonzero for each in best)
        if options.grow and attempt % 2 == 0 and width > 1:
            width -= 1
        rule = replace(options.rule, n_nonzero=width) if options.grow else options.rule
        for i, source in enumerate(sources):
            other = options._replace(n_init=1, rule=rule)
            again = yield from learn_dictionary(source, other, rng)
            best[i] = min(best[i], again, key=_preference)
    return best


def _preference(learned: Learned) -> tuple[bool, int, float]:
    """Explained before not explained, then fewer active atoms, then the shorter description.

    Noiseless samples of two atoms each can be explained by other atoms, three at a time, with
    smaller residuals than the few wrong supports of the true ones leave.
    """
    explained = learned.open_share <= 2 * ALPHA
    return (
        not explained,
        learned.rule.n_nonzero if explained else 0,
        learned.description_length,
    )


def _agreement(learned: list[Learned]) -> float:
    """Share of the first one's atoms that all others have too."""
    D, *others = (each.polished.atoms for each in learned)
    limit = agreement_threshold(*D.shape)
    signed = not learned[0].rule.nonnegative
    matched = [matched_cosines(D, other, signed=signed) >= limit for other in others]
    return float(np.mean(np.all(matched, axis=0)))


def _explore(
    samples: Samples,
    options: LearningOptions,
    rng: np.random.RandomState,
    start: np.ndarray | None,
) -> Steps[Found]:
    """Best of several starts by description length; stops when one leaves nothing to explain."""
    n_rows = explored_rows(len(samples), options.n_components, samples.shape[1])
    best = Found(np.empty((0, 0)), 0, np.inf, 1.0, 0)
    rule, first_nonzero = options.rule, min(2, options.rule.n_nonzero)
    for attempt in range(options.n_init):
        rows = rng.permutation(len(samples))[: n_rows << attempt]
        X = samples.read(np.sort(rows), np.float32)
        first = start if attempt == 0 else None
        found = yield from find_atoms(
            X,
            starting_atoms(X, options.n_components, rng) if first is None else first,
            rule,
            grow=options.grow,
            first_nonzero=first_nonzero,
            update=options.update,
            learning_rate=options.learning_rate,
            max_coherence=options.max_coherence,
            max_iter=options.max_iter,
        )
        if found.description_length < best.description_length:
            best = found
        # Two atoms a sample also explain data of one atom each, worse: compare.
        undecided = options.grow and attempt == 0 and found.n_nonzero == 2
        rule = replace(options.rule, n_nonzero=1) if undecided else options.rule
        first_nonzero = min(2, rule.n_nonzero)
        if not undecided and best.open_share <= 2 * ALPHA and not best.n_stuck:
            break
    return best


def calibrate(
    samples: Samples,
    D: np.ndarray,
    rule: CodeRule,
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    negligible: float = 0.01,
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
    freedom = max(n_features - width, 1)
    greedy = CodeRule("omp", width, 0.0, rule.nonnegative)
    pursuit_square = _residual_square(X, D, encode(X, D, greedy, gram=gram))
    doubtful = doubtful_residual(pursuit_square, greedy, samples) + rounding**2
    codes = encode(X, D, replace(greedy, search_above=doubtful), gram=gram)
    residual = X - codes @ D
    square = np.einsum("ij,ij->i", residual, residual)
    noise_variance = float(np.median(square)) / freedom
    quantile = noise_correlation_square(n_components, n_features - width)
    stop = max(float(np.sqrt(quantile * freedom * noise_variance)), rounding)
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
                spare = np.maximum(n_features - np.diff(stopped.indptr), 1)
                noise_variance = float(np.median(_residual_square(X, D, stopped) / spare))
                stop = max(float(np.sqrt(quantile * freedom * noise_variance)), rounding)
        return (
            replace(rule, threshold=stop if free else rule.threshold, search_above=doubtful),
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


def in_gauge(learned: Learned) -> Learned:
    """Order atoms by decreasing code energy; give signed ones a positive largest entry."""
    polished, rule = learned.polished, learned.rule
    order = np.argsort(-np.diagonal(polished.code_gram), kind="stable")
    D = polished.atoms[order]
    sign = np.ones(len(D))
    if not rule.nonnegative:
        largest = np.take_along_axis(D, np.abs(D).argmax(axis=1)[:, None], axis=1)[:, 0]
        sign = np.where(largest < 0, -1.0, 1.0)
    code_gram = polished.code_gram[np.ix_(order, order)] * sign[:, None] * sign
    if np.ndim(rule.threshold):
        rule = replace(rule, threshold=np.asarray(rule.threshold)[order])
    polished = polished._replace(
        atoms=D * sign[:, None], code_gram=code_gram, usage=polished.usage[order]
    )
    return learned._replace(polished=polished, rule=rule)
