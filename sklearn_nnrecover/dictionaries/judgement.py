"""What can be claimed about learned atoms: conditions on the data, status, and its reason.

The paper's hypotheses (incoherence, code consistency, closeness to the truth) are replaced by what
can be measured (:mod:`residual_tests`), by agreement of atoms learned from two halves of the data
(:mod:`stability`), and by a proof of single atoms from new samples (:mod:`uniqueness`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from sklearn_nnrecover.dictionaries.dictionary_learning import Learned
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.fair_signs import (
    distinct_directions,
    log_chance_of_other_codes,
    unfair_signs,
)
from sklearn_nnrecover.dictionaries.orthogonal_matching_pursuit import correlations
from sklearn_nnrecover.dictionaries.residual_tests import (
    code_consistency,
    coherence,
    lack_of_fit,
    scatter_p_values,
)
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.stability import (
    agreement_threshold,
    isolation,
    matched_cosines,
    matched_distances,
)
from sklearn_nnrecover.dictionaries.support_growth import (
    noise_correlation,
    noise_correlation_square,
    unexplained,
)
from sklearn_nnrecover.dictionaries.uniqueness import (
    CHANCE,
    accompanied_atoms,
    log_chance_of_span,
    pinned_atoms,
    telling_samples,
)
from sklearn_nnrecover.dictionaries.verdict import Judgement, verdict

ERROR_BARS = 3.0  # standard errors of a whole atom by which atoms from half the data may differ
SAME = 1e-4  # atoms closer than this are the same, whatever their error bars
LEVEL = 1e-3  # of the lack-of-fit tests
ROUNDINGS = 512.0  # residuals of this many machine epsilons of their sample are rounding
JUDGED_ROWS = 20_000
MAX_CHANCE = 1e-3  # probability of a typical residual without structure, for an approximate status
ISOLATED = 1e-6  # eigenvalue, relative to the atoms' code energies, that counts as positive


class Residuals(NamedTuple):
    """Samples that were looked at, coded by pursuit, and what is left of them.

    Attributes
    ----------
    X, codes : arrays
        Samples and their codes.
    residual : ndarray of shape (n_samples, n_features)
        What the codes leave.
    square, sample_square : ndarrays of shape (n_samples,)
        Squared norms of residuals and of samples.
    following : ndarray of shape (n_samples,)
        Largest correlation of an atom with the residual.
    at_rounding : ndarray of shape (n_samples,), bool
        Samples that are reproduced to rounding.
    worst : float
        Largest residual relative to its sample.
    """

    X: np.ndarray
    codes: sparse.csr_array
    residual: np.ndarray
    square: np.ndarray
    sample_square: np.ndarray
    following: np.ndarray
    at_rounding: np.ndarray
    worst: float


class Agreement(NamedTuple):
    """Atoms against those of either half of the data; one entry an atom.

    ``cosine`` and ``distance`` are those of the worse half; ``held`` says which are the same.
    """

    cosine: np.ndarray
    distance: np.ndarray
    held: np.ndarray
    conditions: list[tuple]


def judge_dictionary(
    samples: Samples,
    learned: Learned,
    halves: tuple[np.ndarray, ...] | None,
    errors: np.ndarray,
    *,
    eps: float,
    rng: np.random.RandomState,
    share: float = 0.5,
) -> Judgement:
    """Check a sparse or non-negative model.

    Parameters
    ----------
    samples : Samples
        Training data.
    learned : Learned
        The dictionary and its encoder.
    halves : pair of ndarrays of shape (n_components, n_features), or None
        Atoms learned independently from two halves of the data.
    errors : ndarray of shape (n_components, n_features)
        Standard errors of the atoms.
    eps : float
        Machine epsilon of the data's dtype.
    rng : RandomState
        Draws samples to look at.
    share : float, default=.5
        Samples of a half, relative to all.
    """
    D, rule, usage = learned.polished.atoms, learned.rule, learned.polished.usage
    seen = look_at_residuals(samples, D, rule, eps, rng, stop=learned.stop)
    size = np.linalg.norm(errors, axis=1)
    enough_users = usage >= max(2 * (rule.n_nonzero + 1), 10)
    fits, conditions = _conditions(seen, D, rule, eps, enough_users, learned.stop**2)
    agreement = _agreement(D, halves, size / np.sqrt(share), not rule.nonnegative)
    chance = _chance(seen, D)
    white, accompanied = np.ones(len(D), dtype=bool), np.zeros(len(D), dtype=bool)
    noiseless = float(np.median(seen.at_rounding)) > 0.5
    if not noiseless:
        p_values = scatter_p_values(seen.residual, seen.codes, learned.noise_variance, rng)
        white = p_values >= LEVEL / len(D)
        stop = noise_correlation(learned.noise_variance, len(D), D.shape[1] - rule.n_nonzero)
        accompanied = accompanied_atoms(seen.codes, max(stop, learned.stop))
    established = agreement.held & enough_users & white & ~accompanied
    proven = _proven_atoms(seen, D, agreement, fits, eps) & established
    at_rounding = fits and seen.worst <= ROUNDINGS * eps
    counted = []
    if at_rounding and established.all() and not proven.all():
        counted = _other_codes(seen.codes, D, rule)
        proven |= all(passed for _, _, _, passed, _ in counted)
    conditions += [
        (
            "scatter",
            int(np.sum(~white)),
            0,
            bool(white.all()),
            "no atom leaves residuals along one direction, as one in place of two does",
        ),
        (
            "companions",
            int(np.sum(accompanied)),
            0,
            not accompanied.any(),
            "under noise, no atom is seen only together with one and the same other",
        ),
        (
            "chance",
            chance,
            MAX_CHANCE,
            chance <= MAX_CHANCE,
            "a sample without structure would come as near to a span of atoms (probability)",
        ),
        *agreement.conditions,
        (
            "proven atoms",
            int(proven.sum()),
            len(D),
            bool(proven.all()),
            "new samples confirm the spans that meet in the atom, and in nothing else"
            + (", or fair signs exclude other codes" if counted else ""),
        ),
        *counted,
    ]
    exact = False
    if at_rounding and proven.all():
        held = isolation(seen.codes, D, rng)
        exact = held > ISOLATED and bool(np.all(agreement.distance <= np.sqrt(eps)))
        conditions.append(
            (
                "isolation",
                held,
                ISOLATED,
                held > ISOLATED,
                "no nearby dictionary reproduces the samples (smallest eigenvalue, relative)",
            )
        )
    approximate = fits and not noiseless and chance <= MAX_CHANCE and bool(established.all())
    identified = established if approximate else proven
    energy = np.diagonal(learned.polished.code_gram) / max(len(samples), 1)
    units = [
        {
            "atom": j,
            "active": int(usage[j]),
            "energy": float(energy[j]),
            "agreement": float(agreement.cosine[j]),
            "std": float(size[j]),
            "identified": bool(identified[j]),
        }
        for j in range(len(D))
    ]
    status, reason = verdict(
        fits,
        identified,
        exact=exact,
        approximate=approximate,
        compared=halves is not None,
        n_samples=len(samples),
    )
    if status == "not_recovered" and fits and established.all():
        reason = "The halves agree on all atoms, but the samples do not prove them: " + (
            "codes repeat the same proportions, and other dictionaries could give as sparse ones; "
            "more samples help if the signs of codes are random."
            if at_rounding
            else "noise in so few dimensions looks like structure; take more features."
        )
    return Judgement(status, reason, "local" if exact else None, conditions, units)


def look_at_residuals(
    samples: Samples,
    D: np.ndarray,
    rule: CodeRule,
    eps: float,
    rng: np.random.RandomState,
    *,
    stop: float = 0.0,
) -> Residuals:
    """Code some samples by pursuit, down to correlations of ``stop``."""
    X = samples.read(np.sort(rng.permutation(len(samples))[:JUDGED_ROWS]))
    pursuit = CodeRule("omp", rule.n_nonzero, stop, rule.nonnegative, rule.search_above)
    codes = encode(X, D, pursuit)
    residual = X - codes @ D
    square = np.einsum("ij,ij->i", residual, residual)
    sample_square = np.einsum("ij,ij->i", X, X)
    following = correlations(residual, D, rule.nonnegative).max(axis=1)
    at_rounding = square <= (ROUNDINGS * eps) ** 2 * sample_square
    relative = square / np.where(sample_square > 0, sample_square, 1)
    worst = float(np.sqrt(np.max(relative, initial=0.0)))
    return Residuals(X, codes, residual, square, sample_square, following, at_rounding, worst)


def _chance(seen: Residuals, D: np.ndarray) -> float:
    """Probability that isotropic samples would be as near to spans of atoms as half of these."""
    norm = np.sqrt(np.where(seen.sample_square > 0, seen.sample_square, 1))
    size = np.diff(seen.codes.indptr)
    return float(np.exp(np.median(log_chance_of_span(np.sqrt(seen.square) / norm, size, *D.shape))))


def _conditions(
    seen: Residuals,
    D: np.ndarray,
    rule: CodeRule,
    eps: float,
    enough_users: np.ndarray,
    hidden: float,
) -> tuple[bool, list[tuple]]:
    """Whether the model describes the samples, and what the paper assumes.

    ``hidden`` is the square of a coefficient that pursuits could not tell from noise.
    """
    freedom = D.shape[1] - np.diff(seen.codes.indptr)
    spare = D.shape[1] - rule.n_nonzero
    quantile = noise_correlation_square(len(D), spare)
    open_rows = unexplained(seen.following, seen.square, seen.sample_square, quantile)
    at_rounding = seen.worst <= ROUNDINGS * eps
    p_value = 1.0
    if not at_rounding:
        p_value = lack_of_fit(
            open_rows & ~seen.at_rounding, seen.square, np.maximum(freedom, 1), hidden
        )
    fits = spare > 0 and p_value >= LEVEL
    closest = coherence(D)
    crosstalk, active, margin = code_consistency(seen.X, D, seen.codes, seen.following)
    return fits, [
        (
            "residual",
            seen.worst,
            ROUNDINGS * eps,
            at_rounding,
            "every sample is reproduced to rounding by n_nonzero_coefs_ atoms",
        ),
        (
            "lack of fit",
            p_value,
            LEVEL,
            fits,
            "residuals correlate with no atom, and vary in size, no more than noise (p-value)",
        ),
        (
            "unused atoms",
            int(np.sum(~enough_users)),
            0,
            bool(enough_users.all()),
            "every atom is used by enough samples to be determined",
        ),
        ("coherence", closest, 0.98, closest <= 0.98, "no two atoms are (nearly) the same"),
        (
            "crosstalk",
            crosstalk,
            active,
            crosstalk < active,
            "one threshold on the correlations separates active from inactive atoms (Theorem 3)",
        ),
        (
            "support margin",
            margin,
            1.0,
            margin > 1,
            "the smallest active coefficient exceeds what the next atom could explain",
        ),
    ]


def _agreement(
    D: np.ndarray, halves: tuple[np.ndarray, ...] | None, size: np.ndarray, signed: bool
) -> Agreement:
    """Compare atoms with those of the halves; ``size`` holds standard errors of half the data."""
    n_components, n_features = D.shape
    if halves is None:
        nothing = np.zeros(n_components)
        return Agreement(nothing, nothing + np.inf, nothing.astype(bool), [])
    cosine = np.minimum(*(matched_cosines(D, half, signed=signed) for half in halves))
    distance = np.maximum(*(matched_distances(D, half, signed=signed) for half in halves))
    limit = agreement_threshold(n_components, n_features)
    near = distance <= np.maximum(ERROR_BARS * size, SAME)
    conditions = [
        (
            "stability",
            float(cosine.min()),
            limit,
            bool(np.all(cosine >= limit)),
            "atoms learned from either half of the data alone, from other starts, are the same",
        ),
        (
            "error bars",
            float(np.median(distance / np.maximum(size, SAME))),
            ERROR_BARS,
            bool(near.all()),
            "atoms from half of the data differ by no more than standard errors allow",
        ),
    ]
    return Agreement(cosine, distance, (cosine >= limit) & near, conditions)


def _proven_atoms(
    seen: Residuals, D: np.ndarray, agreement: Agreement, fits: bool, eps: float
) -> np.ndarray:
    """Atoms that samples prove; only exact ones where residuals are not noise."""
    telling = telling_samples(
        seen.codes,
        np.sqrt(seen.square),
        np.sqrt(seen.sample_square),
        np.where(agreement.held, agreement.distance, np.inf),
        D.shape[1],
        eps,
    )
    telling &= seen.at_rounding | fits
    return agreement.held & pinned_atoms(seen.codes[telling], D)


def _other_codes(codes: sparse.csr_array, D: np.ndarray, rule: CodeRule) -> list[tuple]:
    """Whether fair signs exclude other codes; values may repeat."""
    directions = distinct_directions(codes, rule.n_nonzero)
    fair = 0.0 if rule.nonnegative else unfair_signs(directions)
    chance = 1.0
    if np.linalg.matrix_rank(D) == min(D.shape):
        chance = float(np.exp(log_chance_of_other_codes(directions)))
    return [
        (
            "fair signs",
            fair,
            LEVEL,
            fair >= LEVEL,
            "products of the signs of two atoms' codes are as often 1 as -1 (p-value)",
        ),
        (
            "other codes",
            chance,
            CHANCE,
            chance <= CHANCE,
            "if signs are fair: other codes are as sparse (bound on the probability)",
        ),
    ]
