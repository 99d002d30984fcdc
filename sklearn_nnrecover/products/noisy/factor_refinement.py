"""Which entries of each factor of a chain are significant, given all the others.

Between ``L = F[0] ... F[l-1]`` and ``R = F[l+1] ...`` the factor F[l] is seen in two ways, either
with independent noise in what it codes at a time:

* row by row: ``pinv(L) @ X = F[l] @ R``: rows with their own level of noise, coded in R;
* column by column: ``X @ pinv(R) = L @ F[l]``, the same for the transposes.

The first factor has no L and is coded row by row, the last one column by column, those between
both ways. All values are then fitted together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.noisy.dense_codes import codes_within_noise
from sklearn_nnrecover.products.noisy.noisy_agreement import SIGNIFICANT
from sklearn_nnrecover.products.noisy.noisy_two_factors import (
    NoisyFactors,
    Problem,
    better_codes,
)
from sklearn_nnrecover.products.noisy.support_least_squares import (
    codes_by_least_squares,
    fit_supports,
)
from sklearn_nnrecover.products.row_agreement import pattern

MAX_SWEEPS = 10
"""Most sweeps over all factors."""


def refined_chain(
    problem: Problem, factors: Sequence[sp.csr_array], worth: float = np.inf
) -> list[sp.csr_array]:
    """Test all entries of all factors for significance until the description is short.

    Rows that the chain does not explain would bend the layers that they use by mistake: the layers
    are tested and fitted on the other rows.

    Parameters
    ----------
    problem : Problem
    factors : sequence of csr_array
    worth : float
        Cost that the first sweep must undercut for others to follow.

    Returns
    -------
    list of csr_array
        Nodes that fewer than two samples use are gone.
    """
    best = _fitted(problem, with_spare_nodes(problem, factors))
    least = problem.cost(best)
    for _ in range(MAX_SWEEPS):
        trial = best
        for at in range(len(best)):
            trial = _shorter(problem, trial, at)
        cost = problem.cost(trial)
        if cost >= least - 1e-6 * least:
            break
        best, least = trial, cost
        if least >= worth:
            break
    return best


def _shorter(problem: Problem, chain: list[sp.csr_array], at: int) -> list[sp.csr_array]:
    """Recode one factor and fit the values, if that shortens the description."""
    rows = _explained_rows(problem, chain) if at else slice(None)
    part = Problem.of(problem.X[rows], problem.noise, problem.level)
    recoded = _recoded(part, [chain[0][rows], *chain[1:]], at)
    trial = _fitted(problem, [*chain[:at], recoded, *chain[at + 1 :]])
    return trial if problem.cost(trial) < problem.cost(chain) else chain


def _explained_rows(problem: Problem, chain: Sequence[sp.csr_array]) -> np.ndarray:
    """Rows without cells beyond noise, all if those are few."""
    beyond = np.abs(problem.residual(chain)) > 1.2 * SIGNIFICANT * problem.noise
    good = np.flatnonzero(~beyond.any(axis=1))
    return good if 2 * len(good) >= len(beyond) else np.arange(len(beyond))


def _recoded(problem: Problem, chain: list[sp.csr_array], at: int) -> sp.csr_array:
    factor = chain[at]
    before = chain_product(chain[:at]) if at else None
    after = chain_product(chain[at + 1 :]) if at + 1 < len(chain) else None
    if after is not None:
        factor = _coded_rows(problem, before, factor, after)
    if before is not None:
        flipped = None if after is None else sp.csr_array(after.T)
        factor = sp.csr_array(
            _coded_rows(
                problem.flipped(), flipped, sp.csr_array(factor.T), sp.csr_array(before.T)
            ).T
        )
    factor.sort_indices()
    return factor


def _coded_rows(
    problem: Problem,
    before: sp.csr_array | None,
    factor: sp.csr_array,
    after: sp.csr_array,
) -> sp.csr_array:
    """Code what ``before`` says of ``factor @ after`` in the rows of ``after``."""
    layers = [] if before is None else [sp.csr_array(before.T)]
    piece = codes_within_noise(problem.flipped(), layers)
    if piece is None:
        return factor
    std = piece.std
    norms = np.sqrt(np.asarray(after.power(2).sum(axis=1)).ravel())
    if not norms.all():
        return factor
    scaled = Problem.of(piece.Y.T, 1.0, problem.level)
    model = NoisyFactors(
        sp.csr_array(sp.diags_array(1 / std) @ factor @ sp.diags_array(norms)),
        sp.csr_array(sp.diags_array(1 / norms) @ after),
    )
    codes = better_codes(scaled, model)
    return sp.csr_array(sp.diags_array(std) @ codes @ sp.diags_array(1 / norms))


def _fitted(problem: Problem, factors: Sequence[sp.csr_array]) -> list[sp.csr_array]:
    """Fit the layers to the rows that are explained, then the codes of all rows to the layers."""
    chain = without_idle_nodes(factors)
    rows = _explained_rows(problem, chain)
    layers = fit_supports(problem.X[rows], [chain[0][rows], *chain[1:]]).factors[1:]
    codes, _ = codes_by_least_squares(problem.X, chain[0], chain_product(layers))
    return [codes, *layers]


def without_idle_nodes(factors: Sequence[sp.csr_array]) -> list[sp.csr_array]:
    """Drop nodes that fewer than two samples use, or that lead nowhere."""
    chain = [sp.csr_array(F) for F in factors]
    while True:
        before = [F.shape for F in chain]
        for at in range(1, len(chain)):
            head = pattern(chain_product([pattern(F) for F in chain[:at]]))
            uses = np.bincount(head.indices, minlength=chain[at].shape[0])
            kept = np.flatnonzero((uses > 1) & (np.diff(chain[at].indptr) > 0))
            chain[at - 1], chain[at] = sp.csr_array(chain[at - 1][:, kept]), chain[at][kept]
        if [F.shape for F in chain] == before:
            return chain


def with_spare_nodes(problem: Problem, factors: Sequence[sp.csr_array]) -> list[sp.csr_array]:
    """Let samples use every node directly, past the layers before it, where that is shorter.

    A layer in which a node is missing leaves the samples that use it without a code.
    """
    chain = list(factors)
    for at in range(len(chain) - 2, 0, -1):
        size = chain[at].shape[1]
        layer = sp.csr_array(sp.vstack([chain[at], sp.eye_array(size)], format="csr"))
        codes = sp.csr_array(
            sp.hstack([chain[at - 1], sp.csr_array((chain[at - 1].shape[0], size))], format="csr")
        )
        trial = [*chain[: at - 1], codes, layer, *chain[at + 1 :]]
        trial[at - 1] = _recoded(problem, trial, at - 1)
        chain = without_idle_nodes(trial)
    return chain
