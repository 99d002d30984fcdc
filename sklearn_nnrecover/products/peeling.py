"""Peel a chain of sparse factors from whichever end is solvable, again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isgenerator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Step, Steps

Matrix = Any
"""ndarray or csr_array."""

PRODUCT_RTOL = 1e-8
"""A peel must reproduce what it was taken from to this relative error."""

ENOUGH_PROVEN = 0.8
"""A split into two sparse factors is taken when this share of its hidden nodes is proven."""

SPARSE = 1 / 3
"""A piece of at most this density that was peeled off is split by its sparsity or not at all."""

MAX_FACTORS = 64


class Evidence(NamedTuple):
    """One thing that was measured on the data, as a condition of the report."""

    name: str
    value: float
    threshold: float
    passed: bool
    meaning: str


class Peel(NamedTuple):
    """One sparse factor taken off the right end: ``Y = remainder @ factor``.

    ``factor (k, n_columns)`` is in the row gauge; ``proven (k,)`` marks the rows that are unique in
    the class that the method states in its evidence; ``splits`` says that ``remainder`` is itself a
    sparse factor; ``proof`` is the kind of proof behind ``proven``.
    """

    factor: sp.csr_array
    remainder: Matrix
    proven: np.ndarray
    evidence: list[Evidence]
    splits: bool = False
    proof: str = "global"


class Link(NamedTuple):
    """How two neighbouring factors were separated.

    ``proven`` has one entry per hidden node between them; ``end`` is the end of the product that
    was peeled, ``"features"`` or ``"samples"``.
    """

    proven: np.ndarray
    method: str
    end: str
    proof: str


class Chain(NamedTuple):
    """``X = factors[0] @ factors[1] @ ...``; ``links[l]`` joins ``factors[l]`` and the next."""

    factors: list[sp.csr_array]
    links: list[Link]
    evidence: list[Evidence]


PeelMethod = Callable[..., "Peel | Steps[Peel | None] | None"]


def peel_chain(
    X: Matrix,
    methods: Mapping[str, PeelMethod],
    *,
    rng: np.random.RandomState,
    n_factors: int | None = None,
    n_nonzero: int | None = None,
) -> Steps[Chain]:
    """Split X into as many sparse factors as the methods can find.

    Every method sees each open piece from both ends: the piece itself, whose row space holds the
    rows of its last factor, and its transpose, whose row space holds the columns of its first.
    A peel is accepted when it reproduces the piece and has fewer non-zeros. Among the accepted ones
    the one with the largest share of proven nodes wins, then the one of fewest non-zeros. Both
    parts are then tried again.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
    methods : mapping of name to peel method
        Tried in this order.
    rng : RandomState
    n_factors : int or None
        Stop at this number of factors; None goes on while something can be peeled.
    n_nonzero : int or None
        At most so many non-zeros in a row of a factor.

    Yields
    ------
    Step
        Those of the methods, and one after each attempt (``objective``: non-zeros of the chain).

    Returns
    -------
    Chain
        A single factor if nothing could be peeled.
    """
    pieces: list[Matrix] = [X]
    is_open = [True]
    links: list[Link] = []
    evidence: list[Evidence] = []
    limit = MAX_FACTORS if n_factors is None else n_factors
    while any(is_open) and len(pieces) < limit:
        at = is_open.index(True)
        piece = pieces[at]
        found = yield from _best_peel(piece, methods, rng, n_nonzero, len(pieces) == 1)
        if found is None:
            is_open[at] = False
            continue
        peel, method, end = found
        parts = [peel.remainder, peel.factor]
        if end == "samples":
            parts = [part.T for part in reversed(parts)]
        pieces[at : at + 1] = [tidy(part) for part in parts]
        is_open[at : at + 1] = [True, True]
        links.insert(at, Link(peel.proven, method, end, peel.proof))
        evidence += [entry._replace(name=f"{entry.name} ({method})") for entry in peel.evidence]
        yield Step(float(sum(map(count_nonzero, pieces))), 1.0)
    return Chain([sp.csr_array(piece) for piece in pieces], links, evidence)


def _best_peel(
    piece: Matrix,
    methods: Mapping[str, PeelMethod],
    rng: np.random.RandomState,
    n_nonzero: int | None,
    is_whole: bool,
) -> Steps[tuple[Peel, str, str] | None]:
    best: tuple[Peel, str, str] | None = None
    best_rank = (-1.0, 0)
    size = count_nonzero(piece)
    sparse_part = len(methods) > 1 and not is_whole
    sparse_part = sparse_part and size <= SPARSE * piece.shape[0] * piece.shape[1]
    for name, method in methods.items():
        if sparse_part and name != "intersection":
            continue
        for end in ("features", "samples"):
            Y = piece if end == "features" else piece.T
            outcome: Any = method(Y, n_nonzero=n_nonzero, rng=rng)
            peel: Peel | None = (yield from outcome) if isgenerator(outcome) else outcome
            if peel is None or not reproduces(Y, peel):
                continue
            cost = count_nonzero(tidy(peel.remainder)) + peel.factor.nnz
            if cost >= size:
                continue
            proven = float(np.mean(peel.proven))
            if proven == 1 or (peel.splits and proven >= ENOUGH_PROVEN):
                # Both ends of a split are solved at once: no other method adds to it.
                return peel, name, end
            if (proven, -cost) > best_rank:
                best, best_rank = (peel, name, end), (proven, -cost)
    return best


def reproduces(Y: Matrix, peel: Peel) -> bool:
    """Whether the peel's product is Y to rounding."""
    product = peel.remainder @ peel.factor
    difference, size = abs(Y - product).max(), abs(Y).max()
    return bool(difference <= PRODUCT_RTOL * size)


def count_nonzero(A: Matrix) -> int:
    """Return the number of non-zeros of a dense or sparse matrix."""
    return int(A.nnz) if sp.issparse(A) else int(np.count_nonzero(A))


def tidy(A: Matrix, rtol: float = 1e-9) -> Matrix:
    """Set rounding errors of a remainder to zero, and near-integers to integers."""
    if sp.issparse(A):
        A = sp.csr_array(A, copy=True)
        A.data = _tidy_values(A.data, rtol)
        A.eliminate_zeros()
        A.sort_indices()
        return A
    return _tidy_values(A, rtol)


def _tidy_values(values: np.ndarray, rtol: float) -> np.ndarray:
    largest = np.abs(values).max(initial=0.0)
    rounded = np.round(values)
    if largest >= 1 and np.abs(values - rounded).max(initial=0.0) <= 1e-7 * largest:
        return rounded
    return np.where(np.abs(values) > rtol * largest, values, 0.0)
