"""Uniqueness of codes whose values repeat, from the fairness of their signs.

Signs and small integers are not in general position, so that a new sample in a span of atoms proves
little (:mod:`uniqueness`). What excludes other dictionaries then is how seldom signs cancel.

Model: X = C D, C of N samples with exactly k non-zeros each, the supports and magnitudes arbitrary,
the signs fair and independent. Let X = C' D' be another factorization with at most k non-zeros a
sample. Where D has rank m (or D is in general position and C' comes from countably many, such as
integers times a scale for each atom) C' = C B with B invertible. Every column v of B with support
T makes a column C v of C', and some permutation puts pi(v) in each T, so all is proven if

    nnz(C v) > u_J    for every v of two or more non-zeros and every J in T,               (*)

u_J the number of samples that use atom J: C' would have more than k N non-zeros in all.

* *Few atoms.* A sample that uses exactly one atom of T is not cancelled. There are at least
  sum_T u - sum_{a != b in T} n_ab of them, n_ab the samples that use both. With n_ab = (k - 1) u_a
  u_b / (k N) + E_ab, E at most lam relative to sqrt(u_a u_b), and n_Jl <= eta u_l, (*) holds
  whatever the values are while the other atoms of T have a share of all non-zeros below

      share = (1 - 2 eta - lam) / (k - 1).

* *Many atoms.* The samples that use any atom of T are h or more by Bonferroni's inequality for a
  part of T with that share. Changing one sign changes c v: each of them vanishes with probability
  1/2 at most. A zero set is determined by at most m - 1 of its samples, so

      P(some v fails) <= sum_{i < m} binomial(N, i)  P(Binomial(h - m + 1, 1/2) <= max u).

Samples of equal direction are one; drawing signs without replacement only helps (Hoeffding).

The roots +-e_i +-e_j in four dimensions, which have three dictionaries, are where (*) becomes an
equality: v = (1, 1, 1, 1) / 2 cancels half of the samples, and half of them use any one atom.

References
----------
D. A. Spielman, H. Wang, J. Wright, "Exact recovery of sparsely-used dictionaries", COLT 2012
(Theorem 3 compares non-zeros in the same way).
W. Hoeffding, "Probability inequalities for sums of bounded random variables", Journal of the
American Statistical Association 58, 1963 (section 6).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse, stats

from sklearn_nnrecover.dictionaries.atom_pairs import co_occurrence

GRID = 1e6 / np.pi  # of proportions; irrational, so that no fraction lies on its edges
TINY = 1e-6  # share of a code's largest value that may be a rounding error
MIN_POWER = 10.0  # standard deviations by which products of signs that never change would stand out


def distinct_directions(codes: sparse.csr_array, n_nonzero: int) -> sparse.csr_array:
    """Codes with exactly ``n_nonzero`` atoms, one of each group of equal proportions.

    Parameters
    ----------
    codes : csr_array of shape (n_samples, n_components)
        Codes with sorted indices.
    n_nonzero : int
        k.
    """
    full = codes[np.flatnonzero(np.diff(codes.indptr) == n_nonzero)]
    atoms = full.indices.reshape(-1, n_nonzero)
    values = full.data.reshape(-1, n_nonzero)
    size = np.abs(values)
    sure = np.flatnonzero(size.min(axis=1) > TINY * size.max(axis=1))
    proportions = np.rint(GRID * values[sure] / values[sure, :1])
    first = np.unique(np.hstack([atoms[sure], proportions]), axis=0, return_index=True)[1]
    return full[sure[np.sort(first)]]


def unfair_signs(directions: sparse.csr_array) -> float:
    """P-value of the hypothesis that signs of two atoms in a sample are independent and fair.

    Compared is the sum over pairs of atoms of the squared sum of their signs' products; it does
    not depend on the signs of the atoms.

    Parameters
    ----------
    directions : csr_array of shape (n_samples, n_components)
        From :func:`distinct_directions`.

    Returns
    -------
    float
        0 where too few pairs meet twice to tell.
    """
    signs = sparse.csr_array(directions).sign()
    products = (signs.T @ signs).toarray()[np.triu_indices(signs.shape[1], 1)]
    both = co_occurrence(directions)[np.triu_indices(signs.shape[1], 1)]
    deviation = np.sqrt(2 * np.sum(both * (both - 1)))
    if deviation < 2 * MIN_POWER:
        return 0.0
    return float(stats.norm.sf(np.sum(products**2 - both) / deviation))


def log_chance_of_other_codes(directions: sparse.csr_array) -> float:
    """Logarithm of the bound on the probability that other codes are as sparse.

    Parameters
    ----------
    directions : csr_array of shape (n_samples, n_components)
        From :func:`distinct_directions`: k non-zeros each.

    Returns
    -------
    float
        0 where nothing is excluded, -inf where no sign is needed.
    """
    n_samples, n_components = directions.shape
    if n_samples <= n_components:
        return 0.0
    k = directions.nnz // n_samples
    both = co_occurrence(directions)
    usage = np.diagonal(both).copy()
    if not usage.all():
        return 0.0
    if k == 1:
        return -np.inf
    total = usage.sum()
    np.fill_diagonal(both, 0)
    eta = np.max(both / usage)
    scale = 1 / np.sqrt(usage)
    excess = scale[:, None] * (both - (k - 1) * np.outer(usage, usage) / total) * scale
    lam = max(float(np.linalg.eigvalsh(excess)[-1]), 0.0)
    share = (1 - 2 * eta - lam) / (k - 1)
    if share <= 0:
        return 0.0
    shares = np.minimum([share, share + usage.max() / total], 1)
    hit = total * np.min(shares * (1 - lam / 2) - (k - 1) / 2 * shares**2) - n_components + 1
    rate = usage.max() / max(hit, 1.0)
    if rate >= 0.5:
        return 0.0
    divergence = np.log(2) + rate * np.log(rate) + (1 - rate) * np.log1p(-rate)
    zero_sets = (n_components - 1) * np.log(np.e * n_samples / (n_components - 1))
    return float(min(zero_sets - hit * divergence, 0.0))
