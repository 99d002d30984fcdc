"""Reading samples in blocks, whatever holds them: an array, a memory map or a sparse matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from sklearn_nnrecover.linalg.blocks import row_blocks

LARGEST = 1e70  # of X: fourth powers must fit double precision
SMALLEST = 1e-150  # of the largest entry: squares must not vanish
BLOCK_MEBIBYTES = 32  # temporary arrays of one block; more would only leave the cache earlier


class Samples:
    """Rows of X minus a mean, dense, in the precision asked for.

    Parameters
    ----------
    X : ndarray, memory map or CSR of shape (n_samples, n_features)
        Samples; never written to, never copied as a whole.
    mean : ndarray of shape (n_features,) or None
        Subtracted from every row that is read.
    rows : ndarray of int or None
        Only these rows, in this order.
    """

    def __init__(
        self, X: Any, mean: np.ndarray | None = None, rows: np.ndarray | None = None
    ) -> None:
        self.X, self.mean, self.rows = X, mean, rows
        self.shape = (X.shape[0] if rows is None else len(rows), X.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, here: slice | np.ndarray, dtype: Any = np.float64) -> np.ndarray:
        """Return the rows ``here`` as a new C-ordered array."""
        block = self.X[here if self.rows is None else self.rows[here]]
        block = block.toarray() if sparse.issparse(block) else block
        if self.mean is None:
            return np.ascontiguousarray(block, dtype=dtype)
        return np.ascontiguousarray(block - self.mean, dtype=dtype)

    def explored(self, rows: np.ndarray) -> np.ndarray:
        """Some of the rows in single precision, or in double where their squares do not fit it."""
        block = self.read(np.sort(rows))
        size = np.max(np.abs(block), initial=0.0)
        return block.astype(np.float32) if size == 0 or 1e-10 < size < 1e10 else block

    def subset(self, rows: np.ndarray) -> Samples:
        """Some of the rows, still unread."""
        return Samples(self.X, self.mean, rows if self.rows is None else self.rows[rows])

    def distinct(self) -> Samples:
        """The first of each group of equal rows, still unread: a repeated row is no new evidence.

        Rows are compared by a 64-bit hash of their bits. Where all rows are equal, all are kept.
        """
        multipliers = np.random.RandomState(0).randint(2**62, size=self.shape[1], dtype=np.uint64)
        multipliers = 2 * multipliers + np.uint64(1)
        keys = np.empty(len(self), dtype=np.uint64)
        for here in self.slices(24 * self.shape[1]):
            bits = (self.read(here) + 0.0).view(np.uint64)  # + 0.0 turns -0.0 into 0.0
            bits ^= bits >> np.uint64(32)  # low bits of short numbers are zero
            keys[here] = np.sum(bits * multipliers, axis=1, dtype=np.uint64)
        rows = np.sort(np.unique(keys, return_index=True)[1])
        return self if len(rows) in (1, len(self)) else self.subset(rows)

    def slices(self, bytes_per_row: float) -> list[slice]:
        """Slices of rows whose temporary arrays fit a block."""
        return list(row_blocks(len(self), bytes_per_row, BLOCK_MEBIBYTES))


def largest_entry(X: Any) -> float:
    """Largest absolute value of an array or a sparse matrix."""
    values = X.data if sparse.issparse(X) else X
    return float(max(np.max(values, initial=0.0), -np.min(values, initial=0.0)))


def refuse_overflow(X: Any) -> None:
    """Raise a ValueError if squares of X (in fits, their products) would not fit its dtype."""
    size = largest_entry(X)
    if size > min(1e-4 * float(np.finfo(X.dtype).max) ** 0.5, LARGEST):
        raise ValueError(
            f"Input X holds values of size {size:.0e}, whose products overflow in {X.dtype}: "
            "rescale it."
        )


def refuse_extremes(X: Any) -> None:
    """Raise a ValueError if nothing could be learned from X in its units."""
    refuse_overflow(X)
    size = largest_entry(X)
    if 0 < size < SMALLEST:
        raise ValueError(
            f"Input X holds no value larger than {size:.0e}, and squares of such values vanish in "
            "double precision: rescale it."
        )


def feature_mean(X: Any) -> np.ndarray:
    """Mean of every column in float64."""
    return np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
