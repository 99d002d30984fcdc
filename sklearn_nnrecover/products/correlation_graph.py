"""The algorithm of Neyshabur and Panigrahy (2013) as printed, its assumptions measured.

With samples in rows, ``Y = Z @ X1'`` where X1' is the last factor; section 3 rounds the
correlations of the features, ``round(scale Y' Y)``, to ``X1 X1'`` (lemma 1), and section 5
(theorem 5, appendix E) reads the columns of X1 off that integer matrix. Lemma 1 needs the Gram
matrix of the hidden codes, ``Z' Z``, to be close to a multiple of the identity. In small or deep
random networks it is not, which is why this method is not the default; where codes are white, for
example with very many samples, it needs nothing else from the data: neither sparse samples nor a
low rank.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import require_memory, working_memory_bytes
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.integer_pursuit import clean
from sklearn_nnrecover.products.layer_inversion import has_full_row_rank, least_squares_codes
from sklearn_nnrecover.products.peeling import Evidence, Matrix, Peel
from sklearn_nnrecover.products.row_agreement import distinct_rows, entries_at, pattern, sign_matrix

DEFAULT_BUDGET = 200_000
"""Correlated pairs of features followed at most."""

NEIGHBOUR_FRACTION = 0.65
"""The paper's ``1 - o(1)`` of the prune step, at finite size."""

MAX_DENSITY = 0.2
"""Share of correlated pairs beyond which neighbourhoods say nothing about single hidden nodes."""

_LARGEST_SPARSITY = 16
_REPEATS = 6


class RoundedCorrelation(NamedTuple):
    """``round(scale * Y' Y)``, the scale, and how far from integers the correlations were."""

    gram: sp.csr_array
    scale: float
    rounding_error: float


def rounded_correlation(Y: np.ndarray, n_nonzero: int | None = None) -> RoundedCorrelation:
    """Round the correlations of the columns of Y to integers (lemma 1).

    The paper knows the scale and d; here the scale is the one at which the correlations are
    nearest to integers, among those for which the mean diagonal is an average row weight
    between 1 and 16 (or close to ``n_nonzero`` for a square factor).
    """
    gram = Y.T @ Y
    diagonal = np.diag(gram)
    upper = gram[np.triu_indices_from(gram, 1)]
    largest = np.abs(upper).max(initial=0.0)
    if largest == 0:
        return RoundedCorrelation(sp.csr_array(gram.shape), 1.0, 0.0)
    mean = diagonal[diagonal > 0].mean()
    weights = (
        np.geomspace(1.0, _LARGEST_SPARSITY, 150)
        if n_nonzero is None
        else np.geomspace(n_nonzero / 2.0, 2.0 * n_nonzero, 60)
    )
    sample = upper[:: max(1, len(upper) // 50_000)]
    errors = np.array([_rounding_error(sample * (weight / mean)) for weight in weights])
    # Multiples of the right scale give integers too: take the first valley, not the deepest.
    first = int(np.argmax(errors <= errors.min() + 0.05))
    while first + 1 < len(errors) and errors[first + 1] < errors[first]:
        first += 1
    scale = weights[first] / mean
    for _ in range(3):
        integers = np.round(sample * scale)
        if not integers.any():
            break
        scale = float(integers @ integers / (integers @ sample))
    error = _rounding_error(sample * scale)
    return RoundedCorrelation(sp.csr_array(np.round(gram * scale)), scale, error)


def _rounding_error(values: np.ndarray) -> float:
    """Root mean square distance from integers of the values that do not round to zero."""
    values = values[np.abs(values) > 0.5]
    return float(np.sqrt(np.mean((values - np.round(values)) ** 2))) if len(values) else 0.5


def columns_from_gram(
    gram: sp.csr_array, rng: np.random.RandomState, budget: int = DEFAULT_BUDGET
) -> sp.csr_array:
    """Recover the columns of X from ``X X'`` (theorem 5): initial step, prune step, edge weights.

    Parameters
    ----------
    gram : csr_array of shape (n, n)
        Integer correlations.
    rng : RandomState
    budget : int
        Most pairs of correlated nodes followed; drawn at random beyond.

    Returns
    -------
    rows : csr_array of shape (k, n)
        Distinct columns of X as rows, in the row gauge.
    """
    n = gram.shape[0]
    off_diagonal = sp.csr_array(gram - sp.diags_array(gram.diagonal()))
    off_diagonal.eliminate_zeros()
    adjacency = pattern(off_diagonal)
    if adjacency.nnz > MAX_DENSITY * n * n:
        return sp.csr_array((0, n))
    upper = sp.triu(off_diagonal, 1).tocoo()
    i, j = upper.row, upper.col
    if len(i) > budget:
        chosen = rng.permutation(len(i))[:budget]
        i, j = i[chosen], j[chosen]
    if not len(i):
        return sp.csr_array((0, n))
    typical = float(np.median(np.diff(adjacency.indptr)))
    # A block of pairs at a time: memory is the pairs times their neighbours of neighbours.
    block = max(1, int(working_memory_bytes() / (64.0 * max(typical, 1.0) ** 2 + 1024.0)))
    found = []
    for start in range(0, len(i), block):
        pair_i, pair_j = i[start : start + block], j[start : start + block]
        supports = _supports(adjacency, pair_i, pair_j)
        found.append(_weights(off_diagonal, supports, pair_i))
    rows = sp.vstack(found, format="csr")
    rows = rows[np.diff(rows.indptr) > 1]
    rows, _ = row_gauge(rows)
    if not rows.shape[0]:
        return rows
    groups = distinct_rows(rows, rng)
    # A column of d non-zeros is proposed by d (d - 1) / 2 pairs; one pair alone is an accident.
    weight = np.diff(rows.indptr)[groups.representative]
    voted = groups.size >= np.maximum(weight * (weight - 1) // 4, 1)
    return rows[groups.representative[voted]]


def all_columns_from_gram(
    gram: sp.csr_array, rng: np.random.RandomState, budget: int = DEFAULT_BUDGET
) -> sp.csr_array:
    """Repeat :func:`columns_from_gram` on ``gram - rows' rows`` while that leaves less of it.

    Columns with a single non-zero show on the diagonal alone and come last.
    """
    rows = sp.csr_array((0, gram.shape[0]))
    left = gram
    for _ in range(_REPEATS):
        more = columns_from_gram(left, rng, budget)
        together = sp.vstack([rows, more], format="csr")
        now_left = clean(gram - together.T @ together, 0.5)
        if abs(now_left).sum() >= abs(left).sum():
            break
        rows, left = together, now_left
    single = np.flatnonzero(left.diagonal() >= 1) if _is_diagonal(left) else np.empty(0, int)
    unit = sp.csr_array(
        (np.sqrt(left.diagonal()[single]), (np.arange(len(single)), single)),
        shape=(len(single), gram.shape[0]),
    )
    return sp.vstack([rows, unit], format="csr")


def _is_diagonal(A: sp.csr_array) -> bool:
    return A.nnz == np.count_nonzero(A.diagonal())


def _supports(adjacency: sp.csr_array, i: np.ndarray, j: np.ndarray) -> sp.csr_array:
    """Nodes that share the hidden node of each correlated pair (initial step and prune step)."""
    n = adjacency.shape[0]
    order = np.arange(len(i))
    identifying = sp.csr_array(
        (np.ones(2 * len(i)), (np.tile(order, 2), np.concatenate((i, j)))), shape=(len(i), n)
    )
    members = pattern(adjacency[i].multiply(adjacency[j]).tocsr()) + identifying
    for _ in range(2):
        size = np.diff(members.indptr)
        # Each node counts as its own neighbour.
        votes = sp.csr_array(members @ adjacency + members)
        enough = votes.data >= NEIGHBOUR_FRACTION * np.repeat(size, np.diff(votes.indptr))
        votes.data = enough.astype(float)
        votes.eliminate_zeros()
        votes.sort_indices()
        members = votes
        if not members.nnz:
            break
    return members


def _weights(gram: sp.csr_array, supports: sp.csr_array, first: np.ndarray) -> sp.csr_array:
    """Signs by majority, magnitudes by the majority of correlations (section 5)."""
    signs = sign_matrix(gram)
    start = sp.csr_array(signs[first].multiply(supports))
    own = sp.csr_array(
        (np.ones(len(first)), (np.arange(len(first)), first)), shape=supports.shape
    ).multiply(supports)
    signed = sp.csr_array(start + own)
    for _ in range(2):
        agreement = sp.csr_array(sp.csr_array(signed @ signs).multiply(supports))
        agreement = sp.csr_array(agreement + 0.5 * signed)
        agreement.data = np.sign(agreement.data)
        agreement.eliminate_zeros()
        signed = agreement
    signed.sort_indices()
    # Neighbours have magnitude one with high probability, so |correlation| averages the magnitude.
    magnitude = sp.csr_array(sp.csr_array(signed @ gram).multiply(supports))
    count = sp.csr_array(sp.csr_array(pattern(signed) @ pattern(gram)).multiply(supports))
    for part in (magnitude, count):
        part.sort_indices()
    rows = np.repeat(np.arange(signed.shape[0]), np.diff(signed.indptr))
    sums, counts = (entries_at(part, rows, signed.indices) for part in (magnitude, count))
    values = sums / np.maximum(counts, 1.0)
    values = np.sign(signed.data) * np.maximum(np.round(np.abs(values)), 1.0)
    return sp.csr_array((values, signed.indices, signed.indptr), shape=signed.shape)


def correlation_factor(
    Y: Matrix,
    *,
    n_nonzero: int | None = None,
    rng: np.random.RandomState,
    budget: int = DEFAULT_BUDGET,
) -> Peel | None:
    """Peel the last factor by the printed algorithm (theorems 3 to 5).

    Returns
    -------
    Peel or None
        None if no column was found or they do not reproduce Y. ``proven`` is all False: the
        paper's guarantee holds with high probability over the model, not for given data.
    """
    n_rows, n = Y.shape
    require_memory(
        8.0 * (3 * n * n + n_rows * n),
        16 * working_memory_bytes(),
        "The correlation matrix",
        "use method='auto'",
    )
    dense = Y.toarray() if sp.issparse(Y) else np.asarray(Y)
    correlation = rounded_correlation(dense, n_nonzero)
    factor = all_columns_from_gram(correlation.gram, rng, budget)
    if not 1 <= factor.shape[0] <= min(n_rows, n) or not has_full_row_rank(factor):
        return None
    codes = least_squares_codes(factor, dense)
    return Peel(
        factor=factor,
        remainder=codes,
        proven=np.zeros(factor.shape[0], dtype=bool),
        evidence=assumptions(correlation, factor, codes),
    )


def assumptions(
    correlation: RoundedCorrelation, factor: sp.csr_array, codes: np.ndarray
) -> list[Evidence]:
    """Measure what the theorems assume: integers, white codes, sparsity, conditioning."""
    n = factor.shape[1]
    gram = codes.T @ codes
    diagonal = np.diag(gram)
    deviation = float(np.std(diagonal) / np.mean(diagonal))
    scale = np.sqrt(np.maximum(diagonal, 1e-300))
    off = np.abs(gram / scale[:, None] / scale - np.eye(len(gram))).max(initial=0.0)
    d = float(np.mean(np.diff(factor.indptr)))
    singular = np.linalg.eigvalsh((factor @ factor.T).toarray())
    condition = float(np.sqrt(singular[-1] / max(singular[0], 1e-300)))
    return [
        Evidence(
            "distance of correlations from integers",
            correlation.rounding_error,
            0.2,
            correlation.rounding_error < 0.2,
            "lemma 1: rounding gives X1 X1'",
        ),
        Evidence(
            "spread of the energies of hidden nodes",
            deviation,
            0.25,
            deviation < 0.25,
            "lemma 13: the diagonal of the codes' Gram matrix is constant",
        ),
        Evidence(
            "largest correlation of two hidden nodes",
            float(off),
            1 / d,
            off < 1 / d,
            "lemma 12: hidden nodes are nearly uncorrelated",
        ),
        Evidence(
            "non-zeros per hidden node",
            d,
            float(n ** (1 / 6)),
            d <= n ** (1 / 6),
            "theorem 3: d at most n^(1/6), up to logarithms",
        ),
        Evidence(
            "condition number of the layer",
            condition,
            float(n**2),
            condition <= n**2,
            "theorem 4: the layer can be inverted",
        ),
    ]
