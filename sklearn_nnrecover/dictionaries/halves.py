"""Learning from all samples and, independently, from two halves of them, until the three agree.

Atoms that come out of other samples from another start are there; atoms that do not are the sign of
a start that failed, or of data that do not determine them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.dictionary_learning import (
    FROM_SAMPLES,
    Learned,
    Start,
    draw_rows,
    explored_rows,
    learn_dictionary,
)
from sklearn_nnrecover.dictionaries.replacement import pooled_atoms
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.stability import agreement_threshold, matched_cosines
from sklearn_nnrecover.dictionaries.support_growth import ALPHA
from sklearn_nnrecover.linalg.steps import Steps

HALF_EXPLORATIONS = 4  # a half of the data is at most this many explorations large
TO_BLAME = 0.5  # share of atoms that agree, below which the data are to blame and not a start


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


def learn_with_halves(
    samples: Samples,
    halves: list[Samples],
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    start: Start = FROM_SAMPLES,
) -> Steps[list[Learned]]:
    """Learn from all samples and, independently, from each half.

    Where data are explained but one of the three agrees with no other in all atoms and in how many
    a sample has, its start may have failed. It then gets another one, up to ``n_init`` in all,
    pools its atoms with the best so far, and keeps what describes its samples in fewest nats.
    Halves never begin at ``start``: they must be independent of it.

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
        shares = _agreement(best)
        if best[0].open_share > 2 * ALPHA or shares[0].min() < TO_BLAME:
            break
        widths = [each.rule.n_nonzero for each in best]
        varied = all(each.stop for each in best)
        alike = (shares == 1) & (varied | np.equal.outer(widths, widths))
        np.fill_diagonal(alike, False)
        alone = np.flatnonzero(~alike.any(axis=1))
        if not len(alone):
            break
        rule = options.rule
        if options.grow and not varied:
            width = min(widths)
            narrower = attempt % 2 == 0 and width > 1 and len(set(widths)) == 1
            rule = replace(rule, n_nonzero=width - narrower)
        for i in alone:
            other = options._replace(n_init=1, rule=rule)
            again = yield from learn_dictionary(sources[i], other, rng)
            pooled = yield from _pool(sources[i], best[i], again, options, rng)
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
    X = samples.explored(draw_rows(samples, len(D), rng))
    atoms = pooled_atoms(X, D, second.polished.atoms, first.rule)
    if atoms is D:
        return first
    start = Start(atoms, first.rule.n_nonzero, np.inf, first.stop)
    return (yield from learn_dictionary(samples, options, rng, start=start))


def _preference(learned: Learned) -> tuple[bool, int, float]:
    """Explained before not explained, then fewer active atoms, then the shorter description.

    Noiseless samples of two atoms each can be explained by other atoms, three at a time, with
    smaller residuals than the few wrong supports of the true ones leave. Where samples differ, the
    longest code says nothing.
    """
    explained = learned.open_share <= 2 * ALPHA
    fewest = learned.rule.n_nonzero if explained and not learned.stop else 0
    return not explained, fewest, learned.description_length


def _agreement(learned: list[Learned]) -> np.ndarray:
    """Share of the atoms of each learner (row) that each other one has, too."""
    limit = agreement_threshold(*learned[0].polished.atoms.shape)
    signed = not learned[0].rule.nonnegative
    shares = np.ones((len(learned), len(learned)))
    for i, j in zip(*np.triu_indices(len(learned), 1), strict=True):
        cosine = matched_cosines(
            learned[i].polished.atoms, learned[j].polished.atoms, signed=signed
        )
        shares[i, j] = shares[j, i] = np.mean(cosine >= limit)
    return shares
