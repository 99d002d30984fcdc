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
from sklearn_nnrecover.dictionaries.support_growth import ALPHA, description_length
from sklearn_nnrecover.linalg.steps import Steps

EXPLORED_ROWS = 4000  # at least, and
EXPLORED_PER_ATOM = 16
EXPLORED_PER_FEATURE = 8
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
    stop : float
        Correlation at which its pursuits stopped, where samples have different numbers of atoms;
        else 0.
    """

    atoms: np.ndarray | None = None
    n_nonzero: int | None = None
    noise_variance: float = 0.0
    stop: float = 0.0


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
        Nats per sample, for comparing starts. Where samples have different numbers of atoms, of
        nearly all samples: long codes of the others tell of atoms that are missing.
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


def draw_rows(samples: Samples, n_components: int, rng: np.random.RandomState) -> np.ndarray:
    """Sorted indices of as many samples as exploring takes, at random."""
    n_rows = explored_rows(len(samples), n_components, samples.shape[1])
    return np.sort(rng.permutation(len(samples))[:n_rows])


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
    energy = float(np.trace(polished.code_gram))
    left = float(polished.residual_square.sum())
    if polished.stop:
        typical = len(samples) * float(np.quantile(polished.residual_square, 1 - 2 * ALPHA))
        left = max(typical, SINGLE_ROUNDING * energy)
    length = description_length(
        left,
        energy,
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
            X = samples.read(draw_rows(samples, len(D), rng))
            tangled = bool(len(untangle_pairs(D, encode(X, D, rule))))
        if rule.n_nonzero == width and not tangled:
            break
    if found.varied:
        rule = replace(rule, n_nonzero=max(polished.longest, 1))
        polished = polished._replace(stop=float(np.max(rule.threshold)))
    return polished, rule, noise_variance


def _still_explains(
    samples: Samples, options: LearningOptions, rng: np.random.RandomState, start: Start
) -> Found | None:
    """View fitted atoms as found if they leave no more in these samples than in their own."""
    if start.atoms is None or start.n_nonzero is None:
        return None
    X = samples.explored(draw_rows(samples, len(start.atoms), rng))
    rule = replace(options.rule, n_nonzero=start.n_nonzero, threshold=start.stop)
    found, left = assess_atoms(X, start.atoms.astype(X.dtype), rule)
    # Half of the samples of different sizes have far fewer than the longest.
    freedom = max(X.shape[1] - (0 if start.stop else start.n_nonzero), 1)
    rounding = SINGLE_ROUNDING * float(np.median(np.einsum("ij,ij->i", X, X)))
    explained = left <= MORE_NOISE * freedom * start.noise_variance + rounding
    return found if explained and not found.n_stuck else None


def _from_spans(
    samples: Samples, options: LearningOptions, rng: np.random.RandomState
) -> Found | None:
    """Atoms of a small noiseless problem."""
    n_components, k = options.n_components, options.rule.n_nonzero
    X = samples.read(draw_rows(samples, n_components, rng))
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
        if best.varied and found.varied:
            # Each start misses other atoms.
            seen = replace(rule, n_nonzero=best.n_nonzero, threshold=best.threshold)
            merged = pooled_atoms(X, best.atoms, found.atoms, seen)
            if merged is not best.atoms:
                again = yield from explore(X, merged, first_nonzero=best.n_nonzero)
                found = min(found, again, key=lambda each: each.code_length)
        if found.code_length < best.code_length:
            best = found
        # Two atoms a sample also explain data of one atom each, worse: compare. So do three what
        # has two, and the iteration finds no rest.
        unsettled = not found.settled and found.n_nonzero > 2 and not found.varied
        undecided = options.grow and ((attempt == 0 and found.n_nonzero == 2) or unsettled)
        narrower = replace(options.rule, n_nonzero=found.n_nonzero - 1)
        rule = narrower if undecided else options.rule
        first_nonzero = min(2, rule.n_nonzero)
        # Exploring is cheap beside polishing wrong atoms: where samples differ, compare two starts.
        alone = attempt == 0 and found.varied
        if not undecided and not alone and best.open_share <= 2 * ALPHA and not best.n_stuck:
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
