"""A uniform random sample of bounded size of rows that pass by."""

from __future__ import annotations

import numpy as np


class RowSample:
    """Keeps the rows of the smallest random keys (reservoir sampling).

    Parameters
    ----------
    size : int
        Most rows kept.
    seed : int
        Seed of the keys.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.rng = np.random.RandomState(seed)
        self.keys = np.zeros(0)
        self.arrays: tuple[np.ndarray, ...] = ()

    def add(self, *arrays: np.ndarray) -> None:
        """Offer rows: arrays of equal length, the same number of them each time."""
        keys = np.concatenate([self.keys, self.rng.random_sample(len(arrays[0]))])
        if self.arrays:
            arrays = tuple(
                np.concatenate([old, new]) for old, new in zip(self.arrays, arrays, strict=True)
            )
        kept = np.sort(np.argsort(keys, kind="stable")[: self.size])
        self.keys, self.arrays = keys[kept], tuple(array[kept].copy() for array in arrays)
