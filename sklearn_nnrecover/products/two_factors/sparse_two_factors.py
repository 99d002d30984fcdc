"""Peel a matrix that is itself a product of two sparse factors.

Column intersections propose atoms, integer pursuit codes in them, the description length decides;
several starts on shuffled data must agree before an atom counts as identified.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.integer_pursuit import clean
from sklearn_nnrecover.products.peeling import Evidence, Matrix, Peel
from sklearn_nnrecover.products.row_agreement import distinct_rows, equal_rows
from sklearn_nnrecover.products.two_factors.atom_conditions import atom_conditions
from sklearn_nnrecover.products.two_factors.atom_identification import atom_evidence
from sklearn_nnrecover.products.two_factors.description_length import (
    LEAST_SAVING,
    TwoFactors,
    two_sparse_factors,
)
from sklearn_nnrecover.products.two_factors.untouched_cells import (
    agreement_probability,
    beyond_leftovers,
)

DEFAULT_BUDGET = 40
"""Sweeps of the descent, per start."""

LEAST_AGREEMENT = 0.1
"""Share of the atoms that all starts must find before any of them is claimed."""

MAX_DENSITY = 1 / 3
"""Beyond this density pairs of rows agree everywhere by accident."""


def intersection_factor(
    Y: Matrix,
    *,
    n_nonzero: int | None = None,
    rng: np.random.RandomState,
    budget: int = DEFAULT_BUDGET,
    n_init: int = 3,
) -> Steps[Peel | None]:
    """Factor sparse Y = C @ D with sparse C and D of the shortest description found.

    Parameters
    ----------
    Y : ndarray or csr_array of shape (n_rows, n_columns)
    n_nonzero : int or None
        Atoms with more non-zeros are not counted as identified.
    rng : RandomState
    budget : int
        Sweeps of the descent, per start.
    n_init : int
        Starts, each on rows and columns in a new order.

    Yields
    ------
    Step
        Of the descents, one after another.

    Returns
    -------
    Peel or None
        None if Y is too dense, or if not one atom is identified.
    """
    Y = sp.csr_array(Y)
    Y.eliminate_zeros()
    if min(Y.shape) < 2 or Y.nnz == 0 or Y.nnz > MAX_DENSITY * Y.shape[0] * Y.shape[1]:
        return None
    best = yield from finest_factors(Y, rng=rng, max_sweeps=budget)
    # Rows or columns that are multiples of each other count once as evidence.
    rows, columns = _one_of_parallel(Y, rng), _one_of_parallel(Y.T.tocsr(), rng)
    codes = sp.csr_array(best.C[rows])
    evidence = atom_evidence(
        sp.csr_array(Y[rows][:, columns]), codes, sp.csr_array(best.D[:, columns])
    )
    if not evidence.identified.any() or best.C.nnz + best.D.nnz >= Y.nnz:
        return None
    # What leaves no claim after one start leaves none after all.
    same = agreement_probability(Y.data)
    claims = beyond_leftovers(codes, best.D, evidence.identified, same=same)
    if n_init < 3 or not claims.any():
        return None
    found_again = np.ones(best.D.shape[0], dtype=np.intp)
    for _ in range(n_init - 1):
        other = yield from _shuffled_start(Y, rng, budget)
        found_again += equal_rows(row_gauge(other.D)[0], row_gauge(best.D)[0], rng) >= 0
    # Where starts end all over the place, the open atoms leave room for imitations of a true one.
    if np.mean(found_again == n_init) < LEAST_AGREEMENT:
        return None
    claims &= found_again == n_init
    if n_nonzero is not None:
        claims &= np.diff(best.D.indptr) <= n_nonzero
    proven = beyond_leftovers(codes, best.D, claims, same=same)
    if not proven.any():
        return None
    return Peel(
        factor=best.D,
        remainder=best.C,
        proven=proven,
        evidence=[
            Evidence(
                "description length",
                (best.C.nnz + best.D.nnz) / Y.nnz,
                1.0,
                best.C.nnz + best.D.nnz < Y.nnz,
                "non-zeros of both factors, relative to those of their product",
            ),
            *atom_conditions(evidence, found_again, n_init=n_init, n_left=best.n_residual),
        ],
        splits=True,
        proof="local",
    )


def finest_factors(
    Y: sp.csr_array, *, rng: np.random.RandomState, max_sweeps: int
) -> Steps[TwoFactors]:
    """Factor Y = C @ D where D is no product of sparse factors itself.

    In a product of three or more sparse factors the shortest two-factor description may merge
    layers, some atoms being rows of the last factor and some rows of the last two together. As
    long as ``D = A @ B`` has a shorter description, B takes the place of D and ``C @ A`` that of C.
    """
    found = yield from two_sparse_factors(Y, rng=rng, max_sweeps=max_sweeps)
    while found.D.shape[0] > 1:
        inner = yield from two_sparse_factors(found.D, rng=rng, max_sweeps=max_sweeps)
        # Atoms that stay as they are need no code of their own.
        kept = int(np.sum(np.diff(inner.C.indptr) == 1))
        if inner.C.nnz - kept + inner.D.nnz >= (1 - LEAST_SAVING) * found.D.nnz:
            break
        codes = clean(found.C @ inner.C, 1e-9 * np.abs(found.C.data).max())
        single = np.bincount(codes.indices, minlength=inner.D.shape[0]) < 2
        order = np.argsort(single, kind="stable")
        found = TwoFactors(clean(codes[:, order], 0.0), inner.D[order], int(single.sum()))
    return found


def _one_of_parallel(A: sp.csr_array, rng: np.random.RandomState) -> np.ndarray:
    """One of each set of parallel non-zero rows, in order."""
    kept = distinct_rows(row_gauge(A)[0], rng).representative
    return np.sort(kept[np.diff(A.indptr)[kept] > 0])


def _shuffled_start(Y: sp.csr_array, rng: np.random.RandomState, budget: int) -> Steps[TwoFactors]:
    rows, columns = rng.permutation(Y.shape[0]), rng.permutation(Y.shape[1])
    shuffled = yield from finest_factors(Y[rows][:, columns], rng=rng, max_sweeps=budget)
    return TwoFactors(
        shuffled.C[np.argsort(rows)],
        shuffled.D[:, np.argsort(columns)],
        shuffled.n_residual,
    )
