"""Linear parametrisations of a factor: ``M(h) = sum_i h_i B_i``.

A *structure* maps ``n_parameters`` numbers to a matrix of a fixed ``shape``, linearly. In the
product ``X = M_1(h_1) ... M_K(h_K)`` the first structure has as many rows as X and the last as many
columns; inner shapes chain.

Everything that accepts structures needs only this protocol::

    shape           (n_rows, n_columns)
    n_parameters    int
    matrix(h)       M(h), a NumPy array or a SciPy sparse array
    adjoint(G)      the vector of inner products <B_i, G>, for a NumPy array G of that shape
    basis()         the matrix (n_rows n_columns, n_parameters) whose column i is B_i, row by row

Subclass `Structure` and write `matrix` alone: the rest follows from it.
:func:`check_structure` tests that the result is linear and that the parts agree.
"""

from sklearn_nnrecover.products.structures.base import EntrywiseStructure, Structure
from sklearn_nnrecover.products.structures.bases import Basis, Restricted, Subspace
from sklearn_nnrecover.products.structures.blocks import Blocks
from sklearn_nnrecover.products.structures.checks import check_structure, check_structures
from sklearn_nnrecover.products.structures.convolutions import Circulant, Convolution, Toeplitz
from sklearn_nnrecover.products.structures.supports import (
    ButterflyLevel,
    Diagonal,
    SparseSupport,
    butterfly_levels,
)

__all__ = [
    "Basis",
    "Blocks",
    "ButterflyLevel",
    "Circulant",
    "Convolution",
    "Diagonal",
    "EntrywiseStructure",
    "Restricted",
    "SparseSupport",
    "Structure",
    "Subspace",
    "Toeplitz",
    "butterfly_levels",
    "check_structure",
    "check_structures",
]
