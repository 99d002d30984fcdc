"""Block matrices of structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from sklearn_nnrecover.products.structures.base import Structure


class Blocks(Structure):
    """Block matrix of structures, such as a convolutional layer with several channels.

    Parameters
    ----------
    grid : sequence of sequences of structure or None
        Blocks; None is a block of zeros. Every block row and column holds one structure at least.
        Parameters are those of the blocks, row by row.
    """

    def __init__(self, grid: Sequence[Sequence[Any]]):
        self.grid = [list(row) for row in grid]
        if not self.grid or len({len(row) for row in self.grid}) != 1 or not self.grid[0]:
            raise ValueError("grid must be a rectangular list of lists of structures or None.")
        heights = [self._extent(row, 0, f"row {i}") for i, row in enumerate(self.grid)]
        columns = zip(*self.grid, strict=True)
        widths = [self._extent(column, 1, f"column {j}") for j, column in enumerate(columns)]
        self._row_start = np.concatenate([[0], np.cumsum(heights)])
        self._column_start = np.concatenate([[0], np.cumsum(widths)])
        self._blocks = [
            (i, j, block)
            for i, row in enumerate(self.grid)
            for j, block in enumerate(row)
            if block is not None
        ]
        sizes = [block.n_parameters for _, _, block in self._blocks]
        self._splits = np.cumsum(sizes)[:-1]
        super().__init__((sum(heights), sum(widths)), sum(sizes))

    @staticmethod
    def _extent(blocks: Sequence[Any], axis: int, where: str) -> int:
        extents = {block.shape[axis] for block in blocks if block is not None}
        if len(extents) != 1:
            raise ValueError(
                f"{where} of the grid must hold structures of one "
                f"{'height' if axis == 0 else 'width'}, got {sorted(extents)}."
            )
        return extents.pop()

    def matrix(self, h: np.ndarray) -> sparse.csr_array:
        """Return M(h) in CSR format."""
        parts = np.split(np.asarray(h, dtype=np.float64), self._splits)
        rows: list[list[Any]] = [
            [sparse.csr_array((int(height), int(width))) for width in np.diff(self._column_start)]
            for height in np.diff(self._row_start)
        ]
        for (i, j, block), part in zip(self._blocks, parts, strict=True):
            rows[i][j] = sparse.csr_array(block.matrix(part))
        return sparse.csr_array(sparse.block_array(rows, format="csr"))

    def adjoint(self, G: Any) -> np.ndarray:
        """Return the inner products ``<B_i, G>``."""
        rows, columns = self._row_start, self._column_start
        return np.concatenate(
            [
                block.adjoint(G[rows[i] : rows[i + 1], columns[j] : columns[j + 1]])
                for i, j, block in self._blocks
            ]
        )

    def basis(self) -> sparse.csc_array:
        """Return the basis, one column a parameter."""
        parts = []
        for i, j, block in self._blocks:
            elements = sparse.coo_array(block.basis())
            row, column = np.divmod(elements.coords[0], block.shape[1])
            flat = (row + self._row_start[i]) * self.shape[1] + column + self._column_start[j]
            parts.append(
                sparse.csc_array(
                    (elements.data, (flat, elements.coords[1])),
                    shape=(self.shape[0] * self.shape[1], block.n_parameters),
                )
            )
        return sparse.hstack(parts, format="csc")
