"""Weight sharing along diagonals: convolutions, circulant and Toeplitz matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sklearn_nnrecover.products.structures.base import EntrywiseStructure


class Convolution(EntrywiseStructure):
    """Convolution of a signal of length n with a kernel on a known support.

    ``(M(h) x)[r] = sum_i h[i] x[r - dilation * support[i]]``.

    Parameters
    ----------
    n : int
        Length of the signal that M(h) acts on: its number of columns.
    support : int or sequence of int
        Positions of the kernel's coefficients; an int means ``range(support)``.
    dilation : int, default=1
        Multiplies the positions.
    boundary : {"circular", "zero", "full", "valid"}, default="circular"
        ``"circular"`` wraps around and ``"zero"`` cuts off (both n rows); ``"full"`` keeps every
        output that some input reaches and ``"valid"`` only those that see the whole kernel.

    Examples
    --------
    >>> from sklearn_nnrecover.products.structures import Convolution
    >>> Convolution(3, 2, boundary="full").matrix([1.0, 2.0]).toarray()
    array([[1., 0., 0.],
           [2., 1., 0.],
           [0., 2., 1.],
           [0., 0., 2.]])
    """

    def __init__(
        self,
        n: int,
        support: int | Sequence[int],
        *,
        dilation: int = 1,
        boundary: str = "circular",
    ):
        positions = np.asarray(support)
        if positions.ndim == 0:
            positions = np.arange(int(positions))
        if not positions.size:
            raise ValueError("Convolution has an empty support: give at least one position.")
        if len(np.unique(positions)) < len(positions):
            raise ValueError(f"support holds a position twice: {positions.tolist()}.")
        shifts = np.asarray(positions, dtype=np.intp) * int(dilation)
        reach = int(shifts.max() - shifts.min())
        columns = np.broadcast_to(np.arange(n), (len(shifts), n))
        rows = columns + shifts[:, None]
        parameter = np.broadcast_to(np.arange(len(shifts))[:, None], rows.shape)
        if boundary == "circular":
            n_rows, rows = n, rows % n
        elif boundary == "zero":
            n_rows = n
        elif boundary == "full":
            n_rows, rows = n + reach, rows - shifts.min()
        elif boundary == "valid":
            n_rows, rows = n - reach, rows - shifts.max()
        else:
            raise ValueError(
                f"boundary must be one of ['circular', 'full', 'valid', 'zero'], got {boundary!r}."
            )
        if n_rows < 1:
            raise ValueError(
                f"a kernel that reaches over {reach + 1} positions leaves no valid output on a "
                f"signal of length {n}."
            )
        inside = (rows >= 0) & (rows < n_rows)
        super().__init__(
            (n_rows, n), rows[inside], columns[inside], parameter[inside], 1.0, len(shifts)
        )


class Circulant(Convolution):
    """Circulant matrix with first column h.

    Parameters
    ----------
    n : int
        Order of the matrix.
    """

    def __init__(self, n: int):
        super().__init__(n, n)


class Toeplitz(EntrywiseStructure):
    """Matrix that is constant along diagonals.

    Parameters
    ----------
    shape : tuple of (int, int)
        Shape of the factor.
    diagonals : sequence of int or None, default=None
        Free diagonals, column minus row; by default all, from the lowest to the highest.
    """

    def __init__(self, shape: tuple[int, int], diagonals: Sequence[int] | None = None):
        if diagonals is None:
            diagonals = range(1 - shape[0], shape[1])
        chosen = np.asarray(diagonals, dtype=np.intp)
        if not chosen.size:
            raise ValueError("Toeplitz has an empty support: give at least one diagonal.")
        if len(np.unique(chosen)) < len(chosen):
            raise ValueError(f"diagonals holds a diagonal twice: {chosen.tolist()}.")
        if chosen.min() <= -shape[0] or chosen.max() >= shape[1]:
            raise ValueError(f"diagonals {chosen.tolist()} leave the shape {tuple(shape)}.")
        lookup = np.full(shape[0] + shape[1] - 1, -1)
        lookup[chosen + shape[0] - 1] = np.arange(len(chosen))
        rows, columns = np.indices(shape)
        parameter = lookup[columns - rows + shape[0] - 1]
        inside = parameter >= 0
        super().__init__(shape, rows[inside], columns[inside], parameter[inside], 1.0, len(chosen))
