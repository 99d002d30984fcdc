"""The sparse factor next to the samples, by independent component analysis and exact supports.

Model, in the orientation of a peel: ``Y (n_rows, n_columns) = Z @ F`` with F ``(rank, n_columns)``
sparse and many more columns than rank; the rows of F are nearly independent, strongly
non-Gaussian signals and Z mixes them. Symmetric FastICA with the tanh contrast separates them up
to an error of order ``1 / sqrt(n_columns)``, which is enough to read off most supports.

The support then gives the row exactly, integer or not. With U an orthonormal basis of the row
space, a vector of the row space that vanishes off a support T is ``u @ U`` where the restriction
``U[:, T]`` keeps the norm of u: T carries such a vector when the largest singular value of
``U[:, T]`` is one, and exactly one such vector when the second is below one.

Rows that were missed (two components that converged to mixtures) are found in what is left: the
row space modulo the rows in hand has few dimensions, where many single starts climb on their own.

References
----------
A. Hyvärinen, *Fast and robust fixed-point algorithms for independent component analysis*, IEEE
Trans. Neural Networks 10 (1999).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.peeling import SPARSE, Evidence, Peel
from sklearn_nnrecover.products.row_spaces.extended_row_space import extended_row_space, lies_in
from sklearn_nnrecover.products.row_spaces.lightest_bases import (
    distinct_vectors,
    lightest_independent,
)
from sklearn_nnrecover.products.row_spaces.remainders import (
    dense_rows,
    seen_repeatedly,
    solve_remainder,
)
from sklearn_nnrecover.products.row_spaces.systematic_bases import RowSpace, row_space

DEFAULT_BUDGET = 600
"""Sweeps of FastICA at most, all rounds together."""

SWEEPS_PER_ROUND = 150

CONVERGED = 1e-6

NOISE_MULTIPLE = 6.0
"""Entries above this multiple of the noise belong to the support."""

MAX_REFINEMENTS = 8
"""Estimates of one row: the separation's, then the projections on the supports so far."""

PATIENCE = 3
"""Rounds without a new row after which the search for missed rows ends."""

N_CONFIRMATIONS = 2
"""Further separations from other starts; with the first, three have to agree."""

MEMBERSHIP_TOL = 1e-7
"""A support carries a vector when the part of its norm outside the support is below this."""

ISOLATION_GAP = 1e-4
"""... and only one when the next squared singular value is further than this from one."""


class SparseSources(NamedTuple):
    """Sparse vectors of a row space, each the only one on its support.

    Attributes
    ----------
    vectors : csr_array of shape (n_found, n_columns)
        In the row gauge, lightest first, independent.
    n_rounds : int
        Separations that were run: the first over the whole row space, the others over what was
        still missing.
    agreeing : ndarray of int, shape (n_found,)
        How many further separations of the whole row space, from other starts, found each vector.
    estimates : ndarray of shape (rank, n_columns)
        What the first separation made of the whole row space.
    """

    vectors: sp.csr_array
    n_rounds: int
    agreeing: np.ndarray
    estimates: np.ndarray


def tanh_separation(
    signals: np.ndarray,
    rotation: np.ndarray,
    *,
    max_sweeps: int,
    tol: float = CONVERGED,
    symmetric: bool = True,
) -> Steps[np.ndarray]:
    """FastICA with the tanh contrast on white signals, without centring.

    Parameters
    ----------
    signals : ndarray of shape (n_signals, n_columns)
        Rows orthogonal, of mean square one.
    rotation : ndarray of shape (n_directions, n_signals)
        Start; orthogonal if ``symmetric``, else rows of norm one.
    max_sweeps : int
    tol : float
        A sweep that turns every direction by less than ``1 - cos(angle) = tol`` ends it.
    symmetric : bool, default=True
        Keep the directions orthogonal. Without it each climbs on its own: several may end at the
        same source, and sources that are not orthogonal are found too.

    Yields
    ------
    Step
        objective and gap: largest ``1 - |cos(angle)|`` of a direction in the sweep.

    Returns
    -------
    ndarray of shape (n_directions, n_signals)
        ``rotation @ signals`` are the sources up to order, sign and scale.
    """
    n_columns = signals.shape[1]
    for _ in range(max_sweeps):
        contrast = np.tanh(rotation @ signals)
        slope = 1.0 - np.mean(contrast**2, axis=1)
        update = contrast @ signals.T / n_columns - slope[:, None] * rotation
        if symmetric:
            left, _, right = np.linalg.svd(update, full_matrices=False)
            update = left @ right
        else:
            update /= np.linalg.norm(update, axis=1, keepdims=True)
        turn = float(np.max(1.0 - np.abs(np.sum(update * rotation, axis=1))))
        rotation = update
        yield Step(turn, turn)
        if turn < tol:
            break
    return rotation


def vectors_on_supports(
    estimates: np.ndarray, basis: np.ndarray, *, max_weight: int
) -> sp.csr_array:
    """Exact vectors of the row space on the supports that noisy estimates show.

    Parameters
    ----------
    estimates : ndarray of shape (n_estimates, n_columns)
        Sparse vectors plus noise.
    basis : ndarray of shape (rank, n_columns)
        Orthonormal basis of the row space.
    max_weight : int
        Heaviest vector accepted.

    Returns
    -------
    csr_array of shape (n_found, n_columns)
        Row gauge; estimates whose support carries no vector, or more than one, are left out.
    """
    rank, n_columns = basis.shape
    found = []
    for estimate in estimates:
        vector = estimate
        for _ in range(MAX_REFINEMENTS):
            magnitude = np.abs(vector)
            # Most entries of a sparse source are zero, so the median magnitude measures the noise.
            noise = max(np.median(magnitude) / 0.6745, 1e-9 * magnitude.max())
            support = np.flatnonzero(magnitude > NOISE_MULTIPLE * noise)
            if not 0 < len(support) <= max_weight:
                break
            part = basis[:, support]
            small = part if len(support) > rank else part.T
            values, vectors = np.linalg.eigh(small @ small.T)
            top = vectors[:, -1]
            coordinates = top if len(support) > rank else part @ top
            # Nearest vector of the row space to that support: small entries come out of the noise.
            vector = coordinates @ basis
            vector /= np.linalg.norm(vector)
            # Measured directly: 1 - singular value squared cannot resolve small missing entries.
            outside = float(np.linalg.norm(np.delete(vector, support)))
            if outside < MEMBERSHIP_TOL:
                if len(values) == 1 or 1.0 - values[-2] > ISOLATION_GAP:
                    exact = np.zeros(n_columns)
                    exact[support] = vector[support]
                    exact[np.abs(exact) < 1e-7 * np.abs(exact).max()] = 0.0
                    found.append(sp.csr_array(exact[None]))
                break
    if not found:
        return sp.csr_array((0, n_columns))
    return row_gauge(sp.csr_array(sp.vstack(found)))[0]


def sparse_sources(
    space: RowSpace,
    *,
    max_weight: int,
    rng: np.random.RandomState,
    budget: int = DEFAULT_BUDGET,
) -> Steps[SparseSources]:
    """Separate the sparse vectors of a row space, then complete the missed ones.

    Parameters
    ----------
    space : RowSpace
        With many more columns than rank.
    max_weight : int
        Heaviest vector accepted.
    rng : RandomState
    budget : int, default=DEFAULT_BUDGET
        Sweeps at most.

    Yields
    ------
    Step
        Once per sweep: objective is the number of vectors still missing, gap the largest turn.

    Returns
    -------
    SparseSources
    """
    basis, rank = space.basis, space.rank
    n_columns = basis.shape[1]
    vectors = sp.csr_array((0, n_columns))
    left_over, estimates = np.eye(rank), basis
    n_rounds = n_sweeps = idle = 0

    def separate(directions: np.ndarray, n_starts: int = 0) -> Steps[np.ndarray]:
        """Separate the part of the row space spanned by orthonormal coordinate rows."""
        nonlocal n_sweeps
        signals = (directions @ basis) * np.sqrt(n_columns)
        start = rng.normal(size=(n_starts or len(directions), len(directions)))
        if n_starts:
            start /= np.linalg.norm(start, axis=1, keepdims=True)
        else:
            start = np.linalg.qr(start)[0]
        sweeps = tanh_separation(
            signals,
            start,
            max_sweeps=min(SWEEPS_PER_ROUND, budget - n_sweeps),
            symmetric=not n_starts,
        )
        while True:
            try:
                step = next(sweeps)
            except StopIteration as end:
                return end.value @ signals
            n_sweeps += 1
            yield Step(float(rank - vectors.shape[0]), step.gap)

    while n_sweeps < budget and vectors.shape[0] < rank and idle < PATIENCE:
        n_rounds += 1
        # What a deficient Z leaves of the last rows need not be orthogonal, even nearly.
        n_starts = 0 if n_rounds == 1 else min(4 * len(left_over) + 8, rank)
        separated = yield from separate(left_over, n_starts)
        estimates = separated if n_rounds == 1 else estimates
        found = vectors_on_supports(separated, basis, max_weight=max_weight)
        both = sp.csr_array(sp.vstack([vectors, found]))
        pool = distinct_vectors(both, np.ones(both.shape[0], dtype=int)).vectors
        chosen = lightest_independent(pool, space)
        if not len(chosen):
            break
        idle = idle + 1 if len(chosen) == vectors.shape[0] else 0
        vectors = sp.csr_array(pool[chosen])
        complete = np.linalg.qr((vectors @ basis.T).T, mode="complete")[0]
        left_over = complete[:, len(chosen) :].T
    agreeing = np.zeros(vectors.shape[0], dtype=int)
    if vectors.shape[0] == rank:
        mark = N_CONFIRMATIONS * rank + 1
        vectors = distinct_vectors(vectors, agreeing).vectors
        for _ in range(N_CONFIRMATIONS):
            if n_sweeps >= budget:
                break
            separated = yield from separate(np.eye(rank))
            found = vectors_on_supports(separated, basis, max_weight=max_weight)
            pool = distinct_vectors(
                sp.csr_array(sp.vstack([vectors, found])),
                np.repeat([mark, 1], [rank, found.shape[0]]),
            )
            agreeing += pool.hits[pool.hits >= mark] > mark
    return SparseSources(vectors, n_rounds, agreeing, estimates)


def _each_on_its_own(estimates: np.ndarray, space: RowSpace) -> Steps[np.ndarray]:
    """Let estimates of more sources than dimensions climb on, which are not orthogonal."""
    n_columns = space.basis.shape[1]
    signals = space.basis * np.sqrt(n_columns)
    rotation = yield from tanh_separation(
        signals, estimates @ signals.T / n_columns, max_sweeps=SWEEPS_PER_ROUND, symmetric=False
    )
    return rotation @ signals


def last_factor_by_ica(
    Y: np.ndarray | sp.csr_array,
    *,
    n_nonzero: int | None = None,
    rng: np.random.RandomState,
    budget: int = DEFAULT_BUDGET,
) -> Steps[Peel | None]:
    """Peel the sparse right factor of a matrix with many more columns than its rank.

    Parameters
    ----------
    Y : ndarray or csr_array of shape (n_rows, n_columns)
    n_nonzero : int or None, default=None
        Largest number of non-zeros of a row of the factor; None means a third of the columns.
    rng : RandomState
    budget : int, default=DEFAULT_BUDGET
        Sweeps of FastICA at most.

    Yields
    ------
    Step
        Once per sweep, see `sparse_sources`.

    Returns
    -------
    Peel or None
        A row is proven locally: alone on its support, with zeros to spare, found from three starts.
        None when fewer than four columns per dimension are there, or when not every dimension of
        the row space has its sparse vector. Behind a singular remainder integer rows are found that
        lie outside the row space (`extended_row_space`); they are not proven.
    """
    Y = dense_rows(Y)
    n_columns = Y.shape[1]
    if min(Y.shape) < 2 or n_columns < 4 * min(Y.shape):
        return None
    space = row_space(Y)
    rank = space.rank
    if rank < 2:
        return None
    max_weight = min(n_nonzero or n_columns // 3, n_columns // 3)
    sources = yield from sparse_sources(space, max_weight=max_weight, rng=rng, budget=budget)
    if sources.vectors.shape[0] < rank:
        estimates = yield from _each_on_its_own(sources.estimates, space)
        wider = extended_row_space(space, estimates, max_weight=max_weight)
        if wider is None or n_columns < 4 * wider.rank:
            return None
        rank = wider.rank
        sources = yield from sparse_sources(wider, max_weight=max_weight, rng=rng, budget=budget)
        if sources.vectors.shape[0] < rank:
            return None
    solved = solve_remainder(Y, sources.vectors)
    if solved is None:
        return None
    factor, remainder, residual = solved
    heaviest = int(np.diff(factor.indptr).max())
    # Linear algebra alone can make rank - 1 entries of a vector vanish, at no evidence.
    earned = n_columns - heaviest - (rank - 1)
    proven = (sources.agreeing >= N_CONFIRMATIONS) & (earned > rank)
    # Rows beyond the row space explain the data, but others might too.
    proven &= lies_in(factor, space)
    if np.count_nonzero(Y) <= SPARSE * Y.size:
        proven &= seen_repeatedly(remainder, rng)
    evidence = [
        Evidence(
            "sparse rows found by independent component analysis",
            float(rank),
            float(rank),
            True,
            "every dimension of the row space carries a sparse vector, the only one on its "
            f"support; {rank - space.rank} dimensions were added by integer rows near the row "
            f"space; {sources.n_rounds - 1} rounds completed rows that the first one missed",
        ),
        Evidence(
            "zeros of a row beyond those that any row space has",
            float(earned),
            float(rank),
            earned > rank,
            f"the rows have at most {heaviest} non-zeros among {n_columns} columns",
        ),
        Evidence(
            "rows on which three separations from different starts agree",
            float(np.sum(proven)),
            float(rank),
            bool(np.all(proven)),
            "a distant factorisation that no start leads to is not excluded",
        ),
        Evidence(
            "residual of the peel",
            residual,
            1e-9,
            residual <= 1e-9,
            "relative distance between the data and remainder times factor",
        ),
    ]
    return Peel(factor, remainder, proven, evidence, proof="local")
