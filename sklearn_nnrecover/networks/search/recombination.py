"""Recombination: the best k hidden units out of all that several starts have found.

Choosing units out of a pool is subset selection in linear regression. Everything is done on the
Gram matrix of the pool's features, from which the constant (or linear) features have been swept:
forward selection and backward elimination, each followed by swaps until no swap lowers the
residual sum of squares, and the better of the two is returned.

References
----------
Miller, "Subset selection in regression", 2nd ed. (2002).
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.networks.search.variable_projection import SeparableLeastSquares

# A pivot below this fraction of its first value marks a unit as a copy of those already chosen.
COPY = 1e-8


class PoolGram:
    """Gram matrix of pool features and outputs, the fixed features swept out.

    Parameters
    ----------
    problem : SeparableLeastSquares
        The problem.
    pool : ndarray of shape (p, q)
        Candidate units.
    """

    def __init__(self, problem: SeparableLeastSquares, pool: np.ndarray) -> None:
        H, E, Y = problem.features(pool), problem.extra, problem.weighted_Yt
        if len(E):
            basis = np.linalg.qr(E.T)[0].T
            H = H - (H @ basis.T) @ basis
            Y = Y - (Y @ basis.T) @ basis
        self.gram = H @ H.T
        self.cross = H @ Y.T
        self.total = float(np.einsum("ij,ij->", Y, Y))
        self.diagonal = np.diagonal(self.gram).copy()

    def swept(self, subset: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Residual Gram and cross matrices after regression on a subset."""
        if not subset:
            return self.gram, self.cross
        inner = self.gram[np.ix_(subset, subset)].copy()
        inner[np.diag_indices_from(inner)] += COPY * self.diagonal[subset] + 1e-300
        projected = np.linalg.solve(inner, np.hstack([self.gram[subset], self.cross[subset]]))
        q = len(self.gram)
        across = self.gram[:, subset]
        return self.gram - across @ projected[:, :q], self.cross - across @ projected[:, q:]

    def falls(self, subset: list[int]) -> np.ndarray:
        """Fall of the loss by adding each unit to a subset, zero for copies."""
        gram, cross = self.swept(subset)
        pivots = np.diagonal(gram)
        usable = pivots > 10 * COPY * self.diagonal
        return np.where(
            usable, np.einsum("ij,ij->i", cross, cross) / np.where(usable, pivots, 1.0), 0.0
        )

    def loss(self, subset: list[int]) -> float:
        """Residual sum of squares of a subset."""
        return float(self.losses(np.array([subset]))[0])

    def losses(self, subsets: np.ndarray) -> np.ndarray:
        """Residual sums of squares of many subsets of equal size, one a row."""
        inner = self.gram[subsets[:, :, None], subsets[:, None, :]]
        own = np.arange(subsets.shape[1])
        inner[:, own, own] += COPY * self.diagonal[subsets] + 1e-300
        cross = self.cross[subsets]
        return self.total - np.einsum("sij,sij->s", cross, np.linalg.solve(inner, cross))

    def increases(self, subset: list[int]) -> np.ndarray:
        """Rise of the loss by removing each unit of a subset."""
        inner = self.gram[np.ix_(subset, subset)].copy()
        inner[np.diag_indices_from(inner)] += COPY * self.diagonal[subset] + 1e-300
        inverse = np.linalg.inv(inner)
        coefficients = inverse @ self.cross[subset]
        return np.einsum("ij,ij->i", coefficients, coefficients) / np.diagonal(inverse)

    def forward(self, n_units: int) -> list[int]:
        """Forward selection."""
        subset: list[int] = []
        for _ in range(n_units):
            falls = self.falls(subset)
            falls[subset] = -1.0
            subset.append(int(np.argmax(falls)))
        return subset

    def backward(self, n_units: int, subset: list[int] | None = None) -> list[int]:
        """Backward elimination from a subset (default: the whole pool)."""
        subset = list(range(len(self.gram))) if subset is None else list(subset)
        while len(subset) > n_units:
            subset.pop(int(np.argmin(self.increases(subset))))
        return subset

    def swap(self, subset: list[int]) -> tuple[float, list[int]]:
        """Exchange units while an exchange lowers the loss."""
        subset, loss = list(subset), self.loss(subset)
        improved = True
        while improved:
            improved = False
            for position in range(len(subset)):
                rest = subset[:position] + subset[position + 1 :]
                falls = self.falls(rest)
                falls[rest] = -1.0
                trial = [*rest, int(np.argmax(falls))]
                trial_loss = self.loss(trial)
                if trial_loss < loss * (1 - 1e-9):
                    subset, loss, improved = trial, trial_loss, True
                    break
        return loss, subset


def select_units(problem: SeparableLeastSquares, pool: np.ndarray, n_hidden: int) -> np.ndarray:
    """Choose the units of a pool that fit best together.

    Parameters
    ----------
    problem : SeparableLeastSquares
        The problem.
    pool : ndarray of shape (p, q)
        Candidate units, q >= n_hidden.
    n_hidden : int
        Number of units to choose.

    Returns
    -------
    ndarray of shape (p, n_hidden)
    """
    gram = PoolGram(problem, pool)
    chosen = min(gram.swap(gram.forward(n_hidden)), gram.swap(gram.backward(n_hidden)))
    return pool[:, chosen[1]]
