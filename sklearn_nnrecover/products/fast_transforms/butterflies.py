"""Fast transforms recovered from their dense matrix: chains of butterfly factors.

``A = F_1 F_2 ... F_L`` with a few non-zeros per row in every factor, as in the fast Fourier,
Walsh-Hadamard and cosine transforms and in Kronecker products. Neither the order of the rows and
columns, nor their signs, nor the radices need to be known: each level is found by
`rank_one_splits.find_split` on the rows or on the columns, direct sums are split into their
blocks, and real blocks that hide a complex butterfly are factored as complex ones.

References
----------
L. Zheng, E. Riccietti, R. Gribonval, *Efficient identification of butterfly sparse matrix
factorizations*, SIAM J. Math. Data Science 5 (2023), for rank-one blocks in known order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.utils import check_random_state

from sklearn_nnrecover.products.fast_transforms.hidden_complex import find_hidden_complex, realify
from sklearn_nnrecover.products.fast_transforms.natural_order import known_order_butterfly
from sklearn_nnrecover.products.fast_transforms.rank_one_splits import find_split

NOISE_LADDER = (1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)
"""Standard deviations that are assumed in turn, relative to the root mean square entry."""

DEFAULT_BUDGET = 20_000
"""Blocks looked at, over all rungs of the noise ladder."""

WORTHWHILE = 0.75
"""A chain with more than this share of A's non-zeros is no fast transform."""

ENTRYWISE_ZERO = 1e-13
"""Entries below this fraction of the largest are rounding, not structure."""


class _Block(NamedTuple):
    """A dense block between the two interfaces of the chain under construction."""

    matrix: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


class _Level:
    """Triplets of one sparse factor while its blocks are being split."""

    def __init__(self) -> None:
        self.size = 0
        self.outer: list[np.ndarray] = []
        self.inner: list[np.ndarray] = []
        self.values: list[np.ndarray] = []

    def allocate(self, count: int) -> np.ndarray:
        self.size += count
        return np.arange(self.size - count, self.size)

    def add(self, outer: np.ndarray, inner: np.ndarray, values: np.ndarray) -> None:
        self.outer.append(outer)
        self.inner.append(inner)
        self.values.append(values)

    def carry(self, outer: np.ndarray) -> np.ndarray:
        """Pass an interface through unchanged."""
        inner = self.allocate(len(outer))
        self.add(outer, inner, np.ones(len(outer)))
        return inner

    def matrix(self, n_outer: int) -> sp.csr_array:
        values = np.concatenate(self.values)
        coords = (np.concatenate(self.outer), np.concatenate(self.inner))
        return sp.csr_array((values, coords), shape=(n_outer, self.size))


class _OutOfBudget(Exception):
    """The search looked at as many blocks as it may."""


class _Search:
    """Splits blocks at one assumed noise level, counting them."""

    def __init__(
        self, noise: float, rng: np.random.RandomState, budget: int, *, exact: bool
    ) -> None:
        self.noise = noise
        self.exact = exact
        self.rng = rng
        self.left = budget

    def spend(self) -> None:
        if self.left <= 0:
            raise _OutOfBudget
        self.left -= 1

    def summands(self, block: _Block) -> list[_Block]:
        """Split a direct sum into its blocks."""
        A = block.matrix
        exact = ENTRYWISE_ZERO * np.abs(A).max(initial=0.0)
        filled = np.abs(A) > (exact if self.exact else 5.0 * self.noise)
        if filled.all():
            return [block]
        graph = sp.block_array([[None, sp.csr_array(filled)], [sp.csr_array(filled.T), None]])
        n_parts, labels = connected_components(graph, directed=False)
        if n_parts == 1:
            return [block]
        row_labels, column_labels = labels[: len(A)], labels[len(A) :]
        parts = []
        for label in range(n_parts):
            rows = np.flatnonzero(row_labels == label)
            columns = np.flatnonzero(column_labels == label)
            if not len(rows) or not len(columns):
                continue  # a row or column of zeros: no factor needs to reach it
            parts.append(_Block(A[np.ix_(rows, columns)], block.rows[rows], block.columns[columns]))
        return parts

    def chain(self, A: np.ndarray) -> list[sp.csr_array]:
        """Factor A as far as structure is found; a single factor when there is none."""
        n_rows, n_columns = A.shape
        lefts: list[sp.csr_array] = []
        rights: list[sp.csr_array] = []
        finished: list[tuple[_Block, list[sp.csr_array]]] = []
        active = [_Block(A, np.arange(n_rows), np.arange(n_columns))]
        while active:
            left, right = _Level(), _Level()
            n_left = lefts[-1].shape[1] if lefts else n_rows
            n_right = rights[-1].shape[0] if rights else n_columns
            following: list[_Block] = []
            for block in (part for whole in active for part in self.summands(whole)):
                self._split_block(block, left, right, following, finished)
            if not following:
                break
            finished = [
                (
                    done._replace(rows=left.carry(done.rows), columns=right.carry(done.columns)),
                    chain,
                )
                for done, chain in finished
            ]
            lefts.append(left.matrix(n_left))
            rights.append(sp.csr_array(right.matrix(n_right).T))
            active = following
        cores = _direct_sum(finished, lefts, rights, A.shape)
        return _fold_monomials([*lefts, *cores, *rights[::-1]])

    def _split_block(
        self,
        block: _Block,
        left: _Level,
        right: _Level,
        following: list[_Block],
        finished: list[tuple[_Block, list[sp.csr_array]]],
    ) -> None:
        self.spend()
        A = block.matrix
        by_rows = find_split(A, self.noise, self.rng)
        by_columns = None
        if by_rows is None or by_rows.cost > 0.7:
            by_columns = find_split(np.ascontiguousarray(A.T), self.noise, self.rng)
        if by_rows is not None and (by_columns is None or by_rows.cost <= by_columns.cost):
            inner = left.allocate(by_rows.left.shape[1])
            entries = sp.coo_array(by_rows.left)
            left.add(block.rows[entries.coords[0]], inner[entries.coords[1]], entries.data)
            columns = right.carry(block.columns)
            start = 0
            for members, child in zip(by_rows.classes, by_rows.children, strict=True):
                rows = inner[start : start + len(child)]
                following.append(_Block(child, rows, columns[members]))
                start += len(child)
        elif by_columns is not None:
            inner = right.allocate(by_columns.left.shape[1])
            entries = sp.coo_array(by_columns.left)
            right.add(block.columns[entries.coords[0]], inner[entries.coords[1]], entries.data)
            rows = left.carry(block.rows)
            start = 0
            for members, child in zip(by_columns.classes, by_columns.children, strict=True):
                columns = inner[start : start + len(child)]
                following.append(_Block(child.T, rows[members], columns))
                start += len(child)
        else:
            finished.append((block, self._leaf_chain(A)))

    def _leaf_chain(self, A: np.ndarray) -> list[sp.csr_array]:
        dense = [sp.csr_array(np.where(np.abs(A) > ENTRYWISE_ZERO * np.abs(A).max(), A, 0.0))]
        if np.iscomplexobj(A):
            return dense
        hidden = find_hidden_complex(A, self.noise, self.rng)
        if hidden is None:
            return dense
        chain = [realify(factor) for factor in self.chain(hidden.matrix)]
        chain = _fold_monomials([hidden.left, *chain, hidden.right])
        return chain if _n_nonzero(chain) < dense[0].nnz else dense


def _direct_sum(
    finished: list[tuple[_Block, list[sp.csr_array]]],
    lefts: list[sp.csr_array],
    rights: list[sp.csr_array],
    shape: tuple[int, int],
) -> list[sp.csr_array]:
    """Chain of the direct sum of the finished blocks, shorter chains filled up by identities."""
    n_rows = lefts[-1].shape[1] if lefts else shape[0]
    n_columns = rights[-1].shape[0] if rights else shape[1]
    depth = max(len(chain) for _, chain in finished)
    outer = [block.rows for block, _ in finished]
    factors, n_outer = [], n_rows
    for position in range(depth):
        level = _Level()
        last = position == depth - 1
        if last:
            level.size = n_columns
        for k, (block, chain) in enumerate(finished):
            # A short chain waits at the left: its factors are the last ones.
            offset = position - (depth - len(chain))
            if offset < 0:
                outer[k] = level.carry(outer[k])
                continue
            entries = sp.coo_array(chain[offset])
            inner = block.columns if last else level.allocate(entries.shape[1])
            level.add(outer[k][entries.coords[0]], inner[entries.coords[1]], entries.data)
            outer[k] = inner
        factors.append(level.matrix(n_outer))
        n_outer = level.size
    return factors


def _is_monomial(F: sp.csr_array) -> bool:
    """One non-zero in every row and column."""
    return (
        F.shape[0] == F.shape[1] == F.nnz
        and bool(np.all(np.diff(F.indptr) == 1))
        and len(np.unique(F.indices)) == F.shape[1]
    )


def _fold_monomials(factors: list[sp.csr_array]) -> list[sp.csr_array]:
    """Multiply permutations and diagonals into a neighbour: same product, fewer factors."""
    chain: list[sp.csr_array] = []
    for factor in factors:
        if chain and (_is_monomial(factor) or _is_monomial(chain[-1])):
            chain[-1] = sp.csr_array(chain[-1] @ factor)
        else:
            chain.append(factor)
    return chain


def _n_nonzero(chain: list[sp.csr_array]) -> int:
    return int(sum(factor.nnz for factor in chain))


def _relative_error(A: np.ndarray, chain: list[sp.csr_array]) -> float:
    product = chain[-1].toarray()
    for factor in chain[-2::-1]:
        product = factor @ product
    return float(np.linalg.norm(A - product) / np.linalg.norm(A))


def _search(
    A: np.ndarray, tol: float, permuted: bool, rng: np.random.RandomState, budget: int
) -> tuple[list[sp.csr_array] | None, float]:
    """Climb the ladder of noise levels; also return the best relative error that was met."""
    dense = np.count_nonzero(np.abs(A) > ENTRYWISE_ZERO * np.abs(A).max())
    best = 1.0
    rms = float(np.sqrt(np.mean(np.abs(A) ** 2)))
    for rung in NOISE_LADDER:
        chain = known_order_butterfly(A, min(2 * rung, tol))
        if chain is None and permuted:
            search = _Search(rung * rms, rng, budget, exact=rung == NOISE_LADDER[0])
            try:
                chain = search.chain(A)
            except _OutOfBudget:
                return None, best
            budget = search.left
        if chain is not None and len(chain) > 1 and _n_nonzero(chain) <= WORTHWHILE * dense:
            error = _relative_error(A, chain)
            best = min(best, error)
            if error <= tol:
                return chain, error
        if rung >= tol:
            break
    return None, best


def factorize_butterfly(
    A: np.ndarray,
    *,
    permuted: bool = True,
    tol: float = 1e-6,
    random_state: int | np.random.RandomState | None = 0,
    max_blocks: int = DEFAULT_BUDGET,
) -> list[sp.csr_array]:
    """Factor a dense matrix into the sparse factors of a fast transform.

    The factors are found from the numbers alone: rows and columns may be permuted and their signs
    flipped, radices may be mixed, the matrix may be rectangular, real or complex.

    Parameters
    ----------
    A : array-like of shape (n_rows, n_columns)
        Real or complex matrix, for example a Hadamard, Fourier or cosine transform or a Kronecker
        product.
    permuted : bool, default=True
        False looks only for radix-two butterflies whose columns are in natural or bit-reversed
        order, which is tried first in any case.
    tol : float, default=1e-6
        Largest relative error (Frobenius norm) of the product. Raise it for noisy matrices: noise
        is carried through, the factors reproduce A up to about the noise level.
    random_state : int, RandomState instance or None, default=0
        Seeds the random projections in which rows are compared.
    max_blocks : int, default=20000
        Budget: number of blocks that may be looked at.

    Returns
    -------
    list of scipy.sparse.csr_array
        Factors whose product, in this order, is A up to ``tol``.

    Raises
    ------
    ValueError
        If A is not a finite non-zero matrix, or has no such factorization within ``tol``.

    See Also
    --------
    SparseDeepFactorizer : Recover general sparse factors of real data.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.linalg import hadamard
    >>> from sklearn_nnrecover import factorize_butterfly
    >>> rng = np.random.RandomState(0)
    >>> A = hadamard(64)[rng.permutation(64)][:, rng.permutation(64)]
    >>> factors = factorize_butterfly(A)
    >>> sum(factor.nnz for factor in factors)
    768
    """
    A = np.asarray(A)
    if A.ndim != 2 or A.dtype.kind not in "biufc":
        raise ValueError(
            f"A must be a matrix of numbers, got an array of shape {A.shape} and dtype {A.dtype}."
        )
    A = A.astype(np.complex128 if A.dtype.kind == "c" else np.float64)
    if not np.isfinite(A).all():
        raise ValueError("A contains NaN or infinity; remove or replace such entries first.")
    if not A.any():
        raise ValueError("A has no non-zero entry: there is nothing to factorize.")
    if not 0 <= tol < 1:
        raise ValueError(f"tol must lie in [0, 1), got {tol}.")
    rng = check_random_state(random_state)
    chain, best = _search(A, max(tol, 1e-13), permuted, rng, max_blocks)
    if chain is None:
        nearest = (
            "no sparse chain was found at any tolerance up to tol"
            if best >= 1.0
            else f"the best chain found has relative error {best:.1e}"
        )
        raise ValueError(
            f"A ({A.shape[0]} x {A.shape[1]}) has no butterfly structure within tol={tol:g}: "
            f"{nearest}. A matrix without fast algorithm, such as a random dense one, ends here; "
            "for a noisy fast transform raise tol above the noise level."
        )
    return chain


def butterfly_factors(
    X: np.ndarray | sp.csr_array,
    *,
    rng: np.random.RandomState,
    tol: float = 1e-9,
    budget: int = DEFAULT_BUDGET,
) -> list[sp.csr_array] | None:
    """Factors of a real fast transform, or None: `factorize_butterfly` for use inside an estimator.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_columns)
        Finite and non-zero.
    rng : RandomState
    tol : float, default=1e-9
        Largest relative error of the product.
    budget : int, default=DEFAULT_BUDGET
        Blocks looked at.
    """
    X = X if isinstance(X, np.ndarray) else X.toarray()
    if min(X.shape) < 4 or not X.any():
        return None
    return _search(X, tol, True, rng, budget)[0]
