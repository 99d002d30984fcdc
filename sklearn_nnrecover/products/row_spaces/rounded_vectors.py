"""Sparse vectors of a row space that rounding blurs: exact supports, values to rounding.

In single precision a systematic basis shows a sparse vector with errors far above those of the
data, since its pivots amplify them. The support decides: with U an orthonormal basis of the row
space, the vector of the space nearest to a support T is ``t @ U[:, T]' @ U``, t the top eigenvector
of ``U[:, T]' @ U[:, T]``, and with g the part of the norm that the second eigenvector has outside T
its entries have the standard errors

    |a| (s_j^2 + s^2 / g^2)^(1/2)   on T,      |a| s_j   off T,

``a @ Y`` being the vector, s_j the noise of column j and s its mean square: rounding turns the
vector towards the second one. T is the support of a vector of the space, as far as these data can
tell, when the entries on T are larger than rounding allows, those off T are not, and g is well
above rounding, so that no other vector of the space has this support.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.row_agreement import pattern
from sklearn_nnrecover.products.row_spaces.orthonormal_bases import RowSpace
from sklearn_nnrecover.products.row_spaces.systematic_bases import BLUR

MAX_REFINEMENTS = 8
"""Supports tried for one vector: that of its estimate, then those of the nearest vectors."""

MOST_TURN = 1e-2
"""Share of its norm by which rounding may turn a vector towards another on its support."""

MOST_ROUNDED = 0.05
"""Entries are taken for integers when they must be within this of one, whatever rounding did."""


class Refined(NamedTuple):
    """Vectors on their supports.

    ``vectors (n_found, n_columns)`` are distinct and in the row gauge; ``unclear`` counts supports
    on which rounding does not tell one vector from two.
    """

    vectors: sp.csr_array
    unclear: int


def refined_vectors(estimates: sp.csr_array, space: RowSpace, *, max_weight: int) -> Refined:
    """Exact supports, and values to rounding, of blurred sparse vectors of a row space.

    Parameters
    ----------
    estimates : csr_array of shape (n_estimates, n_columns)
        Only their supports are used.
    space : RowSpace
        With the noise of its columns.
    max_weight : int
        Heaviest vector accepted.
    """
    noise = space.column_noise
    assert noise is not None
    spread = float(np.sqrt(np.mean(noise**2)))
    supports = _distinct(pattern(estimates).toarray() > 0)
    found, unclear = [sp.csr_array((0, estimates.shape[1]))], 0
    tried = supports
    for _ in range(MAX_REFINEMENTS):
        weights = np.count_nonzero(supports, axis=1)
        supports = supports[(weights > 0) & (weights <= max_weight)]
        if not len(supports):
            break
        following = []
        for block in row_blocks(len(supports), 40.0 * supports.shape[1]):
            inside = supports[block]
            vectors, gap = _nearest_vectors(inside, space.basis)
            norms = space.combination_norms(vectors @ space.basis.T)
            rounding = BLUR * norms[:, None] * noise
            size = np.abs(vectors)
            settled = np.all((size > rounding) == inside, axis=1)
            turn = BLUR * norms * spread
            is_clear = turn <= MOST_TURN * gap
            # Two vectors on one support: the lighter ones that span them are found by themselves.
            unclear += int(np.sum(settled & ~is_clear & (turn < gap)))
            good = settled & is_clear
            values = np.where(inside, vectors, 0.0)[good]
            errors = (rounding + (turn / gap)[:, None])[good]
            found.append(_integers_where_near(sp.csr_array(values), errors))
            # Entries that a support lacks stand out; what they do to the others is smaller.
            largest = np.max(size, axis=1, where=~inside, initial=0.0)[:, None]
            grown = np.where(inside, rounding, np.maximum(rounding, 0.5 * largest))
            following.append((size > grown)[~settled])
        supports = _distinct(np.vstack(following))
        both = np.vstack([tried, supports])
        fresh = np.sort(np.unique(_support_keys(both), return_index=True)[1])
        supports, tried = both[fresh[fresh >= len(tried)]], both[fresh]
    return Refined(sp.csr_array(sp.vstack(found)), unclear)


def blur_of_vectors(vectors: sp.csr_array, space: RowSpace) -> np.ndarray:
    """Largest part of a non-zero entry of each vector that rounding may be responsible for.

    It does not depend on the scale of rows or columns. Infinite for a support on which rounding
    does not tell one vector from two.
    """
    if space.column_noise is None:
        return np.zeros(vectors.shape[0])
    inside = vectors.toarray() != 0
    nearest, gap = _nearest_vectors(inside, space.basis)
    norms = BLUR * space.combination_norms(nearest @ space.basis.T)
    turn = norms * float(np.sqrt(np.mean(space.column_noise**2))) / gap
    errors = np.hypot(norms[:, None] * space.column_noise, turn[:, None])
    relative = errors / np.where(inside, np.abs(nearest), np.inf)
    return np.where(turn <= MOST_TURN, relative.max(axis=1), np.inf)


def _support_keys(supports: np.ndarray) -> np.ndarray:
    packed = np.packbits(supports, axis=1)
    return packed.view(f"V{packed.shape[1]}").ravel()


def _distinct(supports: np.ndarray) -> np.ndarray:
    return supports[np.sort(np.unique(_support_keys(supports), return_index=True)[1])]


def _nearest_vectors(supports: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the space nearest to each support, and the gaps to the second nearest.

    The gap is the norm of the part that the second one has off the support.
    """
    vectors, gap = np.empty(supports.shape), np.ones(len(supports))
    weights = np.count_nonzero(supports, axis=1)
    for weight in np.unique(weights):
        rows = np.flatnonzero(weights == weight)
        columns = np.nonzero(supports[rows])[1].reshape(len(rows), weight)
        part = basis.T[columns]
        if weight <= len(basis):
            values, tops = np.linalg.eigh(part @ part.transpose(0, 2, 1))
            coordinates = np.einsum("kw,kwr->kr", tops[:, :, -1], part)
        else:
            values, tops = np.linalg.eigh(part.transpose(0, 2, 1) @ part)
            coordinates = tops[:, :, -1]
        coordinates /= np.linalg.norm(coordinates, axis=1, keepdims=True)
        vectors[rows] = coordinates @ basis
        if values.shape[1] > 1:
            gap[rows] = np.sqrt(np.maximum(1.0 - values[:, -2], 1e-32))
    return vectors, gap


def _integers_where_near(vectors: sp.csr_array, errors: np.ndarray) -> sp.csr_array:
    """Row gauge; rows of integers to within their errors become those integers."""
    result, scales = row_gauge(vectors)
    weights = np.diff(result.indptr)
    rows = np.repeat(np.arange(len(weights)), weights)
    # An entry over the smallest one has the errors of both.
    error = errors[rows, result.indices] / np.abs(scales[rows])
    smallest = np.maximum.reduceat(error, result.indptr[:-1]) if len(weights) else error
    error = error + np.abs(result.data) * smallest[rows]
    rounded = np.rint(result.data)
    wrong = (np.abs(result.data - rounded) > error) | (error > MOST_ROUNDED)
    whole = np.bincount(rows, wrong, minlength=len(weights)) == 0
    result.data = np.where(whole[rows], rounded, result.data)
    return result
