"""Starts in which the signs of the hidden units do not matter yet.

Since relu(t) = t + relu(-t), beside a free linear part Z B a unit is known only up to its sign,
and so is a leaky one: half of the wrong turns of a descent disappear. About 1.5 k units and Z B
are fitted, the least useful units are eliminated one after another, and at last B is dropped and
the signs that fit best without it are chosen on the Gram matrix of the units and their mirror
images.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.networks.search.descent import Descent
from sklearn_nnrecover.networks.search.recombination import PoolGram
from sklearn_nnrecover.networks.search.surplus_starts import surplus_start
from sklearn_nnrecover.networks.search.variable_projection import SeparableLeastSquares

# Up to this many units all sign patterns are tried.
ENUMERATED = 10


def sign_free_start(
    descent: Descent, n_hidden: int, rng: np.random.RandomState, *, excess: float = 1.5
) -> np.ndarray:
    """Find units beside a free linear part, then their signs without it.

    Parameters
    ----------
    descent : Descent
        Problem (ReLU or leaky ReLU) and budget.
    n_hidden : int
        Number of units k.
    rng : RandomState
        Source of randomness.
    excess : float, default=1.5
        Units fitted at first, as a multiple of k.

    Returns
    -------
    ndarray of shape (p, n_hidden)
    """
    plain = descent.problem
    relaxed = Descent(
        SeparableLeastSquares(plain.samples, plain.activation, linear_part=True),
        descent.budget - descent.work,
    )
    V = surplus_start(relaxed, n_hidden, rng, excess=excess)
    descent.work += relaxed.work
    return V * best_signs(plain, V, rng)


def best_signs(
    problem: SeparableLeastSquares, V: np.ndarray, rng: np.random.RandomState
) -> np.ndarray:
    """Signs of the units that fit best without a linear part, +1 or -1, shape (k,)."""
    k = V.shape[1]
    gram = PoolGram(problem, np.hstack([V, -V]))
    if k <= ENUMERATED:
        patterns = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    else:
        patterns = rng.randint(2, size=(64, k))
    losses = gram.losses(patterns * k + np.arange(k))
    if k > ENUMERATED:
        for row in np.argsort(losses)[:8]:
            patterns[row], losses[row] = _flip_signs(gram, patterns[row], losses[row])
    return 1 - 2 * patterns[np.argmin(losses)]


def _flip_signs(gram: PoolGram, pattern: np.ndarray, loss: float) -> tuple[np.ndarray, float]:
    """Flip single signs while that lowers the loss."""
    k = len(pattern)
    while True:
        flipped = pattern ^ np.eye(k, dtype=int)
        losses = gram.losses(flipped * k + np.arange(k))
        best = np.argmin(losses)
        if losses[best] >= loss:
            return pattern, loss
        pattern, loss = flipped[best], losses[best]
