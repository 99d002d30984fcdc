"""Peel a chain of sparse factors from whichever end is solvable, again and again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from inspect import isgenerator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.factor_gauge import canonical_order, row_gauge

Matrix = Any
"""ndarray or csr_array."""

PRODUCT_RTOL = 1e-8
"""A peel must reproduce what it was taken from to this relative error."""

INTEGER_TOL = 1e-3
"""Largest distance from an integer put down to rounding, however large other entries are."""

ENOUGH_PROVEN = 0.8
"""A split into two sparse factors is taken when this share of its hidden nodes is proven."""

WORTH_KEEPING = 0.05
"""With this share of its hidden nodes proven a peel is taken before other methods are asked."""

SPARSE = 1 / 3
"""A piece of at most this density that was peeled off is split by its sparsity or not at all."""

SPLITS = "intersection"
"""The method that finds two sparse factors at once."""

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
    sparse factor; ``proof`` is the kind of proof behind ``proven``; ``complete`` that every rival
    of the factor's rows is known, so that what is not proven is a tie.
    """

    factor: sp.csr_array
    remainder: Matrix
    proven: np.ndarray
    evidence: list[Evidence]
    splits: bool = False
    proof: str = "global"
    complete: bool = False


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
    last_resort: Collection[str] = (),
) -> Steps[Chain]:
    """Split X into as many sparse factors as the methods can find.

    The methods see each open piece from both ends: the piece itself, whose row space holds the
    rows of its last factor, and its transpose, whose row space holds the columns of its first.
    A peel is accepted when it reproduces the piece and has fewer non-zeros. The first that settles
    its end is taken; among others the one with the largest share of proven nodes, then the one of
    fewest non-zeros. Both parts are then tried again. Where two factors are all there is, and a row
    space left ties between them, the sparsity of both may settle what that of one could not.

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
    last_resort : collection of str
        Methods asked only where the others find nothing.

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
        found = yield from _best_peel(
            pieces[at], methods, rng, n_nonzero, is_whole=len(pieces) == 1, last_resort=last_resort
        )
        if found is None:
            is_open[at] = False
            continue
        pieces[at : at + 1] = found.parts
        is_open[at : at + 1] = [True, True]
        links.insert(at, found.link)
        evidence += found.evidence
        yield Step(float(sum(map(count_nonzero, pieces))), 1.0)
    two_factors = len(links) == 1 and SPLITS in methods and links[0].method != SPLITS
    if two_factors and not np.all(links[0].proven):
        both = yield from _best_peel(X, {SPLITS: methods[SPLITS]}, rng, n_nonzero, is_whole=True)
        if both is not None:
            united = _united_claims(pieces[1], links[0], both)
            if np.mean(united.proven) > np.mean(links[0].proven):
                pieces, links = both.parts, [united]
                evidence += both.evidence
    return Chain([sp.csr_array(piece) for piece in pieces], links, evidence)


class _Found(NamedTuple):
    """An accepted peel, as seen by the method: ``Y`` is the piece or its transpose."""

    peel: Peel
    method: str
    end: str

    @property
    def parts(self) -> list[Matrix]:
        """The two factors of the piece."""
        parts = [self.peel.remainder, self.peel.factor]
        if self.end == "samples":
            parts = [part.T for part in reversed(parts)]
        return [tidy(part) for part in parts]

    @property
    def link(self) -> Link:
        return Link(self.peel.proven, self.method, self.end, self.peel.proof)

    @property
    def evidence(self) -> list[Evidence]:
        return [
            entry._replace(name=f"{entry.name} ({self.method})") for entry in self.peel.evidence
        ]


def _united_claims(factor: Matrix, link: Link, other: _Found) -> Link:
    """The other's claims, and those of the first about the same factors."""
    mine, theirs = (row_gauge(sp.csr_array(F))[0] for F in (factor, other.parts[1]))
    if mine.shape != theirs.shape or mine.nnz != theirs.nnz:
        return other.link
    order, other_order = canonical_order(mine), canonical_order(theirs)
    if abs(mine[order] - theirs[other_order]).max() > PRODUCT_RTOL * abs(mine).max():
        return other.link
    proven = np.array(other.link.proven)
    proven[other_order] |= link.proven[order]
    return other.link._replace(proven=proven)


def _best_peel(
    piece: Matrix,
    methods: Mapping[str, PeelMethod],
    rng: np.random.RandomState,
    n_nonzero: int | None,
    *,
    is_whole: bool,
    last_resort: Collection[str] = (),
) -> Steps[_Found | None]:
    best: _Found | None = None
    best_rank = (-1.0, 0)
    size = count_nonzero(piece)
    sparse_part = len(methods) > 1 and not is_whole
    sparse_part = sparse_part and size <= SPARSE * piece.shape[0] * piece.shape[1]
    for name, method in methods.items():
        if sparse_part and name != SPLITS:
            continue
        if best is not None and (best_rank[0] >= WORTH_KEEPING or name in last_resort):
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
            found, proven = _Found(peel, name, end), float(np.mean(peel.proven))
            if proven == 1 or peel.complete or (peel.splits and proven >= ENOUGH_PROVEN):
                return found
            if (proven, -cost) > best_rank:
                best, best_rank = found, (proven, -cost)
            if peel.splits:
                # Both ends are solved at once, from either.
                break
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
    distance = np.abs(values - rounded).max(initial=0.0)
    if largest >= 1 and distance <= min(1e-7 * largest, INTEGER_TOL):
        return rounded
    return np.where(np.abs(values) > rtol * largest, values, 0.0)
