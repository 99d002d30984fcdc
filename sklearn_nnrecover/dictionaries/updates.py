"""Dictionary updates from codes.

Samples and codes are rows: X (n_samples, n_features), C (n_samples, n_components), unit-norm atoms
D (n_components, n_features). Either update is followed by the normalisation of every atom; atoms
that no sample uses stay as they are.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse


def normalized_rows(D: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    """Scale rows to unit norm; rows that are zero or not finite are taken from ``fallback``."""
    norms = np.linalg.norm(D, axis=1, keepdims=True)
    usable = np.isfinite(norms) & (norms > np.finfo(D.dtype).tiny)
    return np.where(usable, D / np.where(usable, norms, 1), fallback)


def code_moments(codes: sparse.csr_array, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums over samples that the preconditioned update needs: C'C and C'X, dense."""
    transposed = codes.T
    return (transposed @ codes).toarray(), transposed @ X


def preconditioned_update(
    code_gram: np.ndarray, cross: np.ndarray, D: np.ndarray, ridge: float
) -> np.ndarray:
    """The decoder gradient preconditioned by the code covariance: normalise((C'C + eps I)^-1 C'X).

    Parameters
    ----------
    code_gram : ndarray of shape (n_components, n_components)
        C'C.
    cross : ndarray of shape (n_components, n_features)
        C'X.
    D : ndarray of shape (n_components, n_features)
        Atoms kept where no sample uses them.
    ridge : float
        eps relative to the diagonal of C'C, entry by entry. It caps the accuracy: a few roundings
        once the codes are right.

    Returns
    -------
    D : ndarray of shape (n_components, n_features)
    """
    usage = np.diagonal(code_gram)
    used = np.flatnonzero(usage > 0)
    updated = D.copy()
    if not len(used):
        return updated
    scale = 1 / np.sqrt(usage[used])
    system = code_gram[np.ix_(used, used)] * scale[:, None] * scale[None, :]
    system[np.diag_indices_from(system)] = 1 + ridge
    target = cross[used] * scale[:, None]
    try:
        solution = linalg.cho_solve(
            linalg.cho_factor(system, check_finite=False), target, check_finite=False
        )
    except linalg.LinAlgError:
        solution = linalg.lstsq(system, target, check_finite=False)[0]
    updated[used] = normalized_rows(solution * scale[:, None], D[used])
    return updated


def tied_gradient(
    X: np.ndarray, codes: sparse.csr_array, D: np.ndarray, *, bias: float = 0.0
) -> np.ndarray:
    """Mean over samples of the paper's approximate gradient of the weight-sharing autoencoder.

    For an atom w_i the gradient of |x - c D|^2 / 2 is, with 1[c_i != 0] in place of the derivative
    of the activation (the equation below (4)),

        - 1[c_i != 0] ((w_i . x + b_i) I + x w_i') (x - c D).

    Parameters
    ----------
    X, codes, D : arrays
        Samples, their codes, unit-norm atoms.
    bias : float, default=0.0
        b, added to the correlations of active atoms.

    Returns
    -------
    gradient : ndarray of shape (n_components, n_features)
    """
    residual = X - codes @ D
    rows, columns = codes.nonzero()
    correlation = sparse.csr_array(
        (np.einsum("ij,ij->i", X[rows], D[columns]) + bias, (rows, columns)), shape=codes.shape
    )
    alignment = sparse.csr_array(
        (np.einsum("ij,ij->i", residual[rows], D[columns]), (rows, columns)), shape=codes.shape
    )
    return -(correlation.T @ residual + alignment.T @ X) / len(X)


def decoder_gradient(
    code_gram: np.ndarray, cross: np.ndarray, D: np.ndarray, n_samples: int
) -> np.ndarray:
    """Mean gradient of the decoder alone, (C'C D - C'X) / n_samples.

    The encoder's term of :func:`tied_gradient` changes no fixed point and costs a product more.
    """
    return (code_gram @ D - cross) / n_samples


def gradient_update(
    gradient: np.ndarray, D: np.ndarray, code_energy: np.ndarray, rate: float
) -> np.ndarray:
    """Descend and normalise: D_i <- normalise(D_i - rate / E[c_i^2] gradient_i).

    Parameters
    ----------
    gradient, D : ndarrays of shape (n_components, n_features)
        Mean gradient and unit-norm atoms.
    code_energy : ndarray of shape (n_components,)
        E[c_i^2], the mean square of each code entry: rates of .5 to 1 in its units converge, 1.5
        does not. (The paper's rate m / k is rate = 1 for codes of unit variance.)
    rate : float
        Step in those units.
    """
    used = code_energy > 0
    step = rate / np.where(used, code_energy, 1)
    moved = D - np.where(used, step, 0).astype(D.dtype)[:, None] * gradient
    return normalized_rows(moved, D)
