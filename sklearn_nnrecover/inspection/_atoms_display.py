"""The atoms of a dictionary as images."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_nnrecover.inspection._axes import NOT_IDENTIFIED, axes_or_new


class AtomsDisplay:
    """Mosaic of the atoms of a dictionary, drawn as small images.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, height, width)
        Images.
    identified : ndarray of bool, shape (n_atoms,)
        Whether the data pin the atom down; others are framed.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Its figure.
    """

    def __init__(self, atoms: np.ndarray, identified: np.ndarray) -> None:
        self.atoms = atoms
        self.identified = identified

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, int] | None = None,
        max_atoms: int = 144,
        ax: Any = None,
    ) -> AtomsDisplay:
        """Draw the atoms of a fitted estimator.

        Parameters
        ----------
        estimator : fitted TiedAutoencoder
            Its ``components_`` are drawn in their order, its report frames what is not identified.
        image_shape : pair of int or None, default=None
            Height and width of an atom; None: square.
        max_atoms : int, default=144
            Largest number of atoms drawn.
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        AtomsDisplay
            The display, drawn.
        """
        atoms = np.asarray(estimator.components_)[:max_atoms]
        side = int(np.sqrt(atoms.shape[1]))
        shape = (side, side) if image_shape is None else image_shape
        if shape[0] * shape[1] != atoms.shape[1]:
            raise ValueError(
                f"atoms have {atoms.shape[1]} entries, which image_shape={shape} does not hold."
            )
        identified = np.asarray(estimator.report_.identified, dtype=bool)[: len(atoms)]
        return cls(atoms.reshape(-1, *shape), identified).plot(ax=ax)

    def plot(self, ax: Any = None, **image_options: Any) -> AtomsDisplay:
        """Draw the mosaic; every atom has its own symmetric grey scale.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; None makes a figure.
        **image_options
            Passed to `Axes.imshow`.

        Returns
        -------
        AtomsDisplay
            This display, drawn.
        """
        ax = axes_or_new(ax, figsize=(6, 6))
        n_atoms, height, width = self.atoms.shape
        columns = max(1, int(np.ceil(np.sqrt(n_atoms))))
        rows = -(-n_atoms // columns)
        mosaic = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
        for index, atom in enumerate(self.atoms):
            top = index // columns * (height + 1) + 1
            left = index % columns * (width + 1) + 1
            size = np.max(np.abs(atom)) or 1.0
            mosaic[top : top + height, left : left + width] = atom / size
            if not self.identified[index]:
                ax.plot(
                    left - 0.75 + np.array([0, width + 0.5, width + 0.5, 0, 0]),
                    top - 0.75 + np.array([0, 0, height + 0.5, height + 0.5, 0]),
                    color=NOT_IDENTIFIED,
                    linewidth=0.8,
                )
        options = {"cmap": "gray", "vmin": -1, "vmax": 1, "interpolation": "nearest"}
        ax.imshow(mosaic, **{**options, **image_options})
        ax.set_axis_off()
        self.ax_, self.figure_ = ax, ax.figure
        return self
