"""Learning a dictionary from a stream, with accumulators that forget early batches.

Before a batch is added the sums C'C and C'X are decayed by (1 - s)^p, s its share of the samples so
far. With p = 2, as long as the dictionary improves quickly, codes of early dictionaries fade
quadratically; but p = 2 for ever would use only 5/9 of the samples, so p falls inversely to them
after the first ones and in the limit every later batch counts alike, as in a fit on all of them.

Accumulators make up for small batches in the update, but not where atoms are replaced by residuals,
and least of all at the start: batches must hold a number of samples for each atom.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sklearn_nnrecover.dictionaries.alternating_minimization import find_atoms, starting_atoms
from sklearn_nnrecover.dictionaries.calibration import LearningOptions, calibrate
from sklearn_nnrecover.dictionaries.dictionary_learning import Learned, explored_rows
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    orthogonal_matching_pursuit,
)
from sklearn_nnrecover.dictionaries.polishing import Polished
from sklearn_nnrecover.dictionaries.replacement import (
    MIN_USERS,
    chance_coherence,
    replace_idle_atoms,
    split_overloaded_atoms,
)
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.support_growth import noise_correlation_square, unexplained
from sklearn_nnrecover.dictionaries.updates import code_moments, preconditioned_update
from sklearn_nnrecover.linalg.steps import run_to_end

RIDGE = 1e-9
EARLY_PER_ATOM = 64  # samples whose codes are those of an early dictionary
FIRST_PER_ATOM = (
    16  # samples that a learner must begin with: fewer leave atoms that are never found
)
LATER_PER_ATOM = 8
N_LEARNERS = 3
PROBE_ROWS = 500
FIRST_ITERATIONS = 30  # of exploring on the first batch


@dataclass
class Stream:
    """State of one learner.

    Attributes
    ----------
    atoms : ndarray of shape (n_components, n_features)
        Unit-norm atoms.
    width : int
        Atoms a sample so far.
    code_gram, cross, usage : ndarrays
        Decayed sums C'C, C'X and the samples that use each atom.
    n_batches, n_samples : int
        What was seen.
    since_change : ndarray of shape (n_components,)
        Batches since an atom was replaced: it is left in peace for a while.
    """

    atoms: np.ndarray
    width: int
    code_gram: np.ndarray
    cross: np.ndarray
    usage: np.ndarray
    n_batches: int = 0
    n_samples: int = 0
    since_change: np.ndarray = field(default_factory=lambda: np.empty(0))


def samples_wanted(streams: list[Stream], n_components: int) -> int:
    """Samples that the next batch should hold."""
    return n_components * (FIRST_PER_ATOM if len(streams) < N_LEARNERS else LATER_PER_ATOM)


def verdict_is_due(streams: list[Stream]) -> bool:
    """Whether the first learner has seen more samples than a fit would explore."""
    if not streams:
        return False
    seen = streams[0].n_samples
    return explored_rows(seen, *streams[0].atoms.shape) < seen


def learn_batch(
    streams: list[Stream],
    samples: Samples,
    options: LearningOptions,
    rng: np.random.RandomState,
    start: np.ndarray | None = None,
) -> float:
    """Give a batch to those of three learners that it concerns, in place.

    The first learner sees every batch, the two others every second one each: their agreement takes
    the place of that of two halves of the data. Learners begin at their first batch.

    Parameters
    ----------
    streams : list of Stream
        At most three; those that are missing are appended when their turn comes.
    samples : Samples
        The batch; see :func:`samples_wanted`.
    options : LearningOptions
        What the user decided.
    rng : RandomState
        Draws starts.
    start : ndarray of shape (n_components, n_features) or None
        Unit-norm atoms at which the first learner begins.

    Returns
    -------
    float
        Mean squared residual of the first learner before it saw the batch.
    """
    X, rule = samples.read(slice(0, len(samples))), options.rule
    batch = streams[0].n_batches if streams else 0
    if batch == 0:
        streams.append(begin_stream(X, options, rng, start))
    if len(streams) < N_LEARNERS:
        streams.append(begin_stream(X, options, rng))
    loss = continue_stream(streams[0], X, rule, grow=options.grow)
    continue_stream(streams[1 + batch % 2], X, rule, grow=options.grow)
    return loss


def begin_stream(
    X: np.ndarray,
    options: LearningOptions,
    rng: np.random.RandomState,
    start: np.ndarray | None = None,
) -> Stream:
    """Explore on the first batch."""
    n_components = options.n_components
    start = starting_atoms(X, n_components, rng) if start is None else start
    found = run_to_end(
        find_atoms(X, start, options.rule, grow=options.grow, max_iter=FIRST_ITERATIONS)
    )
    shape = found.atoms.shape
    return Stream(
        found.atoms.astype(np.float64),
        found.n_nonzero,
        np.zeros((n_components, n_components)),
        np.zeros(shape),
        np.zeros(n_components),
        since_change=np.full(n_components, np.inf),
    )


def continue_stream(stream: Stream, X: np.ndarray, rule: CodeRule, *, grow: bool) -> float:
    """Learn from one more batch, in place; return its mean squared residual."""
    n_components, n_features = stream.atoms.shape
    stream.n_batches += 1
    stream.n_samples += len(X)
    current = replace(rule, n_nonzero=stream.width, encoder="omp", threshold=0.0)
    codes = encode(X, stream.atoms, current)
    residual = X - codes @ stream.atoms
    loss = float(np.einsum("ij,ij->", residual, residual)) / len(X)

    early = min(1.0, EARLY_PER_ATOM * n_components / stream.n_samples)
    decay = (1 - len(X) / stream.n_samples) ** (2 * early)
    code_gram, cross = code_moments(codes, X)
    stream.code_gram = decay * stream.code_gram + code_gram
    stream.cross = decay * stream.cross + cross
    stream.usage = decay * stream.usage + np.bincount(codes.indices, minlength=n_components)
    stream.atoms = preconditioned_update(stream.code_gram, stream.cross, stream.atoms, RIDGE)
    stream.since_change += 1

    if stream.n_batches % 2 == 0 and np.median(stream.usage) >= MIN_USERS:
        limit = max(0.95, chance_coherence(n_components, n_features))
        young = stream.since_change < 6
        usage = np.where(young, np.maximum(stream.usage, np.median(stream.usage)), stream.usage)
        changed = replace_idle_atoms(stream.atoms, usage, residual, max_coherence=limit)
        if len(X) * stream.width >= 2 * MIN_USERS * n_components and not young.any():
            energy = np.diagonal(stream.code_gram)
            split = split_overloaded_atoms(stream.atoms, codes, residual, energy=energy)
            changed = np.concatenate([changed, split])
        changed = np.unique(changed).astype(np.intp)
        stream.code_gram[changed] = 0
        stream.code_gram[:, changed] = 0
        stream.cross[changed] = 0
        stream.usage[changed] = 0
        stream.since_change[changed] = 0
    if grow and stream.width < rule.n_nonzero and stream.n_batches % 2:
        probe = X[:PROBE_ROWS]
        pursuit = orthogonal_matching_pursuit(
            probe, stream.atoms, stream.width, nonnegative=rule.nonnegative
        )
        quantile = noise_correlation_square(n_components, n_features - stream.width)
        open_share = unexplained(
            pursuit.next_correlation,
            pursuit.residual_square,
            np.einsum("ij,ij->i", probe, probe),
            quantile,
        ).mean()
        sizable = np.median(pursuit.next_correlation) > 0.1 * np.abs(pursuit.values).mean()
        stream.width += int(open_share > 0.5 and sizable)
    return loss


def streams_as_learned(
    streams: list[Stream], samples: Samples, options: LearningOptions, rng: np.random.RandomState
) -> tuple[Learned, tuple[np.ndarray, ...] | None]:
    """View the first learner as a learned dictionary, its encoder calibrated on the latest batch.

    Returns
    -------
    learned : Learned
    halves : pair of ndarrays of shape (n_components, n_features), or None
        Atoms of the other two learners, once there are two.
    """
    first, *others = streams
    rule = replace(options.rule, n_nonzero=first.width)
    rule, noise_variance = calibrate(samples, first.atoms, rule, options._replace(rule=rule), rng)
    polished = Polished(first.atoms, first.code_gram, first.usage, np.empty(0), 0, 0.0)
    halves = tuple(stream.atoms for stream in others)
    return Learned(polished, rule, noise_variance), halves if len(halves) == 2 else None
