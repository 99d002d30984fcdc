"""Sets of units that may all be mirrored, since their linear functions sum to nearly zero.

With f the ReLU or a leaky ReLU of slope a, f(t) = f(-t) + (1 + a) t. Mirroring a set J of units of
a network therefore adds the linear function (1 + a) sum over j in J of v_j A_j', (p, m). Where it
is zero there are two networks of equal outputs: f(t) - f(t - 1), a hard sigmoid, is also
1 - f(1 - t) + f(-t).
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

# Sets of one size that are looked at: all sets of 16 units, triples of 49, pairs of 200.
MOST_SETS = 20_000


def linear_functions(V: np.ndarray, A: np.ndarray) -> np.ndarray:
    """Row j: the linear function v_j A_j' by which unit j differs from its mirror image.

    Parameters
    ----------
    V : ndarray of shape (p, k)
        Hidden units; without their constants where those are free.
    A : ndarray of shape (k, m)
        Output weights.

    Returns
    -------
    ndarray of shape (k, p m)
        Matrices (p, m), row by row.
    """
    k, m = A.shape
    return (V.T[:, :, None] * A[:, None, :]).reshape(k, len(V) * m)


def balanced_sets(functions: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Find sets of rows whose sum is short.

    Parameters
    ----------
    functions : ndarray of shape (k, q)
        Linear functions v_j A_j' of the units, one a row.
    tolerance : float
        Largest length of a sum, relative to the longest row in it.

    Returns
    -------
    list of ndarray of int
        Sets of two rows or more, the relatively shortest sum first. Where the sets of a size are
        more than ``MOST_SETS``, neither they nor larger ones are looked at.
    """
    lengths = np.linalg.norm(functions, axis=1)
    gram = functions @ functions.T
    found: list[tuple[float, np.ndarray]] = []
    for size in range(2, len(functions) + 1):
        if comb(len(functions), size) > MOST_SETS:
            break
        members = np.array(list(combinations(range(len(functions)), size)))
        squares = gram[members[:, :, None], members[:, None, :]].sum(axis=(1, 2))
        longest = lengths[members].max(axis=1)
        # Squared lengths lose half the digits: they only tell which sums are worth forming.
        short = squares <= max(1e-10, tolerance**2) * longest**2
        for rows, scale in zip(members[short], longest[short], strict=True):
            length = float(np.linalg.norm(functions[rows].sum(axis=0)))
            if length <= tolerance * scale:
                found.append((length / scale if scale > 0 else 0.0, rows))
    return [rows for _, rows in sorted(found, key=lambda one: one[0])]
