"""Sums over samples that determine a network on symmetric inputs, mergeable by addition.

For inputs x (d features) and outputs y (m), with u = (1, x, y) and the quadratic monomials

    phi(x) = (x_i x_j)  for i <= j,           D = d (d + 1) / 2 of them,

the sums of ``u u'``, ``u phi(x)'``, ``(y x') phi(x)'``, ``phi(y) phi(x)'`` and, where D is small,
``phi(x) phi(x)'`` are kept. They are all that the moment estimate of
pure neurons (``pure_neuron_moments.py``) needs, and they are additive over samples: chunks may be
summed in any order, by other processes, on other days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length

from sklearn_nnrecover.linalg.blocks import (
    MEBIBYTE,
    require_memory,
    row_blocks,
    working_memory_bytes,
)

# Products phi(x) phi(x)' are kept up to this many monomials (63 features, 32 MiB).
MOST_QUARTIC = 2048
# Features are built in blocks that stay near the processor.
BLOCK_MEBIBYTES = 32.0


def n_monomials(width: int) -> int:
    """Number of quadratic monomials of a vector."""
    return width * (width + 1) // 2


def monomials(Xt: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Quadratic monomials ``x_i x_j``, i <= j, of samples in columns.

    Parameters
    ----------
    Xt : ndarray of shape (d, n)
        Samples, one a column.
    out : ndarray of shape (d (d + 1) / 2, n) or None
        Where to write them.

    Returns
    -------
    ndarray of shape (d (d + 1) / 2, n)
    """
    d, n = Xt.shape
    out = np.empty((n_monomials(d), n)) if out is None else out
    start = 0
    for i in range(d):
        np.multiply(Xt[i], Xt[i:], out=out[start : start + d - i])
        start += d - i
    return out


def isometry(width: int) -> np.ndarray:
    """Factors of the monomials that make their norm the Frobenius norm of ``x x'``."""
    rows, columns = np.triu_indices(width)
    return np.where(rows == columns, 1.0, np.sqrt(2.0))


def keeps_quartic(n_features: int) -> bool:
    """Whether products of monomials with each other are kept for inputs of this width."""
    return n_monomials(n_features) <= MOST_QUARTIC


class SymmetricMoments:
    """Mergeable sums of samples ``(x, y)`` for a network on symmetric inputs.

    ``update`` adds samples, ``+`` merges; nothing depends on the order. Hand the sum to
    :meth:`SymmetricMomentNet.fit_moments <sklearn_nnrecover.SymmetricMomentNet.fit_moments>`.

    Read more in the :ref:`User Guide <networks_symmetric>`.

    Attributes
    ----------
    n_features, n_outputs : int
        Widths of x and y; 0 before the first update.
    n_rows : int
        Samples of positive weight.
    weight : float
        Sum of their weights.
    dtype : str
        dtype of the first inputs.

    See Also
    --------
    sklearn_nnrecover.SymmetricMomentNet : The estimator that turns them into a network.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_nnrecover.networks import SymmetricMomentNet, SymmetricMoments
    >>> rng = np.random.default_rng(0)
    >>> W, A = rng.standard_normal((4, 3)), rng.standard_normal((3, 3))
    >>> X = rng.standard_normal((9000, 4))
    >>> y = np.maximum(X @ W, 0) @ A
    >>> parts = [SymmetricMoments().update(X[i::3], y[i::3]) for i in range(3)]
    >>> net = SymmetricMomentNet(method="moments", random_state=0).fit_moments(sum(parts))
    >>> net.n_hidden_
    3
    """

    def __init__(self) -> None:
        self.n_features = self.n_outputs = self.n_rows = 0
        self.weight = 0.0
        self.dtype = "float64"

    # Arrays, once the widths are known:
    # _second (1 + d + m, 1 + d + m), _mixed (R, D) with R stacked groups of rows, _sixth (d, d).

    def _rows(self) -> dict[str, slice]:
        """Groups of rows of the array of mixed sums."""
        d, m = self.n_features, self.n_outputs
        sizes = {"u": 1 + d + m, "yx": m * d, "yy": n_monomials(m)}
        sizes["xx"] = n_monomials(d) if keeps_quartic(d) else 0
        groups, start = {}, 0
        for name, size in sizes.items():
            groups[name] = slice(start, start + size)
            start += size
        return groups

    def mixed(self, group: str) -> np.ndarray:
        """Sums of one group of monomials times phi(x).

        Parameters
        ----------
        group : {"u", "yx", "yy", "xx"}
            ``u = (1, x, y)``; ``y x'`` row by row; ``phi(y)``; ``phi(x)``, empty for many features.

        Returns
        -------
        ndarray of shape (n_group, n_features (n_features + 1) / 2)
            A view of the sums.
        """
        return self._mixed[self._rows()[group]]

    @property
    def second(self) -> np.ndarray:
        """Sums of ``u u'``, u = (1, x, y)."""
        return self._second

    @property
    def sixth(self) -> np.ndarray:
        """Sums of ``x_i^4 x_j^2``, shape (n_features, n_features)."""
        return self._sixth

    @property
    def n_bytes(self) -> int:
        """Memory of the sums."""
        if not self.n_features:
            return 0
        return self._second.nbytes + self._mixed.nbytes + self._sixth.nbytes

    def _allocate(self, n_features: int, n_outputs: int) -> None:
        d, m = n_features, n_outputs
        D = n_monomials(d)
        quartic = D if keeps_quartic(d) else 0
        rows = 1 + d + m + m * d + n_monomials(m) + quartic
        require_memory(
            8.0 * rows * D,
            working_memory_bytes(),
            f"One pass over {d} features and {m} outputs",
            "use fit, which needs far less, reduce the columns (for example by PCA), or allow more "
            "by sklearn.set_config(working_memory=...).",
        )
        self.n_features, self.n_outputs = d, m
        self._second = np.zeros((1 + d + m, 1 + d + m))
        self._mixed = np.zeros((rows, D))
        self._sixth = np.zeros((d, d))

    def update(self, X: Any, y: Any, sample_weight: Any = None) -> SymmetricMoments:
        """Add samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs; memory maps are read block by block.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Outputs.
        sample_weight : array-like of shape (n_samples,) or None
            Frequencies.

        Returns
        -------
        self : SymmetricMoments
            The same sums, updated.

        Raises
        ------
        ValueError
            For NaN, infinity, an empty chunk, other widths than before, or negative weights; what
            was accumulated before is untouched.
        MemoryError
            At the first update, if the sums would exceed scikit-learn's ``working_memory``.
        """
        X = check_array(X, dtype=(np.float64, np.float32), input_name="X")
        y = check_array(y, dtype=(np.float64, np.float32), ensure_2d=False, input_name="y")
        y = y.reshape(len(y), -1)
        check_consistent_length(X, y)
        weight = np.ones(len(X))
        if sample_weight is not None:
            weight = check_array(
                sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight"
            )
            check_consistent_length(X, weight)
            if weight.ndim != 1 or weight.min() < 0:
                raise ValueError("sample_weight must be one non-negative number a sample.")
        added = SymmetricMoments()
        if self.n_features:
            self._check_widths(X.shape[1], y.shape[1])
        else:
            self.dtype = X.dtype.name
        added._allocate(X.shape[1], y.shape[1])
        added._accumulate(X, y, weight)
        return self._merge(added)

    def _check_widths(self, n_features: int, n_outputs: int) -> None:
        if (n_features, n_outputs) != (self.n_features, self.n_outputs):
            raise ValueError(
                f"these samples have {n_features} features and {n_outputs} outputs, but those "
                f"accumulated before have {self.n_features} and {self.n_outputs}."
            )

    def _accumulate(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray) -> None:
        d, m = self.n_features, self.n_outputs
        D, groups = self._mixed.shape[1], self._rows()
        budget = min(BLOCK_MEBIBYTES, working_memory_bytes() / MEBIBYTE)
        for block in row_blocks(len(X), 8.0 * (len(self._mixed) + D), budget):
            w = weight[block]
            U = np.empty((1 + d + m, len(w)))
            U[0] = 1.0
            U[1 : 1 + d] = X[block].T
            U[1 + d :] = y[block].T
            Xt, Yt = U[1 : 1 + d], U[1 + d :]
            left = np.empty((len(self._mixed), len(w)))
            left[groups["u"]] = U
            np.multiply(Yt[:, None], Xt, out=left[groups["yx"]].reshape(m, d, -1))
            monomials(Yt, out=left[groups["yy"]])
            right = monomials(Xt)
            if groups["xx"].stop > groups["xx"].start:
                left[groups["xx"]] = right
            squares = Xt**2
            self._sixth += (squares**2 * w) @ squares.T
            self._second += (U * w) @ U.T
            right *= w
            self._mixed += left @ right.T
        self.n_rows += int(np.count_nonzero(weight))
        self.weight += float(weight.sum())

    def _merge(self, other: SymmetricMoments) -> SymmetricMoments:
        if not other.n_features:
            return self
        if not self.n_features:
            self.n_features, self.n_outputs = other.n_features, other.n_outputs
            self._second, self._mixed = other._second.copy(), other._mixed.copy()
            self._sixth = other._sixth.copy()
        else:
            self._check_widths(other.n_features, other.n_outputs)
            self._second += other._second
            self._mixed += other._mixed
            self._sixth += other._sixth
        self.n_rows += other.n_rows
        self.weight += other.weight
        return self

    def copy(self) -> SymmetricMoments:
        """Return an independent copy."""
        result = SymmetricMoments()
        result.dtype = self.dtype
        return result._merge(self)

    def __add__(self, other: Any) -> SymmetricMoments:
        if not isinstance(other, SymmetricMoments):
            return NotImplemented
        first = self if self.n_features else other
        result = self.copy()._merge(other)
        result.dtype = first.dtype
        return result

    def __radd__(self, other: Any) -> SymmetricMoments:
        """``sum([...])`` starts from 0."""
        return self.copy() if isinstance(other, int) and other == 0 else NotImplemented

    def __repr__(self) -> str:
        return (
            f"SymmetricMoments({self.n_rows} samples, {self.n_features} features, "
            f"{self.n_outputs} outputs, {self.n_bytes / MEBIBYTE:.1f} MiB)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the sums as numbers, text and arrays, for ``numpy.savez`` or any transport.

        Returns
        -------
        dict
            What ``from_dict`` takes.
        """
        arrays = {}
        if self.n_features:
            arrays = {"second": self._second, "mixed": self._mixed, "sixth": self._sixth}
        return {
            "n_features": self.n_features,
            "n_outputs": self.n_outputs,
            "n_rows": self.n_rows,
            "weight": self.weight,
            "dtype": self.dtype,
            **{name: array.copy() for name, array in arrays.items()},
        }

    @classmethod
    def from_dict(cls, stored: Any) -> SymmetricMoments:
        """Rebuild sums from what ``to_dict`` returned.

        Parameters
        ----------
        stored : mapping
            Output of ``to_dict``, or a loaded ``numpy.savez`` file of it.

        Returns
        -------
        SymmetricMoments
            The same sums.
        """
        result = cls()
        result.n_features, result.n_outputs = int(stored["n_features"]), int(stored["n_outputs"])
        result.n_rows, result.weight = int(stored["n_rows"]), float(stored["weight"])
        result.dtype = str(stored["dtype"])
        if result.n_features:
            result._second = np.array(stored["second"], dtype=np.float64)
            result._mixed = np.array(stored["mixed"], dtype=np.float64)
            result._sixth = np.array(stored["sixth"], dtype=np.float64)
        return result
