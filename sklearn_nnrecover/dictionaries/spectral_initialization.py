"""Starting atoms from a weighted covariance of the samples (Arora, Ge, Ma and Moitra, 2015).

For two samples u, v that share exactly one atom, the matrix E[(x.u)(x.v) x x'] is close to rank one
along that atom. Pairs whose top singular value stands out are kept, and their directions are the
atoms. It is the start that the theory of the tied autoencoder assumes; on finite data it accepts
mostly spurious directions once samples have more than about three atoms, and starts matter little
where stuck atoms are replaced.

References
----------
S. Arora, R. Ge, T. Ma, A. Moitra, "Simple, efficient, and neural algorithms for sparse coding",
COLT 2015, Algorithm 3.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.dictionaries.alternating_minimization import starting_atoms

POWER_STEPS = 12
MAX_PAIRS_PER_ATOM = 20
MIN_DOMINANCE = 1.5  # first singular value over second


def spectral_atoms(
    X: np.ndarray,
    n_components: int,
    rng: np.random.RandomState,
    *,
    max_coherence: float = 0.7,
) -> np.ndarray:
    """Starting atoms by pairwise reweighting.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    n_components : int
        Number of atoms.
    rng : RandomState
        Draws the pairs, and the power iteration's start.
    max_coherence : float, default=.7
        Directions closer than this to an accepted one are the same atom.

    Returns
    -------
    ndarray of shape (n_components, n_features)
        Unit-norm atoms; where fewer directions were accepted, the rest are normalised samples.
    """
    n_samples, n_features = X.shape
    whitened, unwhiten = _whitened(X)
    accepted = np.empty((0, n_features), dtype=X.dtype)
    for _ in range(MAX_PAIRS_PER_ATOM * n_components):
        first, second = rng.randint(n_samples, size=2)
        weights = (whitened @ whitened[first]) * (whitened @ whitened[second])
        block = rng.standard_normal((n_features, 2)).astype(X.dtype)
        for _ in range(POWER_STEPS):
            block = np.linalg.qr(whitened.T @ (weights[:, None] * (whitened @ block)))[0]
        values = np.linalg.svd(block.T @ (whitened.T @ (weights[:, None] * (whitened @ block))))
        strength = values.S
        if strength[0] < MIN_DOMINANCE * max(strength[1], np.finfo(X.dtype).tiny):
            continue
        direction = unwhiten @ (block @ values.U[:, 0])
        direction /= np.linalg.norm(direction)
        if np.all(np.abs(accepted @ direction) < max_coherence):
            accepted = np.vstack([accepted, direction])
            if len(accepted) == n_components:
                return accepted
    rest = starting_atoms(X, n_components - len(accepted), rng)
    return np.vstack([accepted, rest])


def _whitened(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples of unit covariance, and the map back for directions."""
    values, vectors = np.linalg.eigh(X.T @ X / len(X))
    scale = np.sqrt(np.maximum(values, values[-1] * 1e-6))
    return X @ (vectors / scale) @ vectors.T, (vectors * scale) @ vectors.T
