"""What the data say about each atom of a sparse two-factor product ``Y = C @ D``.

No certificate of global uniqueness is known for two sparse factors (minimising their non-zeros is
hard in the worst case), so four things are measured for each atom:

* *Its values follow from the supports.* A cell (i, j) of Y reached by one hidden node only fixes
  the product ``c_ig d_gj``. When these cells connect all users and columns of atom g, its block of
  Y is known up to the gauge whatever the other atoms are.
* *It is no accident.* The expected number of equally good patterns in a matrix with the same row
  and column weights but no structure, over all choices of users and columns, is at most
  ``ACCIDENTS``. Atoms that pass are subtracted, and the others tested again on what is left.
* *It is no sum of two others.* Where many rows use two atoms together, their sum as a third atom
  shortens the description, whether or not there is a hidden node behind it.
* *No elementary exchange is as short.* Every ``D_a += q D_b, C_b -= q C_a`` that involves it costs
  non-zeros: the solution is isolated among its neighbours in the group of gauge-like changes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln

from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.integer_pursuit import clean
from sklearn_nnrecover.products.row_agreement import agreeing_entries, equal_rows, pattern
from sklearn_nnrecover.products.two_factors.untouched_cells import agreement_probability

ACCIDENTS = 1e-6


class AtomEvidence(NamedTuple):
    """What was measured, per atom.

    Whether it is identified, its number of users, whether its values follow from the supports,
    log10 of the expected number of accidents, non-zeros added by the cheapest exchange.
    """

    identified: np.ndarray
    uses: np.ndarray
    anchored: np.ndarray
    log10_accidents: np.ndarray
    exchange_margin: np.ndarray


def no_evidence(C: sp.csr_array, D: sp.csr_array) -> AtomEvidence:
    """Return the evidence where nothing can be measured."""
    n_atoms = D.shape[0]
    none = np.zeros(n_atoms, dtype=bool)
    uses = np.bincount(C.indices, minlength=n_atoms)
    return AtomEvidence(
        none, uses, none, np.full(n_atoms, np.inf), np.zeros(n_atoms, dtype=np.intp)
    )


class Paths(NamedTuple):
    """Every path i -> g -> j of a product, as indices into the stored entries of both factors."""

    code_entry: np.ndarray
    atom_entry: np.ndarray
    row: np.ndarray
    column: np.ndarray


def paths(C: sp.csr_array, D: sp.csr_array) -> Paths:
    """List the paths of ``C @ D``."""
    weights = np.diff(D.indptr)
    length = weights[C.indices]
    code_entry = np.repeat(np.arange(C.nnz), length)
    offset = np.arange(len(code_entry)) - np.repeat(np.cumsum(length) - length, length)
    atom_entry = D.indptr[C.indices[code_entry]] + offset
    row_of_entry = np.repeat(np.arange(C.shape[0]), np.diff(C.indptr))
    return Paths(code_entry, atom_entry, row_of_entry[code_entry], D.indices[atom_entry])


def atom_evidence(
    Y: sp.csr_array, C: sp.csr_array, D: sp.csr_array, *, same: float | None = None
) -> AtomEvidence:
    """Measure the evidence for each atom of ``Y = C @ D``.

    Parameters
    ----------
    Y : csr_array of shape (n_rows, n_columns)
    C : csr_array of shape (n_rows, n_atoms)
    D : csr_array of shape (n_atoms, n_columns)
    same : float or None
        Probability that two unrelated entries agree; None counts equal magnitudes.

    Returns
    -------
    AtomEvidence
    """
    n_atoms = D.shape[0]
    uses = np.bincount(C.indices, minlength=n_atoms)
    route = paths(C, D)
    cell = route.row.astype(np.int64) * D.shape[1] + route.column
    _, inverse, n_paths = np.unique(cell, return_inverse=True, return_counts=True)
    single = n_paths[inverse] == 1
    edges = sp.coo_array(
        (
            np.ones(int(single.sum())),
            (route.code_entry[single], C.nnz + route.atom_entry[single]),
        ),
        shape=(C.nnz + D.nnz, C.nnz + D.nnz),
    )
    _, component = connected_components(edges, directed=False)
    atom_of_node = np.concatenate((C.indices, np.repeat(np.arange(n_atoms), np.diff(D.indptr))))
    lowest = np.full(n_atoms, np.iinfo(np.int64).max)
    highest = np.full(n_atoms, -1)
    np.minimum.at(lowest, atom_of_node, component)
    np.maximum.at(highest, atom_of_node, component)
    anchored = (lowest == highest) & (uses > 1)
    margin = exchange_margin(C, D)
    eligible = anchored & (margin > 0) & ~in_a_dependent_triple(D)
    identified = np.zeros(n_atoms, dtype=bool)
    log10_accidents = np.full(n_atoms, np.inf)
    left = Y
    while True:
        open_atoms = ~identified
        latest = _log10_accidents(left, C, D, route, single, same)
        log10_accidents[open_atoms] = np.minimum(log10_accidents, latest)[open_atoms]
        passed = open_atoms & eligible & (log10_accidents <= np.log10(ACCIDENTS))
        if not passed.any():
            break
        identified |= passed
        known = np.flatnonzero(identified)
        left = clean(Y - C[:, known] @ D[known], 1e-9 * np.abs(Y.data).max())
        if not left.nnz:
            break
    return AtomEvidence(identified, uses, anchored, log10_accidents, margin)


def _log10_accidents(
    Y: sp.csr_array,
    C: sp.csr_array,
    D: sp.csr_array,
    route: Paths,
    single: np.ndarray,
    same: float | None,
) -> np.ndarray:
    """Return log10 of the expected number of patterns as good as each atom in unstructured data.

    In data with independent entries, cell (i, j) is filled with probability ``r_i c_j / nnz``, and
    a filled cell agrees with the pattern with the probability that two entries of Y have one
    magnitude and sign. The first entry of each user and of each column is free.
    """
    n_rows, n_columns = Y.shape
    n_atoms = D.shape[0]
    row_weight, column_weight = np.diff(Y.indptr), np.bincount(Y.indices, minlength=n_columns)
    filled = np.minimum(row_weight[route.row] * column_weight[route.column] / Y.nnz, 1.0)
    if same is None:
        same = agreement_probability(Y.data)
    atom = C.indices[route.code_entry]
    fill = np.bincount(atom[single], np.log(np.maximum(filled[single], 1e-300)), n_atoms)
    cells = np.bincount(atom[single], minlength=n_atoms)
    uses = np.bincount(C.indices, minlength=n_atoms)
    weights = np.diff(D.indptr)
    repeated = np.maximum(cells - uses - weights + 1, 0)
    choices = _log_binomial(n_rows, uses) + _log_binomial(n_columns, weights)
    return (choices + fill + repeated * np.log(same)) / np.log(10)


def in_a_dependent_triple(D: sp.csr_array) -> np.ndarray:
    """Whether each row is one of three of which two combine to the third.

    The two that share entries with the third agree with it there up to one factor.
    """
    a, b = meeting_rows(D)
    ratio = agreeing_entries(D, a, D, b).ratio
    left = clean(D[a] - sp.diags_array(ratio) @ D[b], 1e-9 * np.abs(D.data).max(initial=0.0))
    return members_of_triples(row_gauge(D)[0], a, b, row_gauge(left)[0])


def meeting_rows(D: sp.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of rows a < b with a column in common."""
    a, b = sp.coo_array(pattern(D) @ pattern(D).T.tocsr()).coords
    return a[a < b], b[a < b]


def members_of_triples(
    D: sp.csr_array, a: np.ndarray, b: np.ndarray, left: sp.csr_array
) -> np.ndarray:
    """Whether each row of D is a, b or the third that equals what b left of a."""
    # The seed only hides rows from one another with probability zero.
    third = equal_rows(D, left, np.random.RandomState(0))
    dependent = (third >= 0) & (np.diff(left.indptr) > 0)
    result = np.zeros(D.shape[0], dtype=bool)
    for member in (a, b, third):
        result[member[dependent]] = True
    return result


def _log_binomial(n: int, k: np.ndarray) -> np.ndarray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def exchange_margin(C: sp.csr_array, D: sp.csr_array) -> np.ndarray:
    """Return, for each atom, the non-zeros added by the cheapest elementary exchange it is part of.

    Only exchanges that cancel something can be cheap: those with q a repeated ratio of two columns
    of C, or of two rows of D. Any other costs at least the shorter of the two.
    """
    n_atoms = D.shape[0]
    columns = C.T.tocsr()
    columns.sort_indices()
    uses, weights = np.diff(columns.indptr), np.diff(D.indptr)
    together = (pattern(columns) @ pattern(C)).tocoo()
    shared = (pattern(D) @ pattern(D).T.tocsr()).tocoo()
    first = np.concatenate((together.row, shared.row))
    second = np.concatenate((together.col, shared.col))
    pairs = np.unique(first.astype(np.int64) * n_atoms + second)
    a, b = pairs // n_atoms, pairs % n_atoms
    keep = a != b
    a, b = a[keep], b[keep]
    # D_a += q D_b and C_b -= q C_a: non-zeros added = (|D_b| - overlap - cancelled) + same for C.
    by_atom = agreeing_entries(D, a, D, b)
    by_code = agreeing_entries(columns, b, columns, a)
    base = weights[b] - by_atom.overlap + uses[a] - by_code.overlap
    same_ratio = np.isclose(by_code.ratio, -by_atom.ratio, rtol=1e-7)
    cancelled = np.where(
        same_ratio,
        by_atom.agreeing + by_code.agreeing,
        np.maximum(by_atom.agreeing, by_code.agreeing),
    )
    added = base - cancelled
    margin = weights + uses
    np.minimum.at(margin, a, added)
    np.minimum.at(margin, b, added)
    return margin
