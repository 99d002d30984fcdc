"""Atoms of small noiseless problems: spans that several samples share, and the lines they meet in.

Where supports are few, alternating minimisation is poor (in few dimensions every dictionary is
coherent) but samples repeat supports: k of them, and any further one, that lie in one k-dimensional
span use the same atoms. Such spans are found as follows: project k - 1 samples out of all others;
those that then have the same direction share a span with them. Two spans with one atom in
common meet in its line; a line that three of them contain is an atom, for dimension count alone
makes no three of them meet (k <= (n + 1) / 2, see :mod:`uniqueness`).

References
----------
M. Aharon, M. Elad, A. M. Bruckstein, "On the uniqueness of overcomplete dictionaries, and a
practical way to retrieve them", Linear Algebra and its Applications 416, 2006.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.wider_search import MAX_SUPPORTS

MAX_DRAWS = 100  # expected, until k - 1 samples share a span
EXPLAINED = 0.9  # share of the samples that the atoms must reproduce
SAME = 1e-9  # distance of unit vectors that are one; noiseless ones differ by their rounding
SMALL = 1e-3  # length below which what is left of a unit vector has no sure direction
MEETS = 1e-13  # of one minus the cosine of an angle that is zero
PARALLEL = 1e-6  # of one minus the cosine of an angle that is not
BATCH = 32  # draws at once
BATCHES = 48
PATIENCE = 8  # times the draws after which one more span is expected that are made in vain
SAMPLES = 600
MAX_SPANS = 128
MIN_SPANS = 3  # that contain an atom


def explaining_atoms(
    X: np.ndarray,
    n_components: int,
    widths: Iterable[int],
    nonnegative: bool,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, int, float] | None:
    """Atoms from spans that reproduce nearly all samples, with as few at a time as possible.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples, float64.
    n_components : int
        Largest number of atoms.
    widths : iterable of int
        Numbers of active atoms a sample to try, in order.
    nonnegative : bool
        Whether codes must not be negative.
    rng : RandomState
        Draws samples.

    Returns
    -------
    (atoms, n_nonzero, open_share) or None
        Unit-norm atoms, at most ``n_components``, and the share of samples that they leave.
    """
    norms = np.linalg.norm(X, axis=1)
    for k in widths:
        n_supports = math.comb(n_components, k)
        if 2 * k > X.shape[1] + 1 or n_supports > MAX_SUPPORTS or n_supports ** (k - 2) > MAX_DRAWS:
            break
        D = atoms_from_spans(X, n_components, k, rng)
        if len(D) < k:
            continue
        if nonnegative:
            positive = encode(X, D, CodeRule("omp", k, search_above=0.0)).sum(axis=0) >= 0
            D = np.where(positive[:, None], D, -D)
        codes = encode(X, D, CodeRule("omp", k, nonnegative=nonnegative, search_above=0.0))
        left = np.linalg.norm(X - codes @ D, axis=1) > SAME * norms
        if np.mean(left) <= 1 - EXPLAINED:
            return D, k, float(np.mean(left))
    return None


def atoms_from_spans(
    X: np.ndarray, n_components: int, n_nonzero: int, rng: np.random.RandomState
) -> np.ndarray:
    """Lines that several spans of ``n_nonzero`` atoms share, by decreasing number of spans.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Noiseless samples, float64.
    n_components : int
        Largest number of atoms.
    n_nonzero : int
        k; 1 asks for directions that several samples share.
    rng : RandomState
        Draws samples.

    Returns
    -------
    ndarray of shape (n_atoms, n_features)
        Unit-norm, none where no spans are shared.
    """
    norms = np.linalg.norm(X, axis=1)
    usable = rng.permutation(np.flatnonzero(norms > 0))[:SAMPLES]
    directions, count = _distinct_lines(X[usable] / norms[usable, None], rng)
    alone = directions[count > 1]
    order = np.argsort(-count[count > 1], kind="stable")
    if n_nonzero == 1 or len(directions) <= n_nonzero:
        return alone[order][:n_components]
    n_supports = math.comb(n_components, n_nonzero)
    spans = shared_spans(directions, n_nonzero, n_supports, rng)
    lines = np.vstack([alone, _meeting_lines(spans)])
    if not len(lines):
        return lines
    lines, _ = _distinct_lines(lines, rng)
    contained = np.sum(_distances(lines, spans) < SAME, axis=1)
    often = np.flatnonzero(contained >= MIN_SPANS)
    return lines[often[np.argsort(-contained[often], kind="stable")][:n_components]]


def shared_spans(
    directions: np.ndarray, n_nonzero: int, n_supports: int, rng: np.random.RandomState
) -> np.ndarray:
    """Orthonormal bases of spans that more than ``n_nonzero`` directions share.

    Parameters
    ----------
    directions : ndarray of shape (n_directions, n_features)
        Unit vectors, no two on one line.
    n_nonzero : int
        Dimension k of the spans, at least 2.
    n_supports : int
        Spans that there may be; k - 1 samples share one by chance once in n_supports^(k - 2) draws.
    rng : RandomState
        Draws k - 1 directions at a time.

    Returns
    -------
    ndarray of shape (n_spans, n_features, n_nonzero)
    """
    n, n_features = directions.shape
    found = np.empty((0, n_features, n_nonzero))
    members, kept = np.empty((0, n), dtype=bool), np.empty(0, dtype=int)
    patience = max(2, math.ceil(PATIENCE * n_supports ** (n_nonzero - 2) / BATCH))
    in_vain = 0
    for _ in range(BATCHES):
        drawn = directions[rng.randint(n, size=(BATCH, n_nonzero - 1))]
        base = np.linalg.qr(drawn.transpose(0, 2, 1))[0]
        rest = directions - np.matmul(directions @ base, base.transpose(0, 2, 1))
        size = np.linalg.norm(rest, axis=2)
        rest /= np.maximum(size, SMALL)[:, :, None]
        key = np.abs(rest @ rng.standard_normal(n_features))
        key = np.where(size > SMALL, key, -1.0 - np.arange(n))  # nothing left, no match
        order = np.argsort(key, axis=1)
        near = np.diff(np.take_along_axis(key, order, axis=1), axis=1) < n_features * SAME
        draw, rank = np.nonzero(near)
        first, second = rest[draw, order[draw, rank]], rest[draw, order[draw, rank + 1]]
        same = _line_distance(first, second) < SAME
        # Of samples that follow one another in one span the first pair is enough.
        follows = (draw[1:] == draw[:-1]) & (rank[1:] == rank[:-1] + 1) & same[1:] & same[:-1]
        same[1:] &= ~follows
        spans = np.concatenate([base[draw[same]], first[same][:, :, None]], axis=2)
        inside = _distances(directions, spans).T < SAME
        enough = inside.sum(axis=1) > n_nonzero
        members = np.vstack([members, inside[enough]])
        found = np.concatenate([found, spans[enough]])
        before = len(kept)
        members, kept = np.unique(members, axis=0, return_index=True)
        found = found[kept]
        in_vain = in_vain + 1 if len(found) == before else 0
        if in_vain >= patience or len(found) >= MAX_SPANS:
            break
    return found[:MAX_SPANS]


def _distances(vectors: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Distance of every unit vector to every span, from differences."""
    if not len(spans):
        return np.empty((len(vectors), 0))
    inside = np.matmul(vectors @ spans, spans.transpose(0, 2, 1))
    return np.linalg.norm(vectors - inside, axis=2).T


def _meeting_lines(spans: np.ndarray) -> np.ndarray:
    """The lines in which two spans meet, where they meet in a line."""
    first, second = np.triu_indices(len(spans), 1)
    if not len(first):
        return np.empty((0, spans.shape[1]))
    turn, cosine, _ = np.linalg.svd(np.matmul(spans[first].transpose(0, 2, 1), spans[second]))
    line = (1 - cosine[:, 0] < MEETS) & (1 - cosine[:, 1] > PARALLEL)
    return np.matmul(spans[first[line]], turn[line, :, :1])[:, :, 0]


def _distinct_lines(
    vectors: np.ndarray, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """One unit vector of each line, and how many there were."""
    key = np.abs(vectors @ rng.standard_normal(vectors.shape[1]))
    order = np.argsort(key, kind="stable")
    ordered = vectors[order]
    new = np.ones(len(vectors), dtype=bool)
    new[1:] = _line_distance(ordered[1:], ordered[:-1]) >= SAME
    group = np.cumsum(new) - 1
    return ordered[new], np.bincount(group)


def _line_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    difference = np.linalg.norm(first - second, axis=1)
    return np.minimum(difference, np.linalg.norm(first + second, axis=1))
