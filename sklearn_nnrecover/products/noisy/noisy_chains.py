"""Chains of sparse real factors behind noise: ``X = F[0] @ F[1] @ ... @ F[L-1] + noise``.

Two factors ``X = C @ D + noise`` are found first. Where the data come from a longer chain, the
shortest two of them may merge layers: some atoms are rows of the last factor, others rows of the
last two together. Atoms that combine lighter ones are therefore dissolved into them
(`lighter_atoms`), as in the exact search. What C then holds is a product of sparse factors itself,
known up to noise through the piece

    X D' (D D')^-1 = C + noise,    covariance of a row: noise^2 (D D')^-1,

whose columns are brought to one level of noise and searched again, and so on while the description
becomes shorter. Then every factor is tested entry by entry between its neighbours
(`factor_refinement`): two factors saw each entry through one link only.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.noisy.dense_codes import codes_within_noise
from sklearn_nnrecover.products.noisy.factor_refinement import refined_chain
from sklearn_nnrecover.products.noisy.lighter_atoms import lighter_atoms
from sklearn_nnrecover.products.noisy.noisy_agreement import SIGNIFICANT
from sklearn_nnrecover.products.noisy.noisy_two_factors import (
    NoisyFactors,
    Problem,
    noisy_two_factors,
)
from sklearn_nnrecover.products.peeling import MAX_FACTORS
from sklearn_nnrecover.products.two_factors.description_length import LEAST_SAVING


def noisy_chains(
    X: np.ndarray,
    noise: float,
    *,
    rng: np.random.RandomState,
    max_sweeps: int = 40,
    n_factors: int | None = None,
) -> Steps[list[list[sp.csr_array]]]:
    """Find sparse factors behind Gaussian noise, the last one first.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    noise : float
        Standard deviation of the noise, positive.
    rng : RandomState
    max_sweeps : int
        Budget: most sweeps of each stage of each search.
    n_factors : int or None
        Stop at this number of factors; None goes on while the description becomes shorter.

    Yields
    ------
    Step
        Of the searches, one after another.

    Returns
    -------
    list of lists of csr_array
        Two factors, then three and so on, each list of a shorter description than the one before;
        empty when nothing shortens that of the data.
    """
    whole = Problem.of(X, noise)
    model = yield from noisy_two_factors(X, noise, rng=rng, max_sweeps=max_sweeps)
    if not model.D.shape[0]:
        return []
    chains = [[model.C, model.D]]
    while len(chains[-1]) < (MAX_FACTORS if n_factors is None else n_factors):
        longer = yield from _split(whole, chains[-1], rng, max_sweeps)
        if longer is None or whole.cost(longer) >= whole.cost(chains[-1]):
            break
        chains.append(longer)
    return chains


def _split(
    whole: Problem, chain: list[sp.csr_array], rng: np.random.RandomState, max_sweeps: int
) -> Steps[list[sp.csr_array] | None]:
    """Split the first factor in two, None if it is no product."""
    piece = codes_within_noise(whole, chain[2:])
    if piece is None:
        return None
    layer = sp.csr_array(chain[1] @ sp.diags_array(1 / piece.std))
    lighter = yield from lighter_atoms(piece.Y, 1.0, NoisyFactors(chain[0], layer), max_sweeps)
    tail = [sp.csr_array(lighter.D @ sp.diags_array(piece.std)), *chain[2:]]
    piece = codes_within_noise(whole, tail)
    if piece is None:
        return None
    inner = yield from noisy_two_factors(piece.Y, 1.0, rng=rng, max_sweeps=max_sweeps)
    left = np.count_nonzero(np.abs(Problem.of(piece.Y, 1.0).residual(inner)) > SIGNIFICANT)
    shorter = inner.C.nnz + inner.D.nnz + left < (1 - LEAST_SAVING) * lighter.C.nnz
    if not inner.D.shape[0] or not shorter:
        return None
    layer = sp.csr_array(inner.D @ sp.diags_array(piece.std))
    return refined_chain(whole, [inner.C, layer, *tail], whole.cost(chain))
