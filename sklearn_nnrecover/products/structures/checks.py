"""Whether a structure keeps the protocol, and whether structures form a chain."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

from sklearn_nnrecover.products.structures.base import Structure


def check_structure(structure: Any, *, random_state: Any = 0) -> None:
    """Test that a structure keeps the protocol: linear, its adjoint and its basis consistent.

    Parameters
    ----------
    structure : object
        The structure, for example one that you wrote yourself.
    random_state : int, RandomState instance or None, default=0
        Seed of the parameters tried.

    Raises
    ------
    ValueError
        If a part disagrees with another, naming it.
    """
    rng = check_random_state(random_state)
    name = type(structure).__name__
    h, g = rng.standard_normal((2, structure.n_parameters))
    M = _dense(structure.matrix(h))
    if M.shape != tuple(structure.shape):
        raise ValueError(f"{name}.matrix returns shape {M.shape}, not shape={structure.shape}.")
    size = max(float(np.abs(M).max()), 1.0)
    combined = _dense(structure.matrix(2 * h - 3 * g)) - 2 * M + 3 * _dense(structure.matrix(g))
    if np.abs(combined).max() > 1e-8 * size:
        raise ValueError(
            f"{name}.matrix is not linear: matrix(2h - 3g) != 2 matrix(h) - 3 matrix(g)."
        )
    if np.abs(np.asarray(structure.basis() @ h).reshape(M.shape) - M).max() > 1e-8 * size:
        raise ValueError(f"{name}.basis() @ h does not give matrix(h), row by row.")
    G = rng.standard_normal(M.shape)
    adjoint = np.asarray(structure.adjoint(G))
    if adjoint.shape != h.shape or abs(adjoint @ h - np.sum(M * G)) > 1e-8 * size * M.size:
        raise ValueError(f"{name}.adjoint is not the adjoint: <adjoint(G), h> != <G, matrix(h)>.")


def check_structures(structures: Any, shape: tuple[int, int] | None = None) -> list[Any]:
    """Test that structures form a chain, and return them as a list.

    Parameters
    ----------
    structures : sequence of structures
        Factors from left to right.
    shape : tuple of (int, int) or None, default=None
        Shape that the product must have.

    Raises
    ------
    ValueError
        If shapes do not fit, or no parameters give a non-zero product; factors are named by index.
    TypeError
        If an entry lacks a part of the protocol.
    """
    if isinstance(structures, Structure) or not hasattr(structures, "__iter__"):
        raise TypeError(
            f"structures must be a list with one structure a factor, got {structures!r}."
        )
    chain = list(structures)
    if not chain:
        raise ValueError("structures is empty: give one structure a factor.")
    for k, structure in enumerate(chain):
        needed = ("shape", "n_parameters", "matrix", "adjoint", "basis")
        missing = [part for part in needed if not hasattr(structure, part)]
        if missing:
            raise TypeError(f"structures[{k}] ({structure!r}) has no {', '.join(missing)}.")
    for k, (left, right) in enumerate(pairwise(chain)):
        if left.shape[1] != right.shape[0]:
            raise ValueError(
                f"structures[{k}] has {left.shape[1]} columns but structures[{k + 1}] has "
                f"{right.shape[0]} rows; the factors of a product must fit together."
            )
    if shape is not None and (chain[0].shape[0], chain[-1].shape[1]) != tuple(shape):
        raise ValueError(
            f"the product of the structures has shape ({chain[0].shape[0]}, "
            f"{chain[-1].shape[1]}): structures[0] has {chain[0].shape[0]} rows and "
            f"structures[{len(chain) - 1}] has {chain[-1].shape[1]} columns, but X has shape "
            f"{tuple(shape)}."
        )
    reached = np.ones(chain[0].shape[0], dtype=bool)
    for k, structure in enumerate(chain):
        rows, columns = written_entries(structure)
        next_reached = np.zeros(structure.shape[1], dtype=bool)
        next_reached[columns[reached[rows]]] = True
        reached = next_reached
        if not reached.any():
            raise ValueError(
                f"the product is zero for all parameters: structures[{k}] has no entry in the "
                f"rows that structures[{max(k - 1, 0)}] reaches."
            )
    return chain


def written_entries(structure: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the entries of a factor that some parameter writes to."""
    basis = structure.basis()
    if sparse.issparse(basis):
        basis = sparse.coo_array(basis)
        flat = np.unique(basis.coords[0][basis.data != 0])
    else:
        flat = np.flatnonzero(np.any(basis, axis=1))
    rows, columns = np.divmod(flat, structure.shape[1])
    return rows, columns


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
