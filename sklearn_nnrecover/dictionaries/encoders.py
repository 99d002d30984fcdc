"""Encoders: from samples to sparse codes.

Samples are rows x, atoms the unit-norm rows of D, z = D x the correlations. A :class:`CodeRule`
says which of the encoders of tied autoencoders is meant:

========== =============================================== ====================================
encoder    active atoms                                    values
========== =============================================== ====================================
threshold  |z_i| > threshold                               z_i (hard thresholding)
relu       |z_i| > threshold                               sign(z_i) (|z_i| - threshold)
jumprelu   |z_i| > threshold_i, one for each atom          z_i
top-k      the n_nonzero largest |z_i|                     least squares on the active atoms
omp        orthogonal matching pursuit, ``n_nonzero``      least squares on the active atoms
           atoms at most; stops at ``threshold``
========== =============================================== ====================================

Non-negative codes use z in place of |z| (then "relu" is relu(D x + b) with bias b = -threshold, the
paper's) and hold no negative value.

References
----------
T. V. Nguyen, R. K. W. Wong, C. Hegde, "Autoencoders learn generative linear models" (2018),
equation (2) and Theorem 3.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    block_rows,
    orthogonal_matching_pursuit,
)

ENCODERS = ("threshold", "relu", "jumprelu", "top-k", "omp")
SEARCHED_FIRST = 12  # atoms tried as the first one where the greedy choice left too much
MAX_SUPPORTS = 300  # up to which all are tried
THRESHOLDING = ("threshold", "relu", "jumprelu")


@dataclass(frozen=True)
class CodeRule:
    """Which encoder, and its constants.

    Attributes
    ----------
    encoder : {"threshold", "relu", "jumprelu", "top-k", "omp"}
        See the table of this module.
    n_nonzero : int
        Largest number of active atoms a sample ("top-k", "omp").
    threshold : float or ndarray of shape (n_components,)
        In the units of z. For "omp", the correlation at which a sample stops.
    nonnegative : bool
        Whether codes must not be negative.
    search_above : float
        "omp" only: squared residual norm above which a sample is searched again on twice as many
        atoms, pruned back to ``n_nonzero``. Greedy picks go wrong in a few samples even with the
        true atoms; their residuals tell.
    """

    encoder: str
    n_nonzero: int
    threshold: float | np.ndarray = 0.0
    nonnegative: bool = False
    search_above: float = np.inf


def encode(
    X: np.ndarray, D: np.ndarray, rule: CodeRule, *, gram: np.ndarray | None = None
) -> sparse.csr_array:
    """Code every row of X.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms in the dtype of X.
    rule : CodeRule
        Encoder and its constants.
    gram : ndarray of shape (n_components, n_components) or None
        ``D @ D.T``, if known ("top-k", "omp").

    Returns
    -------
    codes : csr_array of shape (n_samples, n_components)
        Every row depends on the same row of X alone.
    """
    if rule.encoder in THRESHOLDING:
        return _thresholded(X, D, rule)
    gram = D @ D.T if gram is None else gram
    if rule.encoder == "omp":
        pursuit = orthogonal_matching_pursuit(
            X,
            D,
            rule.n_nonzero,
            gram=gram,
            min_correlation=float(np.max(rule.threshold)),
            nonnegative=rule.nonnegative,
        )
        atoms, values = pursuit.atoms, pursuit.values
        square = np.einsum("ij,ij->i", X, X)
        # The pursuit knows residuals by subtraction only, to a few roundings of the sample.
        resolved = 16 * np.finfo(X.dtype).eps * square
        doubtful = np.flatnonzero(pursuit.residual_square > np.maximum(rule.search_above, resolved))
        if len(doubtful):
            atoms, values = _search_wider(X, D, gram, rule, atoms, values, doubtful)
    else:
        atoms, active, _ = strongest_atoms(X, D, rule.n_nonzero, rule)
        values = least_squares_values(X, D, gram, atoms, active)
    if rule.nonnegative:
        values = nonnegative_least_squares(X, D, gram, atoms, values)
    return padded_to_csr(atoms, values, len(D))


def correlations(X: np.ndarray, D: np.ndarray, nonnegative: bool) -> np.ndarray:
    """Return z = X D' for non-negative codes, |z| for signed ones."""
    z = X @ D.T
    return z if nonnegative else np.abs(z, out=z)


def balanced_threshold(
    X: np.ndarray, D: np.ndarray, usage: float | np.ndarray, nonnegative: bool
) -> float | np.ndarray:
    """The threshold above which correlations are as frequent as active atoms are.

    The paper's threshold a_1 / 2 fails where the crosstalk of inactive atoms, of deviation about
    sqrt(k kappa_2 / n_features), exceeds it. Matching the frequency puts the threshold where the
    two distributions cross, whatever their scales are.

    Parameters
    ----------
    X, D : ndarrays of shapes (n_samples, n_features), (n_components, n_features)
        Samples and unit-norm atoms.
    usage : float or ndarray of shape (n_components,)
        Probability that an atom is active; an array asks for one threshold for each atom.
    nonnegative : bool
        Compare z instead of |z|.

    Returns
    -------
    threshold : float or ndarray of shape (n_components,)
    """
    strength = correlations(X, D, nonnegative)
    if np.ndim(usage) == 0:
        return max(float(np.quantile(strength, 1 - float(usage))), 0.0)
    strength.sort(axis=0)
    index = np.clip(np.ceil((1 - np.asarray(usage)) * len(X)).astype(int), 0, len(X) - 1)
    return np.maximum(strength[index, np.arange(len(D))].astype(np.float64), 0.0)


def padded_to_csr(atoms: np.ndarray, values: np.ndarray, n_components: int) -> sparse.csr_array:
    """Turn padded codes (zero values mean nothing) into canonical CSR."""
    n_samples, width = atoms.shape
    order = np.argsort(atoms, axis=1, kind="stable")
    atoms = np.take_along_axis(atoms, order, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    kept = values != 0
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    if kept.all():
        indices, data = atoms.ravel(), values.ravel()
    else:
        indices, data = atoms[kept], values[kept]
    index_dtype = np.int32 if n_samples * width < 2**31 else np.int64
    return sparse.csr_array(
        (data, indices.astype(index_dtype), indptr.astype(index_dtype)),
        shape=(n_samples, n_components),
    )


def csr_to_padded(codes: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Supports of canonical CSR as a padded array, and the mask of its entries."""
    counts = np.diff(codes.indptr)
    width = max(int(counts.max(initial=1)), 1)
    active = np.arange(width) < counts[:, None]
    atoms = np.zeros((codes.shape[0], width), dtype=np.int32)
    atoms[active] = codes.indices
    return atoms, active


def least_squares_values(
    X: np.ndarray, D: np.ndarray, gram: np.ndarray, atoms: np.ndarray, active: np.ndarray
) -> np.ndarray:
    """Least-squares coefficients on given supports.

    Parameters
    ----------
    X, D, gram : ndarrays
        Samples, unit-norm atoms and ``D @ D.T``.
    atoms : ndarray of shape (n_samples, width)
        Padded supports.
    active : ndarray of shape (n_samples, width), bool
        Which entries of ``atoms`` count.

    Returns
    -------
    values : ndarray of shape (n_samples, width)
        0 where not active. Supports of dependent atoms get the solution of a system whose diagonal
        is raised by a few roundings.
    """
    width = atoms.shape[1]
    values = np.zeros(atoms.shape, dtype=X.dtype)
    lift = 1 + 8 * np.finfo(X.dtype).eps * width
    diagonal = np.arange(width)
    block = max(16, 2**21 // (X.itemsize * width * (X.shape[1] + width)))
    for start in range(0, len(X), block):
        here = slice(start, start + block)
        on, support = active[here], atoms[here]
        system = gram[support[:, :, None], support[:, None, :]] * (on[:, :, None] & on[:, None, :])
        system[:, diagonal, diagonal] = lift
        moments = np.matmul(D[support], X[here][:, :, None]) * on[:, :, None]
        values[here] = np.linalg.solve(system, moments)[:, :, 0]
    return values


def nonnegative_least_squares(
    X: np.ndarray, D: np.ndarray, gram: np.ndarray, atoms: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Drop atoms with negative coefficients and refit the others until none is left."""
    values = values.copy()
    for _ in range(atoms.shape[1]):
        rows = np.flatnonzero((values < 0).any(axis=1))
        if not len(rows):
            break
        values[rows] = least_squares_values(X[rows], D, gram, atoms[rows], values[rows] > 0)
    return np.maximum(values, 0)


def _search_wider(
    X: np.ndarray,
    D: np.ndarray,
    gram: np.ndarray,
    rule: CodeRule,
    atoms: np.ndarray,
    values: np.ndarray,
    rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Search the supports of some rows again and keep what leaves less.

    Where supports are few, all of them are tried. Else tried are pursuits that begin with each of
    the ``SEARCHED_FIRST`` best correlated atoms, and one on twice as many atoms, pruned by dropping
    the smallest coefficients.
    """
    Y, kept_width = X[rows], atoms.shape[1]
    best, weights = atoms[rows], values[rows]
    loss = _loss(Y, D, best, weights)

    def keep(support: np.ndarray, fitted: np.ndarray) -> None:
        if rule.nonnegative:
            fitted = nonnegative_least_squares(Y, D, gram, support, fitted)
        found = _loss(Y, D, support, fitted)
        better = found < 0.9 * loss
        best[better], weights[better], loss[better] = support[better], fitted[better], found[better]

    if math.comb(len(D), kept_width) <= MAX_SUPPORTS:
        support = _nearest_span(Y, D, kept_width)
        keep(support, least_squares_values(Y, D, gram, support, np.ones(support.shape, bool)))
    else:
        n_first = min(SEARCHED_FIRST, len(D))
        order = np.argsort(-correlations(Y, D, rule.nonnegative), axis=1)[:, :n_first]
        for column in order.T[1:] if kept_width > 1 else ():
            pursuit = orthogonal_matching_pursuit(
                Y, D, kept_width, gram=gram, nonnegative=rule.nonnegative, first=column
            )
            keep(pursuit.atoms, pursuit.values)
        width = min(2 * kept_width, len(D), X.shape[1])
        if width > kept_width:
            wide = orthogonal_matching_pursuit(Y, D, width, gram=gram, nonnegative=rule.nonnegative)
            keep(*_pruned(Y, D, gram, wide.atoms, wide.values, kept_width))
    atoms, values = atoms.copy(), values.copy()
    atoms[rows], values[rows] = best, weights
    return atoms, values


def _nearest_span(X: np.ndarray, D: np.ndarray, width: int) -> np.ndarray:
    """The ``width`` atoms whose span is nearest to each row, of all there are."""
    supports = np.array(list(itertools.combinations(range(len(D)), width)), dtype=np.int32)
    bases = np.linalg.qr(D[supports].transpose(0, 2, 1))[0]
    nearest = np.empty(len(X), dtype=np.intp)
    block = max(16, 2**21 // (X.itemsize * len(supports) * width))
    for start in range(0, len(X), block):
        here = slice(start, start + block)
        nearest[here] = np.square(X[here] @ bases).sum(axis=2).argmax(axis=0)
    return supports[nearest]


def _loss(X: np.ndarray, D: np.ndarray, atoms: np.ndarray, values: np.ndarray) -> np.ndarray:
    residual = X - padded_to_csr(atoms, values, len(D)) @ D
    return np.einsum("ij,ij->i", residual, residual)


def _pruned(
    X: np.ndarray,
    D: np.ndarray,
    gram: np.ndarray,
    atoms: np.ndarray,
    values: np.ndarray,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Drop the smallest coefficient and refit until ``width`` atoms are left."""
    active = values != 0
    for _ in range(atoms.shape[1] - width):
        over = np.flatnonzero(active.sum(axis=1) > width)
        if not len(over):
            break
        weakest = np.where(active[over], np.abs(values[over]), np.inf).argmin(axis=1)
        active[over, weakest] = False
        values = least_squares_values(X, D, gram, atoms, active)
    order = np.argsort(~active, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(atoms, order, axis=1), np.take_along_axis(values, order, axis=1)


def strongest_atoms(
    X: np.ndarray, D: np.ndarray, width: int, rule: CodeRule
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Padded supports of the encoders that need one product only.

    Returns
    -------
    atoms : ndarray of shape (n_samples, width), int32
        The ``width`` largest correlations of each sample.
    active : ndarray of shape (n_samples, width), bool
        Those above the threshold; all of them for "top-k".
    z : ndarray of shape (n_samples, width)
        Their signed correlations.
    """
    atoms = np.empty((len(X), width), dtype=np.int32)
    active = np.ones((len(X), width), dtype=bool)
    z = np.empty((len(X), width), dtype=X.dtype)
    limit = np.broadcast_to(np.asarray(rule.threshold, dtype=X.dtype), len(D))
    block = block_rows(len(D), X.itemsize)
    for start in range(0, len(X), block):
        here = slice(start, start + block)
        correlation = X[here] @ D.T
        strength = correlation if rule.nonnegative else np.abs(correlation)
        picked = np.argpartition(strength, -width, axis=1)[:, -width:]
        atoms[here] = picked
        z[here] = np.take_along_axis(correlation, picked, axis=1)
        if rule.encoder != "top-k":
            active[here] = np.take_along_axis(strength, picked, axis=1) > limit[picked]
    return atoms, active, z


def _thresholded(X: np.ndarray, D: np.ndarray, rule: CodeRule) -> sparse.csr_array:
    threshold = np.asarray(rule.threshold, dtype=X.dtype)
    blocks = []
    block = block_rows(len(D), X.itemsize)
    for start in range(0, max(len(X), 1), block):
        z = X[start : start + block] @ D.T
        active = (z if rule.nonnegative else np.abs(z)) > threshold
        if rule.encoder == "relu":
            z -= np.copysign(threshold, z)
        blocks.append(sparse.csr_array(np.where(active, z, 0)))
    return sparse.csr_array(sparse.vstack(blocks, format="csr"))
