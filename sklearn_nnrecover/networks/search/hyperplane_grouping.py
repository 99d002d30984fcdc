"""From too many hidden units to as many as there are hyperplanes.

In an exact fit with free linear features, y = relu(z V) A + z B, a unit matters only through its
kink, the hyperplane z v = 0. Spare units end as copies of a true hyperplane, or beside one where
no sample lies between, or beyond all samples. The first and the last kind are linear combinations
of the other features and can be dropped for nothing; the second kind is merged with its
neighbour, since units that are active on the same samples act as one:

    sum_j relu(z v_j) a_j = 1[active] z (sum_j v_j a_j'),       a matrix of rank one.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.model.rectified_activations import RELU
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.search.variable_projection import Fit, variable_projection

SINGULAR_FLOOR = 1e-12


def triangular_features(samples: Samples, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangular factors of the features [relu(z V), z] and the outputs, weighted.

    Returns
    -------
    features : ndarray of shape (r, k + p)
        Columns of unit norm, as many rows as are needed to keep all inner products.
    outputs : ndarray of shape (r, m)
    """
    root = np.sqrt(samples.weight)[:, None]
    features = np.hstack([RELU.value(samples.Z @ V), samples.Z]) * root
    norms = np.linalg.norm(features, axis=0)
    features /= np.where(norms > 0, norms, 1.0)
    q = features.shape[1]
    factor = np.asarray(np.linalg.qr(np.hstack([features, root * samples.Y]), mode="r"))
    return factor[:, :q], factor[:, q:]


def removal_costs(features: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Rise of the residual norm when one feature alone is removed, shape (q,).

    Removing feature j raises the residual sum of squares by ``|b_j|^2 / (G^-1)_jj`` with b the
    least-squares coefficients and G the Gram matrix.
    """
    left, singular, right = np.linalg.svd(features, full_matrices=False)
    inverse = right.T / np.maximum(singular, SINGULAR_FLOOR * singular[0])
    coefficients = inverse @ (left.T @ outputs)
    return np.linalg.norm(coefficients, axis=1) / np.linalg.norm(inverse, axis=1)


def eliminate_backward(
    samples: Samples, V: np.ndarray, *, tol: float, n_hidden: int = 0
) -> np.ndarray:
    """Drop hidden units one by one, the least useful first, refitting only linear coefficients.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    V : ndarray of shape (p, k)
        Hidden units.
    tol : float
        Largest residual norm (weighted, absolute) at which a unit is still dropped.
    n_hidden : int, default=0
        Stop at this number of units.

    Returns
    -------
    ndarray of shape (p, j)
        The units kept, in their old order.
    """
    features, outputs = triangular_features(samples, V)
    k = V.shape[1]
    kept = np.arange(features.shape[1])
    while (n_units := int(np.sum(kept < k))) > n_hidden:
        costs = removal_costs(features[:, kept], outputs)
        least = int(np.argmin(costs[:n_units]))
        rest = np.delete(kept, least)
        F = features[:, rest]
        solution = np.linalg.lstsq(F, outputs, rcond=np.finfo(float).eps)[0]
        if np.linalg.norm(outputs - F @ solution) > tol:
            break
        kept = rest
    return V[:, kept[kept < k]]


def closest_pair(
    samples: Samples, V: np.ndarray, barred: set[tuple[int, int]]
) -> tuple[tuple[int, int] | None, float]:
    """Pair of units whose sides of the samples agree (or are opposite) most.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    V : ndarray of shape (p, k)
        Hidden units.
    barred : set of (int, int)
        Pairs (i, j), i < j, not to be returned.

    Returns
    -------
    pair : (int, int) or None
    agreement : float
        Correlation of their sides in [-1, 1]; its sign says whether one is to be mirrored.
    """
    k = V.shape[1]
    sides = np.where(samples.Z @ V > 0, 1.0, -1.0)
    correlation = (sides * samples.weight[:, None]).T @ sides / samples.weight.sum()
    strength = np.abs(np.triu(correlation, 1))
    for i, j in barred:
        strength[i, j] = 0
    if k < 2 or not strength.max() > 0:
        return None, 0.0
    first, second = divmod(int(np.argmax(strength)), k)
    return (first, second), float(correlation[first, second])


def merged(V: np.ndarray, A: np.ndarray, pair: tuple[int, int], agreement: float) -> np.ndarray:
    """Hidden units with a pair replaced by the one unit that acts as both, shape (p, k - 1)."""
    i, j = pair
    joint = np.outer(V[:, i], A[i]) + np.sign(agreement) * np.outer(V[:, j], A[j])
    direction = np.linalg.svd(joint, full_matrices=False)[0][:, 0]
    rest = np.delete(V, j, axis=1)
    rest[:, i] = direction
    return rest


def reduce_units(
    samples: Samples,
    fit: Fit,
    *,
    tol: float,
    max_iter: int = 50,
    min_agreement: float = 0.8,
    max_failures: int = 8,
) -> Steps[Fit]:
    """Reduce an exact fit with a free linear part to the fewest hyperplanes that keep it exact.

    Units are dropped as long as that costs nothing, then the pair that agrees on most samples is
    merged, or the least useful unit dropped, and the rest refitted; a step that does not come
    back to zero residual is undone.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    fit : Fit
        Fit with a linear part, residual norm at most ``tol``.
    tol : float
        Residual norm (weighted, absolute) taken for zero.
    max_iter : int, default=50
        Budget of each refit.
    min_agreement : float, default=0.8
        Pairs whose sides correlate less are not tried.
    max_failures : int, default=8
        Refits in vain, in a row, after which the units count as irreducible.

    Yields
    ------
    Step
        Those of the refits.

    Returns
    -------
    Fit
        Never wider than what was passed in, residual norm at most ``tol``.
    """
    V = eliminate_backward(samples, fit.network.V, tol=tol)
    if V.shape[1] < fit.network.n_hidden:
        refit = yield from variable_projection(samples, V, linear_part=True, max_iter=max_iter)
        if not is_zero(refit, tol):
            return fit
        fit = refit
    barred: set[tuple[int, int]] = set()
    failures = 0
    while failures < max_failures and fit.network.n_hidden > 1:
        V, A = fit.network.V, fit.network.A
        pair, agreement = closest_pair(samples, V, barred)
        if pair is None or abs(agreement) < min_agreement:
            break
        trial = merged(V, A, pair, agreement)
        refit = yield from variable_projection(samples, trial, linear_part=True, max_iter=max_iter)
        if is_zero(refit, tol):
            V = eliminate_backward(samples, refit.network.V, tol=tol)
            if V.shape[1] < refit.network.n_hidden:
                refit = yield from variable_projection(
                    samples, V, linear_part=True, max_iter=max_iter
                )
            fit, failures, barred = refit, 0, set()
        else:
            barred.add(pair)
            failures += 1
    return fit


def is_zero(fit: Fit, tol: float) -> bool:
    """Whether the residual norm of a fit counts as zero."""
    return bool(np.sqrt(fit.loss) <= tol)
