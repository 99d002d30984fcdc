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
           atoms at most; stops at ``threshold``, and
           drops coefficients that fell to it
========== =============================================== ====================================

Non-negative codes use z in place of |z| (then "relu" is relu(D x + b) with bias b = -threshold, the
paper's) and hold no negative value.

References
----------
T. V. Nguyen, R. K. W. Wong, C. Hegde, "Autoencoders learn generative linear models" (2018),
equation (2) and Theorem 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    block_rows,
    correlations,
    orthogonal_matching_pursuit,
)
from sklearn_nnrecover.dictionaries.supports import (
    least_squares_values,
    nonnegative_least_squares,
    padded_to_csr,
    prune,
)
from sklearn_nnrecover.dictionaries.wider_search import search_wider

ENCODERS = ("threshold", "relu", "jumprelu", "top-k", "omp")
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
        min_correlation = float(np.max(rule.threshold))
        pursuit = orthogonal_matching_pursuit(
            X,
            D,
            rule.n_nonzero,
            gram=gram,
            min_correlation=min_correlation,
            nonnegative=rule.nonnegative,
            follow=False,
        )
        atoms, values = pursuit.atoms, pursuit.values
        square = np.einsum("ij,ij->i", X, X)
        # The pursuit knows residuals by subtraction only, to a few roundings of the sample.
        resolved = 16 * np.finfo(X.dtype).eps * square
        doubtful = np.flatnonzero(pursuit.residual_square > np.maximum(rule.search_above, resolved))
        if len(doubtful):
            atoms[doubtful], values[doubtful] = search_wider(
                X[doubtful],
                D,
                gram,
                atoms[doubtful],
                values[doubtful],
                enough=rule.search_above,
                min_correlation=min_correlation,
                nonnegative=rule.nonnegative,
            )
        if min_correlation > 0:
            atoms, values = prune(gram, atoms, values, rule.n_nonzero, min_correlation)
    else:
        atoms, active, _ = strongest_atoms(X, D, rule.n_nonzero, rule)
        values = least_squares_values(X, D, gram, atoms, active)
    if rule.nonnegative:
        values = nonnegative_least_squares(X, D, gram, atoms, values)
    return padded_to_csr(atoms, values, len(D))


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
