"""Diagonal rescalings that leave a set of monomials unchanged.

The entries of a matrix product are sums of monomials: one parameter of each factor along a path.
A rescaling h_i -> s_i exp(t_i) h_i keeps every monomial when ``incidence @ t = 0`` and when the
number of sign changes along each path is even. Those rescalings form a group: a vector space of
logarithmic scales times a group of signs, the null space of the incidence matrix over the field
of two elements. Two parameter vectors are compared modulo that group by *balancing* both (the
representative of least Euclidean norm, unique up to signs) and then choosing signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from scipy import sparse

BALANCE_ITERATIONS = 100
ENUMERATED_SIGN_BITS = 12


class Rescalings(NamedTuple):
    """A group of rescalings of a vector of n_parameters entries.

    Attributes
    ----------
    log_scales : ndarray of shape (n_parameters, dimension)
        Orthonormal basis of the logarithms of the positive rescalings.
    signs : ndarray of bool of shape (n_parameters, n_bits)
        Generators of the sign changes, True where the sign changes.
    """

    log_scales: np.ndarray
    signs: np.ndarray

    @property
    def dimension(self) -> int:
        """Dimension of the group."""
        return self.log_scales.shape[1]


def layer_rescalings(sizes: Sequence[int]) -> Rescalings:
    """Rescalings of whole layers whose factors multiply to 1: dimension K - 1.

    Parameters
    ----------
    sizes : sequence of int
        Number of parameters of each layer.
    """
    layers = np.repeat(np.eye(len(sizes)), sizes, axis=0)
    balanced = scipy.linalg.null_space(np.ones((1, len(sizes))))
    basis = np.linalg.qr(layers @ balanced)[0]
    return Rescalings(basis, (layers[:, :-1] + layers[:, 1:]) > 0)


def path_rescalings(paths: np.ndarray, sizes: Sequence[int]) -> Rescalings:
    """Rescalings that keep the product of one parameter a layer along every path.

    Parameters
    ----------
    paths : ndarray of int of shape (n_paths, K)
        Index of the parameter of each layer, path by path.
    sizes : sequence of int
        Number of parameters of each layer.

    Returns
    -------
    Rescalings
        Of dimension ``sum(sizes) - rank(incidence)``, at least K - 1. A parameter on no path is
        left alone: it is free, not rescaled.
    """
    n_paths = len(paths)
    columns = paths + np.concatenate([[0], np.cumsum(sizes)[:-1]])
    n_parameters = int(np.sum(sizes))
    incidence = sparse.csr_array(
        (np.ones(columns.size), columns.ravel(), np.arange(n_paths + 1) * paths.shape[1]),
        shape=(n_paths, n_parameters),
    )
    # The Gram matrix holds small integers: its null eigenvalues are zeros to rounding.
    gram = (incidence.T @ incidence).toarray()
    unused = np.diag(gram) == 0
    gram[unused, unused] = 1.0
    eigenvalues, vectors = np.linalg.eigh(gram)
    null = eigenvalues <= n_parameters * np.finfo(float).eps * eigenvalues[-1]
    signs = _binary_null_space(columns, n_parameters)
    return Rescalings(vectors[:, null], signs[:, ~signs[unused].any(axis=0)])


def _binary_null_space(rows: np.ndarray, n_columns: int) -> np.ndarray:
    """Null space over two elements of the 0/1 matrix whose row i has ones at ``rows[i]``.

    Rows are packed into Python integers, so that adding two rows is one exclusive or.
    """
    pivots: dict[int, int] = {}
    for row in np.unique(rows, axis=0).tolist():
        word = 0
        for column in row:
            word ^= 1 << column
        while word:
            lead = word.bit_length() - 1
            if lead not in pivots:
                pivots[lead] = word
                break
            word ^= pivots[lead]
    free = [column for column in range(n_columns) if column not in pivots]
    null = np.zeros((n_columns, len(free)), dtype=bool)
    null[free, range(len(free))] = True
    # A pivot is the highest bit of its word: the lower bits are known when it is their turn.
    for lead in sorted(pivots):
        lower = [c for c in range(lead) if pivots[lead] >> c & 1]
        null[lead] = np.logical_xor.reduce(null[lower], axis=0) if lower else False
    return null


def balance(parameters: np.ndarray, group: Rescalings) -> np.ndarray:
    """Representative of least Euclidean norm of the orbit under positive rescalings.

    The squared norm is convex in the logarithms of the scales; Newton's method with step halving
    finds its minimum.

    Parameters
    ----------
    parameters : ndarray of shape (n_parameters,)
        Concatenated parameters.
    group : Rescalings
        The group.
    """
    if not group.dimension:
        return parameters.copy()
    basis = group.log_scales
    squares = parameters**2
    if not squares.any():
        return parameters.copy()
    t = np.zeros(group.dimension)
    weights = squares
    for _ in range(BALANCE_ITERATIONS):
        hessian = (basis.T * weights) @ basis
        hessian.flat[:: group.dimension + 1] += 1e-15 * np.trace(hessian)
        step = -0.5 * np.linalg.solve(hessian, basis.T @ weights)
        length = float(np.abs(basis @ step).max())
        step *= min(1.0, 4.0 / max(length, 4.0))
        # Close to the minimum its value is flat to rounding: Newton's step needs no test there.
        halvings = 0 if length < 1e-4 else 30
        candidate = squares * np.exp(2 * (basis @ (t + step)))
        while halvings and candidate.sum() > weights.sum():
            step /= 2
            halvings -= 1
            candidate = squares * np.exp(2 * (basis @ (t + step)))
        t, weights = t + step, candidate
        if length < 1e-14:
            break
    return parameters * np.exp(basis @ t)


def gauge_tangent(parameters: np.ndarray, group: Rescalings) -> np.ndarray:
    """Orthonormal basis of the directions in which rescalings move the parameters.

    Parameters
    ----------
    parameters : ndarray of shape (n_parameters,)
        Concatenated parameters; zeros do not move, and may lower the dimension.
    group : Rescalings
        The group.

    Returns
    -------
    ndarray of shape (n_parameters, at most group.dimension)
    """
    return orthonormal_range(group.log_scales * parameters[:, None])


def orthonormal_range(columns: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the span of columns that may depend on each other."""
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, singular > 1e-10 * singular.max(initial=0.0)]


def align_signs(
    parameters: np.ndarray, reference: np.ndarray, group: Rescalings, p: float = 2.0
) -> np.ndarray:
    """Apply the group's sign changes that bring `parameters` close to `reference` in the p-norm.

    Exact by enumeration up to 12 generators. Beyond, the signs of the entries that matter most are
    matched first (information-set decoding), which is exact when the two agree to small errors.

    Parameters
    ----------
    parameters, reference : ndarray of shape (n_parameters,)
        Balanced parameters.
    group : Rescalings
        The group.
    p : float, default=2.0
        Norm, at least 1, or ``inf``.

    Returns
    -------
    ndarray of shape (n_parameters,)
    """
    n_bits = group.signs.shape[1]
    if n_bits <= ENUMERATED_SIGN_BITS:
        codes = (np.arange(2**n_bits)[:, None] >> np.arange(n_bits)) & 1
        flips = (codes @ group.signs.T) % 2 == 1
        candidates = np.where(flips, -parameters, parameters)
        costs = np.linalg.norm(candidates - reference, ord=p, axis=1)
        return candidates[np.argmin(costs)]
    importance = np.abs(np.abs(parameters - reference) - np.abs(parameters + reference))
    order = np.argsort(-importance, kind="stable")
    wanted = parameters * reference < 0
    flips = _nearest_binary(group.signs[order], wanted[order])[np.argsort(order)]
    return np.where(flips, -parameters, parameters)


def _nearest_binary(generators: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Combination of the generators equal to `wanted` on the first independent rows."""
    rows, target = generators.copy(), np.zeros(len(wanted), dtype=bool)
    difference = wanted.copy()
    free = np.ones(rows.shape[1], dtype=bool)
    for i in range(len(rows)):
        candidates = np.flatnonzero(rows[i] & free)
        if not candidates.size:
            continue
        pivot = candidates[0]
        free[pivot] = False
        if difference[i]:
            target ^= rows[:, pivot]
            difference ^= rows[:, pivot]
        others = candidates[1:]
        rows[:, others] ^= rows[:, [pivot]]
        if not free.any():
            break
    return target


def solve_binary(rows: np.ndarray, target: np.ndarray, n_columns: int) -> np.ndarray:
    """Solve a sparse linear system over two elements; of contradicting rows the earlier ones hold.

    Parameters
    ----------
    rows : ndarray of int of shape (n_rows, K)
        Columns of the ones of each equation, the most certain first.
    target : ndarray of bool of shape (n_rows,)
        Right-hand sides.
    n_columns : int
        Number of unknowns.

    Returns
    -------
    ndarray of bool of shape (n_columns,)
        A solution, False where it is free.
    """
    pivots: dict[int, int] = {}
    for row, value in zip(rows.tolist(), target.tolist(), strict=True):
        word = int(value)  # bit 0 is the right-hand side, bit c + 1 column c
        for column in row:
            word ^= 2 << column
        while word > 1:
            lead = word.bit_length() - 1
            if lead not in pivots:
                pivots[lead] = word
                break
            word ^= pivots[lead]
    solution = 1
    for lead in sorted(pivots):
        if (pivots[lead] & solution).bit_count() % 2:
            solution |= 1 << lead
    return np.array([solution >> (c + 1) & 1 for c in range(n_columns)], dtype=bool)


def rescaled_distance(
    hs: Sequence[np.ndarray],
    gs: Sequence[np.ndarray],
    p: float = 2.0,
    gauge: Rescalings | None = None,
) -> float:
    """Distance ``d_p`` of two lists of non-zero vectors, modulo rescalings.

    Parameters
    ----------
    hs, gs : sequence of K ndarrays
        Parameters, layer by layer.
    p : float, default=2.0
        Norm.
    gauge : Rescalings or None, default=None
        Group of the concatenated parameters. None takes the scales of layers, with the
        representatives whose largest entries agree over all layers.
    """
    if gauge is not None:
        reference = balance(np.concatenate(gs), gauge)
        aligned = align_signs(balance(np.concatenate(hs), gauge), reference, gauge, p)
        return float(np.linalg.norm(aligned - reference, ord=p))
    hs, gs = _equal_largest_entries(hs), _equal_largest_entries(gs)
    kept, flipped = (
        np.array([np.linalg.norm(a - sign * b, ord=p) for a, b in zip(hs, gs, strict=True)])
        for sign in (1, -1)
    )
    flip = flipped < kept
    if flip.sum() % 2:  # one factor more or less, the cheapest
        trials = [np.logical_xor(flip, np.arange(len(hs)) == k) for k in range(len(hs))]
    else:
        trials = [flip]
    return float(min(np.linalg.norm(np.where(f, flipped, kept), ord=p) for f in trials))


def _equal_largest_entries(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    largest = np.array([np.abs(part).max() for part in parts])
    common = np.exp(np.mean(np.log(largest)))
    return [part * (common / top) for part, top in zip(parts, largest, strict=True)]
