"""Taking atoms to the least-squares optimum on all samples, in float64 and in blocks.

With right supports, alternating least squares is a linear iteration whose rate is about the share
of dimensions that the codes absorb, n_nonzero / n_features: a few passes reach rounding. Samples
with a wrong support would spoil it, so samples whose residual exceeds ``TRIM`` times the median are
left out of the update, unless that would take half of its users from an atom: then it is the
atom that is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import sparse, stats

from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.support_growth import noise_correlation
from sklearn_nnrecover.dictionaries.supports import (
    csr_to_padded,
    least_squares_values,
    nonnegative_least_squares,
    padded_to_csr,
)
from sklearn_nnrecover.dictionaries.updates import preconditioned_update
from sklearn_nnrecover.linalg.steps import Step, Steps

TRIM = 20.0  # residual norms in units of their median
WRONG_TRIM = 4.0  # the same among the users of an atom that is still wrong
INNER_PASSES = 25  # passes with fixed supports between two encodings
DOUBTFUL = 1e-3  # share of right supports that are searched again
SEARCHED = 0.2  # of the samples: where more are doubtful, it is the atoms that are wrong
ERRORS = 2.0  # errors of atoms are no white noise: samples of large codes have more of them
ENOUGH = 0.02  # of an atom's standard error: closer to the optimum than that is pointless


class Polished(NamedTuple):
    """Result of :func:`polish`; sums leave out the trimmed samples.

    Attributes
    ----------
    atoms : ndarray of shape (n_components, n_features)
        Unit-norm atoms, float64.
    code_gram : ndarray of shape (n_components, n_components)
        C'C.
    usage : ndarray of shape (n_components,)
        Samples that use each atom.
    residual_square : ndarray of shape (n_samples,)
        Squared residual norms of all samples.
    n_trimmed : int
        Samples left out.
    gap : float
        Largest last movement of an atom.
    stop : float
        Correlation at which the last pursuits stopped, where they follow the noise; else 0.
    longest : int
        Active atoms of the longest code.
    """

    atoms: np.ndarray
    code_gram: np.ndarray
    usage: np.ndarray
    residual_square: np.ndarray
    n_trimmed: int
    gap: float
    stop: float = 0.0
    longest: int = 0


class _Sums(NamedTuple):
    code_gram: np.ndarray
    cross: np.ndarray
    usage: np.ndarray
    residual_square: np.ndarray


def polish(
    samples: Samples,
    D: np.ndarray,
    rule: CodeRule,
    *,
    tol: float,
    max_passes: int = 10,
    follow_noise: bool = False,
) -> Steps[Polished]:
    """Alternate codes on all samples and preconditioned updates until the atoms stand still.

    Parameters
    ----------
    samples : Samples
        Read block by block, anew in each pass: memory stays at one block and the supports.
    D : ndarray of shape (n_components, n_features)
        Unit-norm atoms to start from.
    rule : CodeRule
        Encoder, "top-k" or "omp" for unbiased values; others give supports whose values are refit.
    tol : float
        Movement of an atom (they have norm 1) at which the iteration has converged; with noise it
        ends earlier, at a small part of the atoms' standard errors.
    max_passes : int, default=10
        Budget of encodings of all samples.
    follow_noise : bool, default=False
        Whether pursuits stop at what the last pass left in the median sample, instead of at the
        rule's threshold. Samples of few atoms then do not take up others for the atoms' errors.

    Yields
    ------
    Step
        One after each encoding. Objective: mean squared residual; gap: largest movement of an atom.

    Returns
    -------
    Polished
    """
    D = np.ascontiguousarray(D, dtype=np.float64)
    n_samples, n_features = samples.shape
    slices = samples.slices(8 * (len(D) + (3 + 2 * rule.n_nonzero) * n_features))
    refit_first = rule.encoder not in ("omp", "top-k")
    kept = np.ones(n_samples, dtype=bool)
    supports: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for _ in range(max_passes):
        gram, sums, changed = D @ D.T, _empty_sums(D, n_samples), 0
        for index, here in enumerate(slices):
            X = samples.read(here)
            codes = encode(X, D, rule, gram=gram)
            padded = csr_to_padded(codes)
            changed += _changed_rows(supports.get(index), padded)
            supports[index] = padded
            if refit_first:
                codes = _refit(X, D, gram, padded, rule.nonnegative)
            _accumulate(sums, here, X, codes, D, kept)
        stop = _stop(sums.residual_square, supports, D) if follow_noise else rule.threshold
        doubtful = doubtful_residual(sums.residual_square, rule, samples)
        doubtful += float(np.max(stop)) ** 2
        if follow_noise and np.mean(sums.residual_square > doubtful) > SEARCHED:
            doubtful = np.inf
        rule = replace(rule, threshold=stop, search_above=doubtful)
        trusted = _trusted(sums.residual_square, slices, supports, len(D))
        # Sums that still hold a sample now known to be wrong would undo the last passes.
        stale, kept = not np.array_equal(trusted, kept), trusted
        gap = np.inf
        for inner in range(1 + INNER_PASSES):
            if inner or stale:
                gram, sums = D @ D.T, _empty_sums(D, n_samples)
                for index, here in enumerate(slices):
                    X = samples.read(here)
                    codes = _refit(X, D, gram, supports[index], rule.nonnegative)
                    _accumulate(sums, here, X, codes, D, kept)
            enough, previous = _standstill(sums, tol), gap
            D, gap = _move(D, sums)
            if gap <= enough or (gap > 0.9 * previous and previous < 1e-2):
                break  # at rest, at rounding, or too slow to be worth more with these supports
        yield Step(float(sums.residual_square.mean()), gap, D)
        if changed <= 1e-3 * n_samples and gap <= max(enough, 1e-13):
            break
    return Polished(
        D,
        sums.code_gram,
        sums.usage,
        sums.residual_square,
        int(np.count_nonzero(~kept)),
        gap,
        float(np.max(rule.threshold)) if follow_noise else 0.0,
        int(_sizes(supports).max(initial=0)),
    )


def doubtful_residual(residual_square: np.ndarray, rule: CodeRule, samples: Samples) -> float:
    """Squared residual that a right support exceeds in a share ``DOUBTFUL`` of the samples.

    The scale of the noise is taken from the median sample.
    """
    freedom = max(samples.shape[1] - rule.n_nonzero, 1)
    factor = stats.chi2.isf(DOUBTFUL, freedom) / stats.chi2.median(freedom)
    return float(factor * np.median(residual_square))


def _sizes(supports: dict[int, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.concatenate([active.sum(axis=1) for _, active in supports.values()])


def _stop(
    residual_square: np.ndarray, supports: dict[int, tuple[np.ndarray, np.ndarray]], D: np.ndarray
) -> float:
    """Correlation that what is left of a sample does not reach by the atoms' errors."""
    size = _sizes(supports)
    variance = float(np.median(residual_square / np.maximum(D.shape[1] - size, 1)))
    return ERRORS * noise_correlation(variance, len(D), D.shape[1] - int(np.median(size)))


def _trusted(
    residual_square: np.ndarray,
    slices: list[slice],
    supports: dict[int, tuple],
    n_components: int,
) -> np.ndarray:
    """Samples to update from: those of small residual.

    Where that takes half of its users from an atom, the atom is wrong and they are needed: its
    limit is then a multiple of the median of its own users.
    """
    kept = residual_square <= TRIM**2 * np.median(residual_square)
    if kept.all():
        return kept
    usage, lost = np.zeros(n_components), np.zeros(n_components)
    for here, (atoms, active) in zip(slices, supports.values(), strict=True):
        usage += np.bincount(atoms[active], minlength=n_components)
        lost += np.bincount(atoms[active & ~kept[here, None]], minlength=n_components)
    for wrong in np.flatnonzero(lost > 0.5 * usage):
        users = np.concatenate(
            [np.any(active & (atoms == wrong), axis=1) for atoms, active in supports.values()]
        )
        kept |= users & (residual_square <= WRONG_TRIM**2 * np.median(residual_square[users]))
    return kept


def _empty_sums(D: np.ndarray, n_samples: int) -> _Sums:
    n_components, n_features = D.shape
    return _Sums(
        np.zeros((n_components, n_components)),
        np.zeros((n_components, n_features)),
        np.zeros(n_components),
        np.empty(n_samples),
    )


def _accumulate(
    sums: _Sums,
    here: slice,
    X: np.ndarray,
    codes: sparse.csr_array,
    D: np.ndarray,
    kept: np.ndarray,
) -> None:
    residual = X - codes @ D
    square = np.einsum("ij,ij->i", residual, residual)
    sums.residual_square[here] = square
    if not kept[here].all():
        codes, X = codes[kept[here]], X[kept[here]]
    transposed = codes.T
    sums.code_gram[:] += (transposed @ codes).toarray()
    sums.cross[:] += transposed @ X
    sums.usage[:] += np.bincount(codes.indices, minlength=len(D))


def _move(D: np.ndarray, sums: _Sums) -> tuple[np.ndarray, float]:
    moved = preconditioned_update(sums.code_gram, sums.cross, D, 1e-15)
    return moved, float(np.max(np.linalg.norm(moved - D, axis=1)))


def _standstill(sums: _Sums, tol: float) -> float:
    """Movement below which further passes cannot matter."""
    energy, middle = np.diagonal(sums.code_gram), np.median(sums.residual_square)
    typical = np.median(energy[energy > 0]) if np.any(energy > 0) else 1.0
    return max(tol, ENOUGH * float(np.sqrt(middle / typical)))


def _changed_rows(old: tuple | None, new: tuple) -> int:
    if old is None:
        return len(new[0])
    if old[0].shape != new[0].shape:
        return len(new[0])
    return int(np.count_nonzero(np.any((old[0] != new[0]) | (old[1] != new[1]), axis=1)))


def _refit(
    X: np.ndarray, D: np.ndarray, gram: np.ndarray, padded: tuple, nonnegative: bool
) -> sparse.csr_array:
    atoms, active = padded
    values = least_squares_values(X, D, gram, atoms, active)
    if nonnegative:
        values = nonnegative_least_squares(X, D, gram, atoms, values)
    return padded_to_csr(atoms, values, len(D))
