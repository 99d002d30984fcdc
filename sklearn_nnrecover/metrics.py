"""Comparing recovered parameters with a ground truth, up to what the data cannot fix.

Components have no order, signs and scales may be free: every comparison matches first (an optimal
assignment, never a greedy one) and then measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.pipeline import Pipeline

from .linalg.rescalings import Rescalings, rescaled_distance

__all__ = [
    "Match",
    "factor_distance",
    "match_components",
    "mean_correlation",
    "recovery_error",
    "recovery_scorer",
    "support_f1",
]


class Match(NamedTuple):
    """Assignment of estimated components to true ones.

    Attributes
    ----------
    permutation : ndarray of shape (n_matched,)
        ``estimated[permutation[i]]`` belongs to ``true[matched[i]]``.
    matched : ndarray of shape (n_matched,)
        Matched true components, ascending; all of them unless there are fewer estimated ones.
    scale : ndarray of shape (n_matched,)
        Least-squares factors: ``true[matched[i]] ~ scale[i] * estimated[permutation[i]]``.
    cosine : ndarray of shape (n_matched,)
        Cosines of the matched pairs.
    """

    permutation: np.ndarray
    matched: np.ndarray
    scale: np.ndarray
    cosine: np.ndarray


def _dense_rows(A: Any, name: str) -> np.ndarray:
    A = np.asarray(sparse.csr_array(A).toarray() if sparse.issparse(A) else A)
    if A.ndim != 2:
        raise ValueError(f"{name} must be a 2-d array with one component a row, got {A.ndim}-d.")
    return A.astype(np.float64, copy=False)


def match_components(estimated: Any, true: Any, *, signed: bool = True) -> Match:
    """Match components (rows) up to permutation, sign and scale.

    Parameters
    ----------
    estimated, true : array-like or sparse of shapes (n_estimated, n_features), (n_true, n_features)
        Components, one a row. Zero rows match with cosine 0.
    signed : bool, default=True
        Whether a component may match its negative; False allows positive scales only.

    Returns
    -------
    Match
        The assignment that maximises the sum of (absolute) cosines.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_nnrecover.metrics import match_components
    >>> true = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> match = match_components(np.array([[0.0, -1.0], [3.0, 0.0]]), true)
    >>> match.permutation.tolist(), match.scale.tolist()
    ([1, 0], [0.3333333333333333, -2.0])
    """
    E, T = _dense_rows(estimated, "estimated"), _dense_rows(true, "true")
    if E.shape[1] != T.shape[1]:
        raise ValueError(
            f"estimated has {E.shape[1]} features a component but true has {T.shape[1]}."
        )
    norm_e = np.linalg.norm(E, axis=1)
    norm_t = np.linalg.norm(T, axis=1)
    cosine = (T / np.where(norm_t > 0, norm_t, 1)[:, None]) @ (
        E / np.where(norm_e > 0, norm_e, 1)[:, None]
    ).T
    matched, permutation = linear_sum_assignment(
        np.abs(cosine) if signed else cosine, maximize=True
    )
    cosine = cosine[matched, permutation]
    norm_e = norm_e[permutation]
    scale = cosine * norm_t[matched] / np.where(norm_e > 0, norm_e, 1)
    return Match(permutation, matched, scale, cosine)


def mean_correlation(estimated: Any, true: Any, *, signed: bool = True) -> float:
    """Mean (absolute) cosine of matched components; a true component left unmatched counts 0.

    Parameters
    ----------
    estimated, true : array-like or sparse of shapes (n_estimated, n_features), (n_true, n_features)
        Components, one a row.
    signed : bool, default=True
        Whether a component may match its negative.

    Returns
    -------
    float
        The mean correlation coefficient (MCC), at most 1.
    """
    match = match_components(estimated, true, signed=signed)
    cosine = np.abs(match.cosine) if signed else match.cosine
    return float(cosine.sum() / np.shape(true)[0])


def support_f1(estimated: Any, true: Any) -> float:
    """F1 score of the non-zero positions after matching columns.

    Parameters
    ----------
    estimated, true : array-like or sparse of shapes (n_samples, n_estimated), (n_samples, n_true)
        Codes, one component a column.

    Returns
    -------
    float
        ``2 |common| / (|estimated| + |true|)``, 1 for two empty supports.
    """
    supports = [
        sparse.csc_array(C != 0).astype(np.int64) for C in map(_as_columns, (estimated, true))
    ]
    if supports[0].shape[0] != supports[1].shape[0]:
        raise ValueError(
            f"estimated has {supports[0].shape[0]} samples but true has {supports[1].shape[0]}."
        )
    total = supports[0].nnz + supports[1].nnz
    if total == 0:
        return 1.0
    common = (supports[1].T @ supports[0]).toarray()
    return float(2 * common[linear_sum_assignment(common, maximize=True)].sum() / total)


def _as_columns(C: Any) -> Any:
    return C if sparse.issparse(C) else np.asarray(C)


def _network_arrays(network: Any, degree: float | None) -> tuple[np.ndarray, ...]:
    """Return (W, b, A, c), in the unit-norm gauge of a homogeneous activation."""
    if hasattr(network, "coefs_"):
        coefs, intercepts = network.coefs_, network.intercepts_
    elif isinstance(network, Sequence) and len(network) == 2:
        coefs, intercepts = network
    else:
        raise ValueError(
            "a network must be a fitted estimator with coefs_ and intercepts_, or the pair "
            f"(coefs, intercepts); got {type(network).__name__}."
        )
    (W, A), (b, c) = coefs, intercepts
    W, b, A, c = (np.asarray(part, dtype=np.float64) for part in (W, b, A, c))
    if degree is None:
        return W, b, A, c
    norms = np.linalg.norm(W, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    return W / norms, b / norms, A * norms[:, None] ** degree, c


def recovery_error(estimated: Any, true: Any, *, degree: float | None = 1.0) -> float:
    """Largest error over all weights of a two-layer network after matching its units.

    Both networks are brought to the gauge of unit-norm input weights; units are matched by an
    optimal assignment. Errors of input weights and hidden biases are absolute, those of output
    weights and intercepts relative to the largest true output weight.

    Parameters
    ----------
    estimated, true : fitted estimator, Bunch with ``coefs_`` and ``intercepts_``, or pair
        Networks ``(coefs, intercepts)`` in the format of
        :class:`sklearn.neural_network.MLPRegressor`.
    degree : float or None, default=1.0
        Degree of homogeneity of the activation: 1 for the ReLU, plain or leaky, 2 for its square;
        None where input weights have no scale gauge (``"expm1"``), and are compared as they are.

    Returns
    -------
    float
        The error; ``inf`` when the widths differ.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_nnrecover.metrics import recovery_error
    >>> W, A = np.eye(2), np.ones((2, 1))
    >>> true = ([W, A], [np.zeros(2), np.zeros(1)])
    >>> recovery_error(([2 * W[:, ::-1], A / 2], [np.zeros(2), np.zeros(1)]), true)
    0.0
    """
    W, b, A, c = _network_arrays(estimated, degree)
    W0, b0, A0, c0 = _network_arrays(true, degree)
    if W.shape[0] != W0.shape[0] or A.shape[1] != A0.shape[1]:
        raise ValueError(
            f"estimated maps {W.shape[0]} features to {A.shape[1]} outputs but true maps "
            f"{W0.shape[0]} to {A0.shape[1]}."
        )
    if W.shape[1] != W0.shape[1]:
        return float("inf")
    size = max(float(np.max(np.abs(A0), initial=0.0)), np.finfo(float).tiny)
    stacked = np.vstack([W, b, A.T / size])
    stacked0 = np.vstack([W0, b0, A0.T / size])
    distance = np.max(np.abs(stacked[:, None, :] - stacked0[:, :, None]), axis=0, initial=0.0)
    unit_errors = distance[linear_sum_assignment(np.minimum(distance, 1e6))]
    return float(max(unit_errors.max(initial=0.0), np.max(np.abs(c - c0), initial=0.0) / size))


def factor_distance(
    h: Sequence[Any], g: Sequence[Any], p: float = 2.0, *, gauge: Rescalings | None = None
) -> float:
    """Distance ``d_p`` of two parameter lists of a product of K factors, modulo rescalings.

    Both lists are brought to equal largest entries in all factors, by scales that multiply to 1,
    and the p-norm of their difference is minimised over signs that multiply to 1. Where the
    product leaves more rescalings free, `gauge` names them: both lists are then brought to their
    least Euclidean norm, and signs are chosen in that group.

    Parameters
    ----------
    h, g : sequence of K array-like
        Parameters, factor by factor, of equal sizes; no factor may be zero.
    p : float, default=2.0
        Norm, at least 1; ``inf`` for the largest difference.
    gauge : Rescalings or None, default=None
        ``certificate.rescalings`` of :func:`~sklearn_nnrecover.products.identifiability.certify`;
        None takes the scales of whole factors.

    Returns
    -------
    float
        The distance, 0 for lists that a rescaling relates.

    Examples
    --------
    >>> from sklearn_nnrecover.metrics import factor_distance
    >>> factor_distance([[1.0, 2.0], [3.0]], [[-2.0, -4.0], [-1.5]])
    0.0
    """
    hs, gs = ([np.asarray(part, dtype=np.float64).ravel() for part in parts] for parts in (h, g))
    if [len(part) for part in hs] != [len(part) for part in gs]:
        raise ValueError(
            f"h has factors of {[len(part) for part in hs]} parameters but g of "
            f"{[len(part) for part in gs]}."
        )
    if not p >= 1:
        raise ValueError(f"p must be at least 1, got {p}.")
    for name, parts in (("h", hs), ("g", gs)):
        for k, part in enumerate(parts):
            if not part.any():
                raise ValueError(f"{name}[{k}] is zero: d_p is defined for non-zero factors.")
    return rescaled_distance(hs, gs, p, gauge)


def recovery_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score for model selection over structure: negative description length per sample.

    R2 and explained variance always prefer more units, atoms or non-zeros; this scorer charges for
    them. Pass it as ``scoring=recovery_scorer`` to :class:`~sklearn.model_selection.GridSearchCV`.

    Parameters
    ----------
    estimator : fitted estimator
        Any estimator of this library (it has ``report_`` and ``description_length``), or a
        pipeline that ends in one.
    X : array-like of shape (n_samples, n_features)
        Samples to describe.
    y : array-like or None
        Their outputs, for networks.

    Returns
    -------
    float
        Minus the nats per sample that the parameters and the residuals on (X, y) cost; -1e100 for
        a fit whose status is ``"not_recovered"``, so that it ranks below any recovered one.
    """
    if isinstance(estimator, Pipeline):
        X, estimator = estimator[:-1].transform(X), estimator[-1]
    if estimator.report_.status == "not_recovered":
        return -1e100
    return -float(estimator.description_length(X, y))
