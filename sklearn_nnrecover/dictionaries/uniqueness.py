"""Which atoms do the samples prove? Planes that new samples confirm, and the lines they meet in.

Model: x = c D with at most k of the codes non-zero; D and the values of the codes are in general
position, the supports are arbitrary. Let atoms be known *before* a sample x is seen, and let x lie
in the span V of s < n of them. The union of all such spans has measure zero, so x lies in V for a
reason only: V is spanned by the atoms behind x, in any other dictionary that gives x as few active
atoms. One new sample thus confirms the span of its support (a circuit of the samples' matroid).

An atom is proven when confirmed spans pin its line down. With k <= (n + 1) / 2, two spans that
share no atom meet in the origin, or (2 k = n + 1) in a line that no third span contains. So where
each of two families of confirmed spans meets in a line alone, and it is the same line, that line is
an atom of every such dictionary. Beyond k = (n + 1) / 2 spans meet by dimension count alone and
nothing is claimed.

Under noise x is only near V. How near an isotropic sample would come to one of the spans follows a
Beta law; a sample is *telling* if that has a probability of ``CHANCE`` at most. In few dimensions
no noisy sample is.

Values that repeat (integer or +-1 codes, repeated rows) are not in general position: the 12
samples +-e_i +-e_j in four dimensions have three different dictionaries of four atoms. Samples
whose proportions occur twice on the same atoms, or often on any two, prove nothing here (but see
:mod:`fair_signs`). Repeated values are seen in noiseless codes; under noise they are not, but there
few dimensions prove nothing anyway. Noise also hides small coefficients, so that a sample of two
atoms may seem to lie in the span of one line between them: such atoms are marked apart
(:func:`accompanied_atoms`).

References
----------
M. Aharon, M. Elad, A. M. Bruckstein, "On the uniqueness of overcomplete dictionaries, and a
practical way to retrieve them", Linear Algebra and its Applications 416, 2006.
C. J. Hillar, F. T. Sommer, "When can dictionary learning uniquely recover sparse data from
subsamples?", IEEE Transactions on Information Theory 61, 2015.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse, special, stats

from sklearn_nnrecover.dictionaries.atom_pairs import co_occurrence, shared_values
from sklearn_nnrecover.dictionaries.supports import csr_to_padded

CHANCE = 1e-6  # probability that a sample without any structure comes as near to a span
MIN_TELLING = 10  # telling samples that an atom needs
COMMON = 0.01  # share of all proportions at which one value is no accident
MANY_COMMON = 0.1  # share of proportions with such values at which all values are special
MAX_SPANS = 64  # of an atom that are looked at
OUTSTANDING = 3.0  # samples on the line of an atom, in units of those on any other line of a plane
PINNED = 1e-2  # mean squared sine between spans, the atom itself taken out, that counts as positive


def log_chance_of_span(
    distance: np.ndarray, size: np.ndarray, n_components: int, n_features: int
) -> np.ndarray:
    """Logarithm of the probability that an isotropic sample is as near to a span of atoms.

    The squared sine to one span of s atoms has a Beta((n - s) / 2, s / 2) law; the bound over all
    such spans is Bonferroni's.

    Parameters
    ----------
    distance : ndarray of shape (n_samples,)
        Of samples to their spans, relative to their norms.
    size : ndarray of shape (n_samples,)
        Atoms s of each span.
    n_components, n_features : int
        Sizes of the dictionary.
    """
    chance = np.zeros(len(distance))
    for s in np.unique(size[(size > 0) & (size < n_features)]):
        of_size = size == s
        square = np.minimum(distance[of_size] ** 2, 1)
        spans = (
            special.gammaln(n_components + 1)
            - special.gammaln(s + 1)
            - special.gammaln(n_components - s + 1)
        )
        chance[of_size] = spans + stats.beta.logcdf(square, (n_features - s) / 2, s / 2)
    return np.minimum(chance, 0)


def telling_samples(
    codes: sparse.csr_array,
    residual_norm: np.ndarray,
    sample_norm: np.ndarray,
    uncertainty: np.ndarray,
    n_features: int,
    eps: float,
) -> np.ndarray:
    """Mark the samples that confirm the span of their active atoms.

    Parameters
    ----------
    codes : csr_array of shape (n_samples, n_components)
        Codes.
    residual_norm, sample_norm : ndarrays of shape (n_samples,)
        Norms of residuals and of samples.
    uncertainty : ndarray of shape (n_components,)
        Distance of every atom to the one that was learned without the sample; inf if there is none.
    n_features : int
        Dimension.
    eps : float
        Machine epsilon of the samples.

    Returns
    -------
    ndarray of shape (n_samples,), bool
    """
    n_samples, n_components = codes.shape
    size = np.diff(codes.indptr)
    rows = np.repeat(np.arange(n_samples), size)
    moved = np.bincount(
        rows, weights=np.abs(codes.data) * uncertainty[codes.indices], minlength=n_samples
    )
    distance = (residual_norm + moved) / np.where(size > 0, sample_norm, 1)
    chance = log_chance_of_span(distance, size, n_components, n_features)
    telling = (chance <= np.log(CHANCE)) & (2 * size <= n_features + 1)
    return telling & ~repeated_proportions(codes, np.sqrt(eps))


def repeated_proportions(codes: sparse.csr_array, tolerance: float) -> np.ndarray:
    """Mark the samples with two active atoms in proportions that occur in another sample, too.

    Another sample that uses the same two atoms, or many samples that use any two: codes of signs
    or small integers have few proportions, up to a scale for each atom (and all samples are marked
    where such values are many). Signs do not count. Of samples with a single active atom the
    values themselves are compared, so that equal samples prove no more than one of them.

    Parameters
    ----------
    codes : csr_array of shape (n_samples, n_components)
        Codes.
    tolerance : float
        Relative difference below which two proportions are the same.

    Returns
    -------
    ndarray of shape (n_samples,), bool
    """
    n_samples, n_components = codes.shape
    atoms, active = csr_to_padded(codes)
    values = np.zeros(atoms.shape)
    values[active] = np.abs(codes.data)
    scale = _middle_values(np.abs(codes.data), codes.indices, n_components)[atoms]
    single = np.flatnonzero(active.sum(axis=1) == 1)
    samples, pairs, proportions = [single], [atoms[single, 0].astype(np.int64)], [values[single, 0]]
    scaled = [np.full(len(single), np.nan)]
    for i in range(atoms.shape[1]):
        for j in range(i + 1, atoms.shape[1]):
            both = np.flatnonzero(active[:, j])
            samples.append(both)
            pairs.append((atoms[both, i] + 1) * np.int64(n_components) + atoms[both, j])
            proportions.append(values[both, i] / values[both, j])
            scaled.append(proportions[-1] * scale[both, j] / scale[both, i])
    sample, pair, proportion = (np.concatenate(part) for part in (samples, pairs, proportions))
    common = _is_common(np.concatenate(scaled), tolerance)
    order = np.lexsort((proportion, pair))
    sample, pair, proportion = sample[order], pair[order], proportion[order]
    close = np.diff(proportion) <= tolerance * np.maximum(proportion[1:], 1.0)
    same = (pair[1:] == pair[:-1]) & close
    repeated = np.zeros(n_samples, dtype=bool)
    repeated[np.concatenate(samples)[common]] = True
    repeated |= len(common) > 0 and np.mean(common) > MANY_COMMON
    repeated[sample[1:][same]] = True
    repeated[sample[:-1][same]] = True
    return repeated


def _middle_values(magnitude: np.ndarray, atom: np.ndarray, n_components: int) -> np.ndarray:
    """Lower median of the magnitudes of every atom's codes: one of the values that occur."""
    order = np.lexsort((magnitude, atom))
    usage = np.bincount(atom, minlength=n_components)
    middle = np.cumsum(usage) - usage + np.maximum(usage - 1, 0) // 2
    values = np.append(magnitude[order], 1.0)
    return np.where(usage > 0, values[np.minimum(middle, len(magnitude))], 1.0)


def _is_common(proportion: np.ndarray, tolerance: float) -> np.ndarray:
    """Mark values within the tolerance of ``COMMON`` of all values (nan is never common)."""
    ordered = np.sort(proportion[np.isfinite(proportion)])
    left = np.searchsorted(ordered, proportion * (1 - tolerance), side="left")
    right = np.searchsorted(ordered, proportion * (1 + tolerance), side="right")
    return np.isfinite(proportion) & (right - left > max(COMMON * len(ordered), MIN_TELLING))


def accompanied_atoms(codes: sparse.csr_array, stop: float) -> np.ndarray:
    """Mark the atoms that noisy samples hardly show without one and the same other atom.

    Where atom b is active only if a is, every line b + t a does for b, and noise hides it: samples
    whose coefficient of a falls below the noise seem to use b alone, and learning picks the line
    for which most do. So where most users of an atom use another one, too, those that do not must
    outnumber the samples that lie within the noise of any other line of that plane.

    Parameters
    ----------
    codes : csr_array of shape (n_samples, n_components)
        Codes.
    stop : float
        Coefficient that noise may hide.

    Returns
    -------
    ndarray of shape (n_components,), bool
    """
    together = co_occurrence(codes)
    usage = np.diagonal(together).copy()
    np.fill_diagonal(together, 0)
    accompanied = np.zeros(len(usage), dtype=bool)
    columns = sparse.csc_array(codes)
    for atom, other in zip(*np.nonzero(2 * together > usage[:, None]), strict=True):
        a, b = shared_values(columns, atom, other), shared_values(columns, other, atom)
        angles = np.sort(np.arctan2(b, a) % np.pi)
        width = 2 * stop / np.median(np.abs(a))
        last = np.searchsorted(np.append(angles, angles + np.pi), angles + width, side="right")
        densest = np.max(last - np.arange(len(angles)))
        accompanied[atom] |= usage[atom] - len(a) <= OUTSTANDING * densest
    return accompanied


def pinned_atoms(codes: sparse.csr_array, D: np.ndarray) -> np.ndarray:
    """Mark the atoms whose line is all that confirmed spans have in common, twice.

    The spans of the samples that use an atom are compared with the smallest of them, V: in a basis
    of V a span with projector P has the form I - V' P V, which vanishes on the intersection. The
    mean over a family of spans must vanish along the atom alone.

    Parameters
    ----------
    codes : csr_array of shape (n_telling, n_components)
        Codes of telling samples.
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms.

    Returns
    -------
    ndarray of shape (n_components,), bool
    """
    pinned = np.zeros(len(D), dtype=bool)
    if not codes.shape[0]:
        return pinned
    supports, active = csr_to_padded(codes)
    supports = np.where(active, supports, -1)
    supports, n_samples = np.unique(supports, axis=0, return_counts=True)
    users = np.zeros(len(D))
    np.add.at(users, supports[supports >= 0], np.repeat(n_samples, np.sum(supports >= 0, axis=1)))
    size = np.sum(supports >= 0, axis=1)
    by_atom = sparse.csc_array(
        (
            np.ones(int(size.sum())),
            (np.repeat(np.arange(len(supports)), size), supports[supports >= 0]),
        ),
        shape=(len(supports), len(D)),
    )
    for atom in np.flatnonzero(users >= MIN_TELLING):
        spans = by_atom.indices[by_atom.indptr[atom] : by_atom.indptr[atom + 1]]
        spans = spans[np.lexsort((-n_samples[spans], size[spans]))][:MAX_SPANS]
        pinned[atom] = _meet_in_a_line(supports[spans], size[spans], D)
    return pinned


def _meet_in_a_line(supports: np.ndarray, size: np.ndarray, D: np.ndarray) -> bool:
    """Whether spans of atoms, the smallest first, meet in a line in each of two families."""
    if size[0] == 1:
        return True
    if len(supports) < 3:
        return False
    bases = np.linalg.qr((D[supports] * (supports >= 0)[:, :, None]).transpose(0, 2, 1))[0]
    # Padding leaves arbitrary columns behind: they belong to no atom.
    bases = bases * (np.arange(supports.shape[1]) < size[:, None])[:, None, :]
    first, others = bases[0][:, : size[0]], bases[1:]
    across = np.matmul(first.T, others)
    forms = np.eye(size[0]) - np.matmul(across, across.transpose(0, 2, 1))
    families = np.stack([forms[::2].mean(axis=0), forms[1::2].mean(axis=0)])
    return bool(np.all(np.linalg.eigvalsh(families)[:, 1] > PINNED))
