"""Do the data pin the atoms down? Agreement of two halves, local isolation, standard errors."""

from __future__ import annotations

import numpy as np
from scipy import sparse, stats
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from sklearn_nnrecover.dictionaries.supports import csr_to_padded

LANCZOS_STEPS = 80
ISOLATION_MEBIBYTES = 64  # for the spans of the samples that are looked at
MAX_ISOLATION_UNKNOWNS = 2_000_000  # atoms times features; beyond, isolation is not attempted


def matched_cosines(D: np.ndarray, other: np.ndarray, *, signed: bool = True) -> np.ndarray:
    """Cosine of every atom of D with its partner in ``other``, by an optimal assignment."""

    def unit(A: np.ndarray) -> np.ndarray:
        norms = np.linalg.norm(A, axis=1, keepdims=True)
        return A / np.where(norms > 0, norms, 1)

    cosine = unit(D) @ unit(other).T
    cosine = np.abs(cosine) if signed else cosine
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    matched = np.zeros(len(D))
    matched[rows] = cosine[rows, columns]
    return matched


def matched_distances(D: np.ndarray, other: np.ndarray, *, signed: bool = True) -> np.ndarray:
    """Distance of every atom of D to its partner in ``other`` (up to sign), from differences."""
    product = D @ other.T
    square = np.einsum("ij,ij->i", D, D)[:, None] + np.einsum("ij,ij->i", other, other)
    rows, columns = linear_sum_assignment(square - 2 * (np.abs(product) if signed else product))
    partner = other[columns]
    if signed:
        partner = partner * np.where(product[rows, columns] < 0, -1.0, 1.0)[:, None]
    distance = np.full(len(D), np.inf)
    distance[rows] = np.linalg.norm(D[rows] - partner, axis=1)
    return distance


def agreement_threshold(n_components: int, n_features: int) -> float:
    """Cosine that counts as agreement: .95, or more where chance reaches it.

    Random atoms match an atom this well with probability .01 over the whole dictionary at most.
    """
    if n_features < 2:
        return 1.0
    chance = stats.beta.isf(0.01 / n_components**2, 0.5, (n_features - 1) / 2)
    return float(max(0.95, np.sqrt(chance)))


def standard_errors(
    D: np.ndarray, code_gram: np.ndarray, noise_variance: float, n_nonzero: int
) -> np.ndarray:
    """Standard errors of the entries of unit-norm atoms.

    With noise of variance s^2 the least-squares atoms have covariance s^2 (C'C)^-1, widened by
    n / (n - k) because the codes are estimated from the same samples, and no variance along the
    atom itself, which is normalised. Summed over an atom this is the noise floor
    s sqrt(n m / (N k kappa_2)) of incoherent atoms.

    Parameters
    ----------
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms.
    code_gram : ndarray of shape (n_components, n_components)
        C'C over all samples.
    noise_variance : float
        Variance of one entry of the noise.
    n_nonzero : int
        Atoms a sample.

    Returns
    -------
    ndarray of shape (n_components, n_features)
        inf for atoms that no sample uses.
    """
    n_features = D.shape[1]
    errors = np.full(D.shape, np.inf)
    used = np.flatnonzero(np.diagonal(code_gram) > 0)
    if not len(used):
        return errors
    scale = 1 / np.sqrt(np.diagonal(code_gram)[used])
    system = code_gram[np.ix_(used, used)] * scale[:, None] * scale
    inverse = np.diagonal(np.linalg.pinv(system, hermitian=True))
    variance = noise_variance * inverse * scale**2 * n_features / max(n_features - n_nonzero, 1)
    tangential = np.maximum(1 - D[used] ** 2, 0)
    errors[used] = np.sqrt(np.maximum(variance, 0)[:, None] * tangential)
    return errors


def isolation(codes: sparse.csr_array, D: np.ndarray, rng: np.random.RandomState) -> float:
    """How firmly the samples hold the dictionary, to first order.

    A change E of the atoms leaves noiseless samples explained by their supports if and only if
    every row of C E lies in the span of that sample's atoms. The scales of atoms always do.
    Returned is the smallest eigenvalue of E -> C' P (C E) on changes orthogonal to the atoms, in
    units of the atoms' code energies, P projecting away each sample's span: positive means that
    the dictionary is isolated among all with the same supports; 1 is what orthogonal codes in
    many dimensions reach.

    Parameters
    ----------
    codes : csr_array of shape (n_samples, n_components)
        Codes; some of the samples suffice, more can only raise the value.
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms.
    rng : RandomState
        Draws the start of the Lanczos iteration.

    Returns
    -------
    float
        0 when an atom is unused, the problem too large, or the iteration did not settle.
    """
    n_components, n_features = D.shape
    widest = max(int(np.diff(codes.indptr).max(initial=1)), 1)
    rows = int(ISOLATION_MEBIBYTES * 2**20 / (8 * n_features * widest))
    if codes.shape[0] > rows:
        codes = codes[np.sort(rng.permutation(codes.shape[0])[:rows])]
    energy = np.bincount(codes.indices, weights=codes.data**2, minlength=n_components)
    size = n_components * n_features
    if not np.all(energy > 0) or n_features < 2 or size > MAX_ISOLATION_UNKNOWNS:
        return 0.0
    atoms, active = csr_to_padded(codes)
    basis = np.linalg.qr((D[atoms] * active[:, :, None]).transpose(0, 2, 1))[0]
    basis = basis * active[:, None, :]
    scaled = codes.multiply(1 / np.sqrt(energy)).tocsr()
    transposed = scaled.T.tocsr()

    def tangential(E: np.ndarray) -> np.ndarray:
        return E - np.einsum("ij,ij->i", E, D)[:, None] * D

    def apply(vector: np.ndarray) -> np.ndarray:
        E = vector.reshape(n_components, n_features)
        inner = tangential(E)
        change = scaled @ inner
        inside = np.matmul(basis.transpose(0, 2, 1), change[:, :, None])
        change = change - np.matmul(basis, inside)[:, :, 0]
        # The atoms' own directions get eigenvalue 2, out of the way of the smallest.
        return (tangential(transposed @ change) + 2 * (E - inner)).ravel()

    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    if size <= 64:
        dense = np.stack([apply(row) for row in np.eye(size)])
        return float(max(np.linalg.eigvalsh((dense + dense.T) / 2)[0], 0.0))
    # A loose tolerance or few basis vectors would settle on the second eigenvalue: one of many
    # steps amplifies an isolated null vector from any start.
    basis_size = min(LANCZOS_STEPS, size - 1)
    start = rng.standard_normal(size)
    try:
        values, vectors = eigsh(
            operator, k=1, which="SA", v0=start, ncv=basis_size, tol=1e-2, maxiter=12
        )
    except ArpackNoConvergence as stopped:
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
        if not len(values):
            return 0.0
    smallest = int(np.argmin(values))
    vector = vectors[:, smallest]
    error = float(np.linalg.norm(apply(vector) - values[smallest] * vector))
    return float(max(values[smallest] - error, 0.0))
