"""From samples to a calibrated dictionary: explore from several starts, polish, set the constants.

This composes the steps of the wing and decides what the user left open: how many atoms a sample
has, and from which correlation on an atom counts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.dictionaries.alternating_minimization import (
    Found,
    assess_atoms,
    find_atoms,
    starting_atoms,
)
from sklearn_nnrecover.dictionaries.calibration import LearningOptions, calibrate
from sklearn_nnrecover.dictionaries.encoders import THRESHOLDING, CodeRule, encode
from sklearn_nnrecover.dictionaries.polishing import Polished, polish
from sklearn_nnrecover.dictionaries.replacement import pooled_atoms, untangle_pairs
from sklearn_nnrecover.dictionaries.sample_spans import explaining_atoms
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.stability import agreement_threshold, matched_cosines
from sklearn_nnrecover.dictionaries.support_growth import (
    ALPHA,
    description_length,
)
from sklearn_nnrecover.linalg.steps import Steps

EXPLORED_ROWS = 4000  # at least, and
EXPLORED_PER_ATOM = 16
EXPLORED_PER_FEATURE = 8
HALF_EXPLORATIONS = 4  # a half of the data is at most this many explorations large
MORE_NOISE = 1.5  # residuals of new samples, in units of those of the fit that atoms come from
SINGLE_ROUNDING = 1e-10  # squared residuals in single precision, relative to the sample's square
IMPRECISE = 0.08  # standard error of explored atoms at which supports are too often wrong
MAX_SPAN_WIDTH = 3  # active atoms a sample that are looked for by spans, however few the features
LONGEST = 3  # active atoms of the longest code, in units of those of nearly all
MAX_WIDTHS = 4  # times that the number of active atoms is corrected after polishing


class Start(NamedTuple):
    """Where the first start begins.

    Attributes
    ----------
    atoms : ndarray of shape (n_components, n_features) or None
        Unit-norm atoms, or means; None takes samples.
    n_nonzero : int or None
        Active atoms a sample of the fit that these atoms come from, if they do.
    noise_variance : float
        Of that fit. Atoms that leave no more than this in new samples, too, are not explored again.
    """

    atoms: np.ndarray | None = None
    n_nonzero: int | None = None
    noise_variance: float = 0.0


FROM_SAMPLES = Start()


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
    stop : float
        Correlation at which pursuits met the noise, where samples have different numbers of active
        atoms; else 0.
    """

    polished: Polished
    rule: CodeRule
    noise_variance: float
    open_share: float = 1.0
    description_length: float = np.inf
    stop: float = 0.0


def explored_rows(n_samples: int, n_components: int, n_features: int) -> int:
    """Samples that exploring needs: enough users for every atom, bounded by what is there."""
    wanted = max(EXPLORED_ROWS, EXPLORED_PER_ATOM * n_components, EXPLORED_PER_FEATURE * n_features)
    return min(n_samples, wanted)


def independent_halves(
    samples: Samples, n_components: int, rng: np.random.RandomState
) -> list[Samples]:
    """Two disjoint random sets of samples, as large as needed; none if there are too few."""
    if len(samples) < 4:
        return []
    most = HALF_EXPLORATIONS * explored_rows(len(samples), n_components, samples.shape[1])
    size = min(len(samples) // 2, most)
    rows = rng.permutation(len(samples))
    return [samples.subset(np.sort(rows[i * size : (i + 1) * size])) for i in range(2)]


def learn_dictionary(
    samples: Samples,
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    start: Start = FROM_SAMPLES,
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
    start : Start
        Atoms of the first start. Where they explain these data, nothing is explored.
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
    found = _still_explains(samples, options, rng, start)
    if found is None and start.atoms is None:
        found = _from_spans(samples, options, rng)
    if found is None:
        found = yield from _explore(samples, options, rng, start.atoms)
    # A threshold that was given is for the codes; atoms are refined with one that fits them.
    fixed, options = options, options._replace(given_threshold=False)
    polished, rule, noise_variance = yield from _refine(samples, found, options, rng, max_passes)
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
    return Learned(polished, rule, noise_variance, found.open_share, length, polished.stop)


def _refine(
    samples: Samples,
    found: Found,
    options: LearningOptions,
    rng: np.random.RandomState,
    max_passes: int,
) -> Steps[tuple[Polished, CodeRule, float]]:
    """Polish atoms and calibrate their encoder in turn, until supports are as long as they must be.

    Returns
    -------
    polished : Polished
    rule : CodeRule
    noise_variance : float
        As :func:`calibrate` has it.
    """
    # Where samples are exact, each of them that greedy picks do not reproduce is searched again.
    rule = replace(options.rule, threshold=0.0, search_above=np.inf if found.error else 0.0)
    if options.grow:
        rule = replace(rule, n_nonzero=found.n_nonzero)
    D = found.atoms.astype(np.float64)
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    if rule.encoder in THRESHOLDING:
        rule, _ = calibrate(samples, D, rule, options, rng)
    elif found.varied:
        width = min(LONGEST * rule.n_nonzero, options.rule.n_nonzero)
        rule = replace(rule, n_nonzero=width, threshold=found.threshold)
    # Fewer atoms a sample were tried where samples are exact.
    narrowing = options.grow and found.error > 0 and not found.varied
    for _ in range(MAX_WIDTHS):
        polished = yield from polish(
            samples, D, rule, tol=options.tol, max_passes=max_passes, follow_noise=found.varied
        )
        D, width = polished.atoms, rule.n_nonzero
        calibrated, noise_variance = calibrate(samples, D, rule, options, rng, stop=polished.stop)
        narrowing &= calibrated.n_nonzero == width > 1
        if narrowing:
            narrower = replace(rule, n_nonzero=width - 1)
            tried, variance = calibrate(samples, D, narrower, options, rng, negligible=0.1)
            if tried.n_nonzero < width:
                calibrated, noise_variance = tried, variance
        rule, tangled = calibrated, False
        if found.varied:
            D = D.copy()
            tangled = bool(len(untangle_pairs(D, encode(_explored(samples, D, rng), D, rule))))
        if rule.n_nonzero == width and not tangled:
            break
    if found.varied:
        rule = replace(rule, n_nonzero=max(polished.longest, 1))
        polished = polished._replace(stop=float(np.max(rule.threshold)))
    return polished, rule, noise_variance


def _explored(samples: Samples, D: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """As many samples as exploring takes, at random."""
    n_rows = explored_rows(len(samples), *D.shape)
    return samples.read(np.sort(rng.permutation(len(samples))[:n_rows]))


def learn_with_halves(
    samples: Samples,
    halves: list[Samples],
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    start: Start = FROM_SAMPLES,
) -> Steps[list[Learned]]:
    """Learn from all samples and, independently, from each half.

    Where data are explained but the three disagree in some atoms, or in how many a sample has, a
    start may have failed (where they disagree in most, the data are to blame). Each of them then
    gets another start, up to ``n_init`` in all, pools its atoms with the best so far, and keeps
    what explains its samples with fewer active atoms or a shorter description. Halves never begin
    at ``start``: they must be independent of it.

    Returns
    -------
    list of Learned
        From all samples, then from each half.
    """
    sources = [samples, *halves]
    best = []
    for source in sources:
        first = start if source is samples else FROM_SAMPLES
        best.append((yield from learn_dictionary(source, options, rng, start=first)))
    for attempt in range(options.n_init - 1 if halves else 0):
        agreement = _agreement(best)
        widths = {each.rule.n_nonzero for each in best}
        bounded = len(widths) == 1 or all(each.stop for each in best)
        agreed = agreement == 1 and bounded
        if best[0].open_share > 2 * ALPHA or agreed or agreement < 0.5:
            break
        width = min(widths)
        if options.grow and attempt % 2 == 0 and width > 1 and len(widths) == 1:
            width -= 1
        rule = replace(options.rule, n_nonzero=width) if options.grow else options.rule
        for i, source in enumerate(sources):
            other = options._replace(n_init=1, rule=rule)
            again = yield from learn_dictionary(source, other, rng)
            pooled = yield from _pool(source, best[i], again, options, rng)
            best[i] = min(best[i], again, pooled, key=_preference)
    return best


def _pool(
    samples: Samples,
    first: Learned,
    second: Learned,
    options: LearningOptions,
    rng: np.random.RandomState,
) -> Steps[Learned]:
    """Polish the first with the atoms that only the second one found."""
    D = first.polished.atoms
    n_rows = explored_rows(len(samples), *D.shape)
    X = samples.explored(rng.permutation(len(samples))[:n_rows])
    atoms = pooled_atoms(X, D, second.polished.atoms, first.rule)
    if atoms is D:
        return first
    start = Start(atoms, first.rule.n_nonzero, np.inf)
    return (yield from learn_dictionary(samples, options, rng, start=start))


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


def _still_explains(
    samples: Samples, options: LearningOptions, rng: np.random.RandomState, start: Start
) -> Found | None:
    """View fitted atoms as found if they leave no more in these samples than in their own."""
    if start.atoms is None or start.n_nonzero is None:
        return None
    n_rows = explored_rows(len(samples), *start.atoms.shape)
    X = samples.explored(rng.permutation(len(samples))[:n_rows])
    rule = replace(options.rule, n_nonzero=start.n_nonzero)
    found, left = assess_atoms(X, start.atoms.astype(X.dtype), rule)
    freedom = max(X.shape[1] - start.n_nonzero, 1)
    rounding = SINGLE_ROUNDING * float(np.median(np.einsum("ij,ij->i", X, X)))
    explained = left <= MORE_NOISE * freedom * start.noise_variance + rounding
    return found if explained and not found.n_stuck else None


def _from_spans(
    samples: Samples, options: LearningOptions, rng: np.random.RandomState
) -> Found | None:
    """Atoms of a small noiseless problem."""
    n_components, n_features = options.n_components, samples.shape[1]
    n_rows = explored_rows(len(samples), n_components, n_features)
    X = samples.read(np.sort(rng.permutation(len(samples))[:n_rows]))
    k = options.rule.n_nonzero
    widths = range(1, max(k, MAX_SPAN_WIDTH) + 1) if options.grow else (k,)
    explained = explaining_atoms(X, n_components, widths, options.rule.nonnegative, rng)
    if explained is None:
        return None
    atoms, n_nonzero, open_share = explained
    filled = np.vstack([atoms, starting_atoms(X, n_components - len(atoms), rng)])
    return Found(filled, n_nonzero, 0.0, open_share, 0)


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
        X = samples.explored(rows)
        first = start if attempt == 0 else None
        explore = partial(
            find_atoms,
            rule=rule,
            grow=options.grow,
            update=options.update,
            learning_rate=options.learning_rate,
            max_coherence=options.max_coherence,
            max_iter=options.max_iter,
        )
        if first is None:
            first = starting_atoms(X, options.n_components, rng)
        found = yield from explore(X, first, first_nonzero=first_nonzero)
        if found.error > IMPRECISE:
            # Wrong supports hide duplicates and split atoms: look again, at more samples if any.
            X = samples.explored(rng.permutation(len(samples))[: 2 * len(X)])
            found = yield from explore(X, found.atoms, first_nonzero=found.n_nonzero)
        if found.description_length < best.description_length:
            best = found
        # Two atoms a sample also explain data of one atom each, worse: compare. So do three what
        # has two, and the iteration finds no rest.
        undecided = options.grow and (
            (attempt == 0 and found.n_nonzero == 2) or (not found.settled and found.n_nonzero > 2)
        )
        narrower = replace(options.rule, n_nonzero=found.n_nonzero - 1)
        rule = narrower if undecided else options.rule
        first_nonzero = min(2, rule.n_nonzero)
        if not undecided and best.open_share <= 2 * ALPHA and not best.n_stuck:
            break
    return best


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
