"""Real sparse factors behind noise: from the data to a judged fit with standard errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import require_memory, working_memory_bytes
from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.chain_claims import supported_claims
from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.factor_gauge import normalize_chain
from sklearn_nnrecover.products.noisy.chain_agreement import nodes_found_again
from sklearn_nnrecover.products.noisy.dense_codes import codes_within_noise
from sklearn_nnrecover.products.noisy.noisy_chains import noisy_chains
from sklearn_nnrecover.products.noisy.noisy_evidence import agreement_within, noisy_atom_evidence
from sklearn_nnrecover.products.noisy.noisy_two_factors import Problem
from sklearn_nnrecover.products.noisy.residual_noise import residual_noise
from sklearn_nnrecover.products.noisy.support_least_squares import (
    SupportFit,
    fit_supports,
)
from sklearn_nnrecover.products.peeling import Evidence, Matrix
from sklearn_nnrecover.products.recovery_status import Status
from sklearn_nnrecover.products.two_factors.atom_conditions import atom_conditions
from sklearn_nnrecover.products.two_factors.atom_identification import AtomEvidence, no_evidence

_BYTES_PER_CELL = 64.0


class NoisyRecovery(NamedTuple):
    """``X = factors[0] @ factors[1] @ ... + noise`` in the canonical gauge, and what is known.

    ``identified`` has one array per link, with one entry per hidden node; ``lack_of_fit`` is None
    where the noise is rounding.
    """

    fit: SupportFit
    identified: list[np.ndarray]
    conditions: list[Evidence]
    lack_of_fit: Evidence | None


def dense_bytes(X: Matrix) -> float:
    """Memory of X and of the dense arrays that the search compares it with."""
    return _BYTES_PER_CELL * X.shape[0] * X.shape[1]


def recover_noisy_factors(
    X: Matrix,
    noise: float,
    *,
    rounded: bool = False,
    n_factors: int | None = None,
    n_nonzero: int | None,
    n_init: int,
    max_iter: int,
    rng: np.random.RandomState,
) -> Steps[NoisyRecovery | None]:
    """Find sparse factors behind noise, fit all non-zeros together, and judge the result.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
    noise : float
        Standard deviation of the noise.
    rounded : bool
        The noise is rounding, of which no law is known that could be tested.
    n_factors : int or None
        Most factors; None goes on while the description becomes shorter.
    n_nonzero : int or None
        Nodes with more non-zeros do not count as identified.
    n_init, max_iter : int
        Starts, on rows and columns in a new order, and sweeps of each.
    rng : RandomState

    Yields
    ------
    Step
        Of the searches, one after another.

    Returns
    -------
    NoisyRecovery or None
        None if not one node is identified (for a chain of ``n_factors`` three or more: if one of
        its links has no node that passes the tests of its own), or if Gaussian noise does not
        explain the residual: the search then mistook for noise what is none, and its evidence
        holds for nothing.

    Raises
    ------
    MemoryError
        If X and its residuals as dense arrays exceed scikit-learn's ``working_memory``.
    """
    require_memory(
        dense_bytes(X),
        working_memory_bytes(),
        "X behind noise as a dense array with its residuals",
        "raise working_memory.",
    )
    search = partial(noisy_chains, rng=rng, max_sweeps=max_iter, n_factors=n_factors)
    problem = Problem.of(X.toarray() if sp.issparse(X) else X, noise)
    chains = yield from search(problem.X, noise)
    others: list[list[list[sp.csr_array]]] = []
    # A longer chain of which nothing can be claimed says less than a shorter one, unless asked for.
    for chain in reversed(chains):
        judged = _fitted(problem, chain, rounded=rounded)
        if judged is None:
            continue
        while len(others) < n_init - 1:
            others.append((yield from _shuffled_start(problem, search, rng)))
        rivals = [_of_length(other, len(chain)) for other in others]
        recovery = _recovery(problem, judged, rivals, n_nonzero, rng)
        if recovery is None:
            continue
        if 2 < len(chain) == n_factors or any(claim.any() for claim in recovery.identified):
            return recovery
    return None


class _Judged(NamedTuple):
    """A chain fitted to the data, with the evidence for the nodes of each of its links."""

    fit: SupportFit
    lack_of_fit: Evidence | None
    evidence: list[AtomEvidence]
    n_left: int


def _fitted(problem: Problem, chain: list[sp.csr_array], *, rounded: bool) -> _Judged | None:
    """Fit a chain, None if noise does not explain the rest, or no node has evidence."""
    closed, n_left = _closed(problem, chain)
    fit = fit_supports(problem.X, normalize_chain(closed)[0])
    fit_test = None if rounded else residual_noise(problem.X, fit)
    if fit_test is not None and not fit_test.passed:
        return None
    # The fit may change which entry of a row is its smallest, not the order of the rows.
    evidence = [_link_evidence(problem, fit.factors, link) for link in range(len(chain) - 1)]
    if not any(link.identified.any() for link in evidence):
        return None
    return _Judged(fit, fit_test, evidence, n_left)


def _recovery(
    problem: Problem,
    judged: _Judged,
    rivals: list[list[sp.csr_array]],
    n_nonzero: int | None,
    rng: np.random.RandomState,
) -> NoisyRecovery | None:
    """Claim the nodes that all starts found, None if some link has none that the data support."""
    chain, evidence, n_init = judged.fit.factors, judged.evidence, len(rivals) + 1
    found_again = [np.ones(layer.shape[0], dtype=np.intp) for layer in chain[1:]]
    for rival in rivals:
        for count, again in zip(found_again, nodes_found_again(chain, rival, rng), strict=True):
            count += again
    claims = [
        link.identified & (count == n_init) & (n_init >= 3)
        for link, count in zip(evidence, found_again, strict=True)
    ]
    if n_nonzero is not None:
        claims = [
            claim & (np.diff(layer.indptr) <= n_nonzero)
            for claim, layer in zip(claims, chain[1:], strict=True)
        ]
    if not all(claim.any() for claim in claims):
        return None
    identified = supported_claims(
        chain,
        claims,
        [True] * len(claims),
        product=chain_product,
        same=agreement_within(chain_product(chain).data, problem.noise),
        data_of_all=False,
    )
    conditions = [
        Evidence(
            "noise",
            judged.fit.noise_std,
            np.inf,
            True,
            "standard deviation of the residual; entries and nodes below it are not found",
        ),
        *atom_conditions(
            AtomEvidence(*map(np.concatenate, zip(*evidence, strict=True))),
            np.concatenate(found_again),
            n_init=n_init,
            n_left=judged.n_left * len(claims),
            within_noise=True,
        ),
    ]
    return NoisyRecovery(judged.fit, identified, conditions, judged.lack_of_fit)


def _of_length(chains: list[list[sp.csr_array]], length: int) -> list[sp.csr_array]:
    """Return the chain of a start that has so many factors, its longest if none has."""
    same = [chain for chain in chains if len(chain) == length]
    return same[0] if same else (chains or [[]])[-1]


def _closed(problem: Problem, chain: Sequence[sp.csr_array]) -> tuple[list[sp.csr_array], int]:
    """Give each row that is not explained nodes of its own; return how many rows those are."""
    residual = problem.residual(chain)
    left = sp.csr_array(np.where(np.abs(residual) > problem.level * problem.noise, residual, 0.0))
    rows = np.flatnonzero(np.diff(left.indptr))
    code = sp.csr_array(
        (np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(len(residual), len(rows))
    )
    through = sp.eye_array(len(rows))
    inner = [sp.csr_array(sp.block_diag([F, through], format="csr")) for F in chain[1:-1]]
    return [
        sp.csr_array(sp.hstack([chain[0], code], format="csr")),
        *inner,
        sp.csr_array(sp.vstack([chain[-1], left[rows]], format="csr")),
    ], len(rows)


def _link_evidence(problem: Problem, chain: list[sp.csr_array], link: int) -> AtomEvidence:
    """Evidence for the rows of ``chain[link + 1]`` in its product with the factor before.

    That product is known up to noise through the inverses of all other factors. The length of a
    chain changes with these two factors when atoms are exchanged, not with products of factors.
    """
    codes, layer = chain[link], chain[link + 1]
    columns = codes_within_noise(problem, chain[link + 2 :])
    before = [sp.csr_array(F.T) for F in reversed(chain[:link])]
    rows = codes_within_noise(problem.flipped(), before)
    if columns is None or rows is None:
        return no_evidence(codes, layer)
    return noisy_atom_evidence(
        sp.csr_array(sp.diags_array(problem.noise / rows.std) @ codes),
        sp.csr_array(layer @ sp.diags_array(1 / columns.std)),
        1.0,
    )


def _shuffled_start(
    problem: Problem,
    search: Callable[[np.ndarray, float], Steps[list[list[sp.csr_array]]]],
    rng: np.random.RandomState,
) -> Steps[list[list[sp.csr_array]]]:
    X = problem.X
    rows, columns = rng.permutation(X.shape[0]), rng.permutation(X.shape[1])
    chains = yield from search(np.ascontiguousarray(X[rows][:, columns]), problem.noise)
    return [
        [chain[0][np.argsort(rows)], *chain[1:-1], chain[-1][:, np.argsort(columns)]]
        for chain in chains
    ]


class NoisyVerdict(NamedTuple):
    """Status, the condition it turned on, and whether the product is X to rounding."""

    status: Status
    condition: Evidence
    exact: bool


def noisy_status(noisy: NoisyRecovery, error: float, tolerance: float) -> NoisyVerdict:
    """Judge factors that were found within noise.

    Parameters
    ----------
    noisy : NoisyRecovery
    error : float
        Error of the product, relative to the largest entry of X.
    tolerance : float
        What rounding of the input's dtype allows.
    """
    n_nodes = sum(len(link) for link in noisy.identified)
    n_identified = sum(int(link.sum()) for link in noisy.identified)
    condition, exact = noisy.lack_of_fit, False
    how = f"explain X up to Gaussian noise of standard deviation {noisy.fit.noise_std:.3g}"
    if condition is None:
        exact = error <= tolerance
        condition = Evidence(
            "error of the product", error, tolerance, exact, "X is reproduced to rounding"
        )
        how = "reproduce X to rounding" if exact else f"reproduce X to {error:.1e} only"
    if n_identified < n_nodes or not condition.passed:
        reason = (
            f"The factors {how}; {n_identified} of {n_nodes} hidden nodes are identified, the "
            "others are not determined by these data (see units)."
        )
        return NoisyVerdict(Status("partial", reason, None), condition, exact)
    reason = (
        f"The factors {how} and every hidden node is fixed by its support, beyond accident, stable "
        "under exchange, and found by every start; "
    )
    if exact:
        reason += "a distant factorisation that is as short is not excluded."
        return NoisyVerdict(Status("exact", reason, "local"), condition, True)
    reason += "the standard errors in factors_std_ hold."
    return NoisyVerdict(Status("approximate", reason, None), condition, False)
