"""One level of a butterfly whose rows and columns are permuted: ``A = L (B_1 + ... + B_k)``.

A fast transform splits its columns into classes c and its rows into groups g such that every block
``A[g, c]`` has rank one: ``A[g, c] = u_gc v_gc``. Then row i of the sparse factor L holds the k
numbers ``u_gc[i]`` and B_c, whose rows are the ``v_gc``, is a smaller matrix of the same kind.

With unknown permutations the classes are found from one pair of rows: two rows of one group have
an elementwise ratio that is constant on every class, so it takes k values. Rows of one group are
then those that are proportional on every class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

N_REFERENCES = 2
"""Rows tried as one half of the pair."""

N_PARTNERS = 6
"""Partners tried for each reference, fewest distinct ratios first."""

SKETCH_SIZE = 48
"""Width of the random projection in which rows are compared."""

HEAVY = (0.3, 0.01)
"""Entries above this fraction of the root mean square of the reference row give trusted ratios;
the second value is for rows with a whole class of small entries."""

BISECTING_ANGLE = np.exp(1.2345j)
"""Direction in the plane on which complex ratios are sorted: none that structure prefers."""


class Split(NamedTuple):
    """``A[:, classes[c]] = left[:, c's columns] @ children[c]``.

    Attributes
    ----------
    left : csr_array of shape (n_rows, n_classes * n_groups)
        Columns ordered by class, then group.
    classes : list of ndarray of int
        Columns of A, one array per class.
    children : list of ndarray of shape (n_groups, len(class))
    cost : float
        Non-zeros of ``left`` plus entries of the children, over the entries of A.
    """

    left: sp.csr_array
    classes: list[np.ndarray]
    children: list[np.ndarray]
    cost: float


def _ratio_classes(
    A: np.ndarray, reference: int, fraction: float, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sort the ratios of all rows to the reference and count their distinct values.

    Returns the heavy columns, their order in each row, the boundaries between values
    ``(n_rows, n_heavy - 1)``, and the number of distinct values (all, where they are not sharp).
    """
    magnitude = np.abs(A[reference])
    heavy = np.flatnonzero(magnitude > fraction * np.sqrt(np.mean(magnitude**2)))
    ratio = A[:, heavy] / A[reference, heavy]
    error = noise * (1.0 + np.abs(ratio)) / magnitude[heavy]
    if np.iscomplexobj(ratio):
        ratio = (ratio * BISECTING_ANGLE).real
    order = np.argsort(ratio, axis=1, kind="stable")
    gaps = np.diff(np.take_along_axis(ratio, order, axis=1), axis=1)
    error = np.take_along_axis(error, order, axis=1)
    boundaries = gaps > 3.0 * (error[:, 1:] + error[:, :-1])
    counts = 1 + boundaries.sum(axis=1)
    # Values are sharp: the spread inside the classes is that of the noise, no more.
    spread = np.where(boundaries, 0.0, gaps).sum(axis=1)
    counts[spread > 8.0 * error.max(axis=1) * counts] = len(heavy)
    return heavy, order, boundaries, counts


def _row_groups(
    A: np.ndarray,
    classes: list[np.ndarray],
    noise: float,
    rng: np.random.RandomState,
    *,
    max_groups: float = np.inf,
) -> np.ndarray | None:
    """Label the rows that are proportional on every class; labels run from 0.

    None as soon as more than ``max_groups`` rows are proportional to no other.

    A row that is all noise on a class is proportional there to any other. Rows join the most
    certain row that they match, so that two groups are not merged by such a row between them.
    """
    n_rows = len(A)
    mismatch = np.full((n_rows, n_rows), -np.inf)
    certainty = np.full(n_rows, np.inf)
    filled = np.ones(n_rows, dtype=bool)
    # Large classes tell most rows apart.
    for columns in sorted(classes, key=len, reverse=True):
        part = A[:, columns]
        norm = np.linalg.norm(part, axis=1)
        floor = noise * np.sqrt(len(columns))
        empty = norm <= 3.0 * floor
        np.minimum(certainty, norm, out=certainty)
        # Squared angle that noise alone opens between a row and its clean direction.
        opening = np.where(empty, 0.0, floor / np.where(empty, 1.0, norm)) ** 2
        if len(columns) > SKETCH_SIZE:
            part = part @ rng.normal(size=(len(columns), SKETCH_SIZE))
        part = part / np.where(empty, 1.0, np.linalg.norm(part, axis=1))[:, None]
        sine = 1.0 - np.minimum(np.abs(part @ part.conj().T) ** 2, 1.0)
        sine -= 4.0 * (opening[:, None] + opening)
        sine[empty] = -1.0
        sine[:, empty] = -1.0
        np.maximum(mismatch, sine, out=mismatch)
        filled &= ~empty
        n_alike = np.count_nonzero(mismatch[np.ix_(filled, filled)] <= 1e-12, axis=1)
        if np.count_nonzero(n_alike == 1) > max_groups:
            return None
    order = np.argsort(-np.round(certainty / max(certainty.max(), 1e-300), 9), kind="stable")
    alike = mismatch[:, order] <= 1e-12
    leader = order[np.argmax(alike, axis=1)]
    alike &= (leader == np.arange(n_rows))[order]
    leader = np.where(alike.any(axis=1), order[np.argmax(alike, axis=1)], np.arange(n_rows))
    return np.unique(leader, return_inverse=True)[1]


def _unit_left_vectors(part: np.ndarray, labels: np.ndarray, groups: sp.csr_array) -> np.ndarray:
    """Leading left singular vector of each group's block, by two steps of the power method.

    ``part (n_rows, n_class)``; ``groups (n_groups, n_rows)`` is the indicator of the labels.
    Returns one number per row; the vector of each group has norm one (zero for a zero block).
    """
    norms = np.linalg.norm(part, axis=1)
    order = np.lexsort((-norms, labels))
    pivots = order[np.r_[0, 1 + np.flatnonzero(np.diff(labels[order]))]]
    right = part[pivots]
    for _ in range(3):
        left = np.sum(part * right[labels].conj(), axis=1)
        length = np.sqrt(groups @ np.abs(left) ** 2)
        left = left / np.where(length > 0, length, 1.0)[labels]
        right = groups @ (left.conj()[:, None] * part)
    return left


def _split_by(
    A: np.ndarray,
    heavy: np.ndarray,
    labels_heavy: np.ndarray,
    noise: float,
    rng: np.random.RandomState,
) -> Split | None:
    """Complete a proposal of column classes to a split, or reject it."""
    n_rows, n_columns = A.shape
    n_classes = int(labels_heavy.max()) + 1
    classes = [heavy[labels_heavy == c] for c in range(n_classes)]
    max_groups = min(n_rows - 1.0, (A.size - n_rows * n_classes) / n_columns)
    labels = _row_groups(A, classes, noise, rng, max_groups=max_groups)
    if labels is None:
        return None
    n_groups = int(labels.max()) + 1
    if n_groups > max_groups:
        return None
    entries = n_rows * n_classes + n_groups * n_columns
    rows = np.arange(n_rows)
    groups = sp.csr_array((np.ones(n_rows), (labels, rows)), shape=(n_groups, n_rows))

    light = np.setdiff1d(np.arange(n_columns), heavy)
    if len(light):
        # A column belongs to the class whose left vectors explain most of it.
        explained = []
        for columns in classes:
            left = _unit_left_vectors(A[:, columns], labels, groups)
            inner = groups @ (left.conj()[:, None] * A[:, light])
            explained.append(np.sum(np.abs(inner) ** 2, axis=0))
        belongs = np.argmax(explained, axis=0)
        classes = [np.sort(np.r_[c, light[belongs == k]]) for k, c in enumerate(classes)]

    values, children, lost = [], [], 0.0
    for columns in classes:
        part = A[:, columns]
        left = _unit_left_vectors(part, labels, groups)
        child = groups @ (left.conj()[:, None] * part)
        lost += float(np.sum(np.abs(part - left[:, None] * child[labels]) ** 2))
        values.append(left)
        children.append(child)
    if lost > 4.0 * noise**2 * A.size:
        return None
    left_factor = sp.csr_array(
        (
            np.concatenate(values),
            (
                np.tile(rows, n_classes),
                np.concatenate([labels + c * n_groups for c in range(n_classes)]),
            ),
        ),
        shape=(n_rows, n_classes * n_groups),
    )
    left_factor.eliminate_zeros()
    return Split(left_factor, classes, children, entries / A.size)


def find_split(A: np.ndarray, noise: float, rng: np.random.RandomState) -> Split | None:
    """Find column classes and row groups with rank-one blocks, rows and columns in any order.

    Parameters
    ----------
    A : ndarray of shape (n_rows, n_columns)
        Real or complex, without zero rows.
    noise : float
        Positive standard deviation of the entries of A about a matrix that has a split. The left
        vectors have norm one, so the children's entries are as noisy as A's.
    rng : RandomState

    Returns
    -------
    Split or None
        The split with the fewest classes that has no more entries than A.
    """
    if min(A.shape) < 3:
        return None
    size = np.abs(A) / np.sqrt(np.mean(np.abs(A) ** 2, axis=1))[:, None]
    tried: tuple[int, int] | None = None
    for fraction in HEAVY:
        n_heavy = np.sum(size > fraction, axis=1)
        for reference in np.argsort(-n_heavy, kind="stable")[:N_REFERENCES]:
            if tried == (reference, n_heavy[reference]):
                continue
            tried = (int(reference), int(n_heavy[reference]))
            split = _split_with_reference(A, int(reference), fraction, noise, rng)
            if split is not None:
                return split
    return None


def _split_with_reference(
    A: np.ndarray, reference: int, fraction: float, noise: float, rng: np.random.RandomState
) -> Split | None:
    """Try the partners of one reference row, fewest distinct ratios first."""
    heavy, order, boundaries, counts = _ratio_classes(A, reference, fraction, noise)
    partners = np.flatnonzero((counts > 1) & (2 * counts <= len(heavy) + 1))
    if not len(partners):
        return None
    # Equal sizes first: the boundary of two classes sits in the middle, and so on.
    position = np.arange(1, boundaries.shape[1] + 1)
    middle = np.abs((boundaries[partners] @ position) / (counts[partners] - 1) - len(heavy) / 2)
    for partner in partners[np.lexsort((middle, counts[partners]))][:N_PARTNERS]:
        labels = np.empty(len(heavy), dtype=int)
        labels[order[partner]] = np.r_[0, np.cumsum(boundaries[partner])]
        split = _split_by(A, heavy, labels, noise, rng)
        if split is not None:
            return split
    return None
