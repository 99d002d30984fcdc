"""Learning a dictionary by alternating codes and atoms, from any start.

Model: X ~ C D with sparse rows of C; samples are rows. Two stages:

* :func:`find_atoms` explores on a bounded number of samples, in their own precision: supports grow
  (:mod:`support_growth`), stuck atoms are replaced (:mod:`replacement`), atoms follow the codes
  (:mod:`updates`);
* :func:`polish` takes the atoms to the optimum on all samples in float64, in blocks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_nnrecover.dictionaries.encoders import (
    THRESHOLDING,
    CodeRule,
    balanced_threshold,
    strongest_atoms,
)
from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import (
    orthogonal_matching_pursuit,
)
from sklearn_nnrecover.dictionaries.replacement import (
    chance_coherence,
    replace_idle_atoms,
    split_overloaded_atoms,
    untangle_pairs,
)
from sklearn_nnrecover.dictionaries.support_growth import (
    ALPHA,
    code_length,
    noise_correlation_square,
    unexplained,
)
from sklearn_nnrecover.dictionaries.supports import (
    least_squares_values,
    nonnegative_least_squares,
    padded_to_csr,
)
from sklearn_nnrecover.dictionaries.updates import (
    code_moments,
    gradient_update,
    preconditioned_update,
    tied_gradient,
)
from sklearn_nnrecover.linalg.steps import Step, Steps

SIMPLE_ROUNDS = 3  # iterations with the cheap top-k supports before the pursuit takes over
SPLIT_FROM = 5  # first iteration at which overloaded atoms are split
GROW_FROM = 4  # first iteration at which supports may grow
PATIENCE = 4  # iterations that supports of one size get, at least
WEAK = 0.1  # of the mean coefficient: atoms that correlate less wait for the polishing
SETTLING = 4  # last iterations, without replacement
RIDGE = 1e-4  # of the exploring updates: codes are still wrong
NEGLIGIBLE = 1e-4  # share of a sample's energy that unfinished atoms may leave
PROBE_ROWS = 2000  # samples that suffice to set a threshold or to test residuals


class Found(NamedTuple):
    """Result of :func:`find_atoms`.

    Attributes
    ----------
    atoms : ndarray of shape (n_components, n_features)
        Unit-norm atoms in the precision of the samples.
    n_nonzero : int
        Atoms a sample that the residuals asked for.
    code_length : float
        Nats per sample, for comparing starts on any number of samples.
    open_share : float
        Share of samples whose residual is more than noise.
    n_stuck : int
        Pairs of an idle and an overloaded atom that were left: where they are, other starts find
        more.
    error : float
        Standard error of a typical atom (of norm 1) from these samples.
    settled : bool
        Whether the iteration came to rest within its budget.
    threshold : float
        Correlation at which pursuits stopped.
    varied : bool
        Whether pursuits were free to stop, and most samples did with fewer atoms.
    """

    atoms: np.ndarray
    n_nonzero: int
    code_length: float
    open_share: float
    n_stuck: int
    error: float = 0.0
    settled: bool = True
    threshold: float = 0.0
    varied: bool = False


def starting_atoms(X: np.ndarray, n_components: int, rng: np.random.RandomState) -> np.ndarray:
    """Normalised samples, and random directions where there are too few distinct ones."""
    norms = np.linalg.norm(X, axis=1)
    usable = np.flatnonzero(norms > 0)
    picked = rng.permutation(usable)[:n_components]
    D = X[picked] / norms[picked, None]
    missing = n_components - len(D)
    if missing:
        extra = rng.standard_normal((missing, X.shape[1])).astype(X.dtype)
        D = np.vstack([D, extra / np.linalg.norm(extra, axis=1, keepdims=True)])
    return np.ascontiguousarray(D)


def find_atoms(
    X: np.ndarray,
    start: np.ndarray,
    rule: CodeRule,
    *,
    grow: bool,
    first_nonzero: int = 2,
    update: str = "preconditioned",
    learning_rate: float = 0.5,
    max_coherence: float | None = None,
    max_iter: int = 60,
) -> Steps[Found]:
    """Explore until every atom has its place.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples, float32 or float64.
    start : ndarray of shape (n_components, n_features)
        Unit-norm atoms to start from.
    rule : CodeRule
        Encoder; ``n_nonzero`` bounds the supports.
    grow : bool
        Whether ``rule.n_nonzero`` is only a bound: supports then stop growing when residuals look
        like noise. Else they grow up to it.
    first_nonzero : int, default=2
        Size of the first supports.
    update : {"preconditioned", "gradient"}
        Dictionary update.
    learning_rate : float, default=.5
        Of the gradient, in units of 1 / E[c_i^2].
    max_coherence : float or None, default=None
        Absolute cosine from which two atoms count as one; None takes .7, or what random atoms of
        this dimension reach, and relaxes it as the atoms settle.
    max_iter : int, default=60
        Budget of iterations.

    Yields
    ------
    Step
        Objective: mean squared residual. Gap: its relative decrease. State: (D, n_nonzero).

    Returns
    -------
    Found
    """
    n_samples, n_features = X.shape
    D, n_components = start.astype(X.dtype), len(start)
    sample_square = np.einsum("ij,ij->i", X, X)
    width = min(first_nonzero, rule.n_nonzero)
    strict = max(0.7, chance_coherence(n_components, n_features))
    loss, quiet, threshold, settled = np.inf, 0, 0.0, False
    last_grown, pursuing = GROW_FROM, rule.encoder == "omp" and update != "gradient"
    for iteration in range(max_iter):
        gram = D @ D.T
        simple = iteration < SIMPLE_ROUNDS or rule.encoder != "omp"
        codes, residual, square, following = _code(
            X, D, gram, rule, width, threshold, simple, update
        )
        quantile = noise_correlation_square(n_components, n_features - width)
        open_share = _open_share(following, square, sample_square, quantile, threshold)
        previous, loss = loss, float(square.mean(dtype=np.float64))
        decrease = (previous - loss) / previous if 0 < previous < np.inf else 1.0

        if update == "gradient":
            energy = np.bincount(codes.indices, weights=codes.data**2, minlength=n_components)
            D = gradient_update(tied_gradient(X, codes, D), D, energy / n_samples, learning_rate)
        else:
            D = preconditioned_update(*code_moments(codes, X), D, RIDGE)

        exploring = iteration < max_iter - SETTLING
        if iteration % 2 and exploring:
            limit = max_coherence or (strict if iteration < 2 * GROW_FROM else max(strict, 0.95))
            usage = np.bincount(codes.indices, minlength=n_components)
            moved = len(replace_idle_atoms(D, usage, residual, max_coherence=limit))
            if iteration >= SPLIT_FROM:
                moved += len(split_overloaded_atoms(D, codes, residual))
                if grow and pursuing:
                    moved += len(untangle_pairs(D, codes))
            quiet = 0 if moved else quiet + 1

        strength = np.abs(codes.data).mean(dtype=np.float64) if codes.nnz else 0.0
        grown = False
        if iteration >= GROW_FROM and exploring and width < rule.n_nonzero:
            sizable = float(np.median(following)) > WEAK * strength
            stalled = quiet and abs(decrease) < 0.02 and open_share > 0.25
            needed = sizable and (stalled or (open_share > 0.5 and update != "gradient"))
            # Many samples have stopped with fewer atoms: the open ones may have more.
            waited = iteration - last_grown >= PATIENCE and 2 * ALPHA < open_share <= 0.5
            waited &= bool(np.mean(np.diff(codes.indptr) < width) > 0.25)
            grown = bool(not grow or needed or (waited and pursuing))
            width += grown
            last_grown = iteration if grown else last_grown
            quiet = 0 if grown else quiet
        if grow and pursuing and iteration >= GROW_FROM:
            noise = float(np.sqrt(quantile * np.median(square)))
            threshold = max(noise, WEAK * strength)
        yield Step(loss, decrease, (D, width))
        settled = bool(quiet >= 2 and not grown and abs(decrease) < 1e-3)
        if settled:
            break
    found = _found(D, width, codes, residual, square, sample_square, open_share)
    # Supports of two atoms, which all begin with, say nothing yet.
    varied = grow and pursuing and width > 2 and bool(np.mean(np.diff(codes.indptr) < width) > 0.5)
    return found._replace(settled=settled, threshold=threshold, varied=varied)


def assess_atoms(X: np.ndarray, D: np.ndarray, rule: CodeRule) -> tuple[Found, float]:
    """View atoms as :func:`find_atoms` would at its end, with ``rule.n_nonzero`` a sample.

    Pursuits stop at the rule's threshold; where there is one, samples may have different numbers
    of atoms.

    Returns
    -------
    found : Found
    median_square : float
        Squared residual of the median sample.
    """
    width, threshold = rule.n_nonzero, float(np.max(rule.threshold))
    simple = rule.encoder != "omp"
    codes, residual, square, following = _code(
        X, D, D @ D.T, rule, width, threshold, simple, "preconditioned"
    )
    sample_square = np.einsum("ij,ij->i", X, X)
    quantile = noise_correlation_square(len(D), X.shape[1] - width)
    open_share = _open_share(following, square, sample_square, quantile, threshold)
    found = _found(D, width, codes, residual, square, sample_square, open_share)
    varied = threshold > 0 and not simple
    return found._replace(threshold=threshold, varied=varied), float(np.median(square))


def _open_share(
    following: np.ndarray,
    square: np.ndarray,
    sample_square: np.ndarray,
    quantile: float,
    sizable: float = 0.0,
) -> float:
    """Share of the probed samples whose residual is more than noise, and correlates sizably."""
    probed = slice(len(following))
    is_open = unexplained(following, square[probed], sample_square[probed], quantile, NEGLIGIBLE)
    return float(np.mean(is_open & (following > sizable)))


def _found(
    D: np.ndarray,
    width: int,
    codes: sparse.csr_array,
    residual: np.ndarray,
    square: np.ndarray,
    sample_square: np.ndarray,
    open_share: float,
) -> Found:
    """The few samples that may stay open, and unfinished atoms, cost nothing."""
    n_stuck = len(split_overloaded_atoms(D.copy(), codes, residual)) // 2
    total = float(sample_square.sum(dtype=np.float64))
    typical = len(square) * float(np.quantile(square, 1 - 2 * ALPHA))
    length = code_length(
        max(typical, NEGLIGIBLE * total),
        total,
        codes.nnz,
        len(residual),
        D.shape[1],
        len(D),
    )
    energy = np.bincount(codes.indices, weights=codes.data**2, minlength=len(D))
    typical, variance = float(np.median(energy)), float(np.median(square))
    error = 1.0
    if typical > variance:
        error = np.sqrt(variance / typical * D.shape[1] / max(D.shape[1] - width, 1))
    return Found(D, width, length, open_share, n_stuck, float(error))


def _code(
    X: np.ndarray,
    D: np.ndarray,
    gram: np.ndarray,
    rule: CodeRule,
    width: int,
    threshold: float,
    simple: bool,
    update: str,
) -> tuple[sparse.csr_array, np.ndarray, np.ndarray, np.ndarray]:
    """Codes, residuals, their squared norms, and the next correlation of (some) samples."""
    nonnegative = rule.nonnegative
    if not simple:
        pursuit = orthogonal_matching_pursuit(
            X, D, width, gram=gram, min_correlation=threshold, nonnegative=nonnegative
        )
        atoms, values = pursuit.atoms, pursuit.values
        if nonnegative:
            values = nonnegative_least_squares(X, D, gram, atoms, values)
        codes = padded_to_csr(atoms, values, len(D))
        residual = X - codes @ D
        return codes, residual, np.einsum("ij,ij->i", residual, residual), pursuit.next_correlation
    current = replace(rule, n_nonzero=width, encoder="top-k")
    if rule.encoder in THRESHOLDING:
        limit = rule.threshold
        if update != "gradient" or not np.any(limit):
            limit = balanced_threshold(X[:PROBE_ROWS], D, width / len(D), nonnegative)
        current = replace(rule, n_nonzero=width, threshold=limit)
        width = min(2 * width, len(D))
    atoms, active, z = strongest_atoms(X, D, width, current)
    if update == "gradient" and rule.encoder in THRESHOLDING:
        values = np.where(active, z, 0)
    else:
        values = least_squares_values(X, D, gram, atoms, active)
    if nonnegative:
        values = nonnegative_least_squares(X, D, gram, atoms, values)
    codes = padded_to_csr(atoms, values, len(D))
    residual = X - codes @ D
    probe = residual[:PROBE_ROWS] @ D.T
    following = (probe if nonnegative else np.abs(probe)).max(axis=1)
    return codes, residual, np.einsum("ij,ij->i", residual, residual), following
