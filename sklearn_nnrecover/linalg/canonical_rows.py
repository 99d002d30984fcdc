"""Weighted rows in an order that depends neither on their input order nor on repetition."""

from __future__ import annotations

import numpy as np


def canonical_rows(
    X: np.ndarray, Y: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop rows of weight zero, sort the others and merge identical (x, y) rows.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Inputs.
    Y : ndarray of shape (n, m)
        Outputs.
    weight : ndarray of shape (n,)
        Non-negative frequencies.

    Returns
    -------
    X, Y, weight : ndarrays
        Distinct rows in lexicographic order of (x, y), and the sum of their frequencies.
    """
    kept = weight > 0
    rows = np.hstack([X[kept], Y[kept]]) + 0.0  # + 0.0 turns -0.0 into 0.0
    weight = weight[kept]
    order = np.argsort(rows[:, 0], kind="stable")
    # Sorting by one column suffices where it has no ties, as continuous data have none.
    if np.any(np.diff(rows[order, 0]) == 0):
        order = np.lexsort(rows.T[::-1])
    rows, weight = rows[order], weight[order]
    first = np.concatenate([[True], np.any(rows[1:] != rows[:-1], axis=1)])
    weight = np.add.reduceat(weight, np.flatnonzero(first))
    rows = rows[first]
    return (
        np.ascontiguousarray(rows[:, : X.shape[1]]),
        np.ascontiguousarray(rows[:, X.shape[1] :]),
        weight,
    )


def row_positions(rows: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    """Position of each row among distinct rows, -1 where it is none of them.

    Parameters
    ----------
    rows : ndarray of shape (n, q)
        Rows.
    distinct : ndarray of shape (r, q)
        Rows without repetition.

    Returns
    -------
    ndarray of int, shape (n,)
    """
    _, group = np.unique(np.vstack([distinct, rows]) + 0.0, axis=0, return_inverse=True)
    position = np.full(group.max() + 1, -1)
    position[group[: len(distinct)]] = np.arange(len(distinct))
    return position[group[len(distinct) :]]
