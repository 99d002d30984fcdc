"""Starts with units to spare: more hidden units than asked for, the least useful ones eliminated.

A descent with surplus units seldom gets stuck: where one unit sits between two true ones another is
left to take the second. About 1.5 k units are fitted from a greedy start; then the unit whose
removal costs least is dropped and the others are refitted for some steps, until k are left.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.networks.search.descent import Descent
from sklearn_nnrecover.networks.search.greedy_starts import greedy_start
from sklearn_nnrecover.networks.search.unit_surgery import unit_usefulness


def surplus_start(
    descent: Descent, n_hidden: int, rng: np.random.RandomState, *, excess: float = 1.5
) -> np.ndarray:
    """Fit units in excess and eliminate the least useful ones.

    Parameters
    ----------
    descent : Descent
        Problem and budget.
    n_hidden : int
        Number of units k.
    rng : RandomState
        Source of randomness.
    excess : float, default=1.5
        Units fitted at first, as a multiple of k.

    Returns
    -------
    ndarray of shape (p, n_hidden)
        Hidden units at a local optimum.
    """
    at = descent.run(greedy_start(descent, int(np.ceil(excess * n_hidden)), rng))
    while at.V.shape[1] > n_hidden:
        V = np.delete(at.V, np.argmin(unit_usefulness(at)), axis=1)
        at = descent.run(V, max_iter=10 if V.shape[1] > n_hidden else 60)
    return at.V
