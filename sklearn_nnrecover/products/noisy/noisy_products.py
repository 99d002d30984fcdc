"""Real sparse factors behind noise: from the data to a judged fit with standard errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.stats import chi2, norm
from scipy.stats import f as f_distribution

from sklearn_nnrecover.linalg.blocks import require_memory, working_memory_bytes
from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.factor_gauge import normalize_chain, row_gauge
from sklearn_nnrecover.products.noisy.noisy_evidence import agreement_within, noisy_atom_evidence
from sklearn_nnrecover.products.noisy.noisy_two_factors import (
    NoisyFactors,
    noisy_two_factors,
    significance_level,
)
from sklearn_nnrecover.products.noisy.support_least_squares import SupportFit, fit_supports
from sklearn_nnrecover.products.peeling import Evidence, Matrix
from sklearn_nnrecover.products.recovery_status import LACK_OF_FIT_LEVEL, Status
from sklearn_nnrecover.products.row_agreement import distinct_rows, sign_matrix
from sklearn_nnrecover.products.structured.lack_of_fit import (
    combined_p_value,
    singular_value_p_value,
)
from sklearn_nnrecover.products.two_factors.atom_identification import ACCIDENTS, AtomEvidence
from sklearn_nnrecover.products.two_factors.untouched_cells import beyond_leftovers

_BYTES_PER_CELL = 64.0


class NoisyRecovery(NamedTuple):
    """``X = factors[0] @ factors[1] + noise`` in the canonical gauge, and what is known about it.

    ``identified`` has one entry per hidden node; ``lack_of_fit`` is None where the noise is
    rounding.
    """

    fit: SupportFit
    identified: np.ndarray
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
    n_nonzero: int | None,
    n_init: int,
    max_iter: int,
    rng: np.random.RandomState,
) -> Steps[NoisyRecovery | None]:
    """Find two sparse factors behind noise, fit all non-zeros together, and judge the result.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
    noise : float
        Standard deviation of the noise.
    rounded : bool
        The noise is rounding, of which no law is known that could be tested.
    n_nonzero : int or None
        Atoms with more non-zeros do not count as identified.
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
        None if not one atom is identified, or if Gaussian noise does not explain the residual: the
        search then mistook for noise what is none, and its evidence holds for nothing.

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
    data = X.toarray() if sp.issparse(X) else X
    model = yield from noisy_two_factors(data, noise, rng=rng, max_sweeps=max_iter)
    if not model.D.shape[0]:
        return None
    model, n_left = _closed(data, model, noise)
    (C, D), _ = normalize_chain(model)
    fit = fit_supports(data, [C, D])
    # The fit may change which entry of a row is its smallest, not the order of the rows.
    C, D = fit.factors
    fit_test = None if rounded else _lack_of_fit(data, fit)
    if fit_test is not None and not fit_test.passed:
        return None
    evidence = noisy_atom_evidence(C, D, noise)
    if not evidence.identified.any():
        return None
    found_again = np.ones(D.shape[0], dtype=np.intp)
    for _ in range(n_init - 1):
        other = yield from _shuffled_start(data, noise, rng, max_iter)
        found_again += _same_signs(D, other.D, rng)
    identified = evidence.identified & (found_again == n_init)
    if n_nonzero is not None:
        identified &= np.diff(D.indptr) <= n_nonzero
    if n_init < 3:
        identified[:] = False
    same = agreement_within(sp.csr_array(C @ D).data, noise)
    identified = beyond_leftovers(C, D, identified, same=same)
    if not identified.any():
        return None
    conditions = _conditions(fit, evidence, found_again, n_init, n_left)
    return NoisyRecovery(fit, identified, conditions, fit_test)


def _closed(X: np.ndarray, model: NoisyFactors, noise: float) -> tuple[NoisyFactors, int]:
    """Make what is left beyond noise atoms of their own, one a row; return their number."""
    residual = X - (model.C @ model.D).toarray()
    left = sp.csr_array(
        np.where(np.abs(residual) > significance_level(X.size) * noise, residual, 0.0)
    )
    rows = np.flatnonzero(np.diff(left.indptr))
    code = sp.csr_array(
        (np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(len(X), len(rows))
    )
    return (
        NoisyFactors(
            sp.csr_array(sp.hstack([model.C, code], format="csr")),
            sp.csr_array(sp.vstack([model.D, left[rows]], format="csr")),
        ),
        len(rows),
    )


def _shuffled_start(
    X: np.ndarray, noise: float, rng: np.random.RandomState, max_sweeps: int
) -> Steps[NoisyFactors]:
    rows, columns = rng.permutation(X.shape[0]), rng.permutation(X.shape[1])
    shuffled = yield from noisy_two_factors(
        np.ascontiguousarray(X[rows][:, columns]), noise, rng=rng, max_sweeps=max_sweeps
    )
    return NoisyFactors(shuffled.C[np.argsort(rows)], shuffled.D[:, np.argsort(columns)])


def _same_signs(A: sp.csr_array, B: sp.csr_array, rng: np.random.RandomState) -> np.ndarray:
    """Whether each row of A has the support and, up to one, the signs of a row of B."""
    both, _ = row_gauge(sp.vstack([A, B], format="csr"))
    group = distinct_rows(sign_matrix(both), rng)
    in_B = np.zeros(group.n_groups, dtype=bool)
    in_B[group.label[A.shape[0] :]] = True
    return in_B[group.label[: A.shape[0]]]


def _lack_of_fit(X: np.ndarray, fit: SupportFit) -> Evidence:
    """Test whether the residual is noise of one variance, in and out of the product's support.

    A missing entry leaves one large cell or a larger variance in the support, a missing node a
    large singular value, noise of several levels rows or columns that are too large.
    """
    fitted = (fit.factors[0] @ fit.factors[1]).toarray()
    residual = X - fitted
    inside = fitted != 0
    n_inside, n_outside = int(inside.sum()) - fit.n_free, int((~inside).sum())
    variance = None
    if min(n_inside, n_outside) > 1:
        ratio = np.sum(residual[inside] ** 2) / n_inside / np.mean(residual[~inside] ** 2)
        upper = float(f_distribution.sf(ratio, n_inside, n_outside))
        variance = 2 * min(upper, 1 - upper)
    squares = (residual / fit.noise_std) ** 2
    largest = np.sqrt(squares.max())
    # Fitted entries leave a line fewer degrees of freedom: its number of cells errs to "no misfit".
    lines = [
        min(1.0, n_lines * float(chi2.sf(squares.sum(axis=axis).max(), squares.shape[axis])))
        for axis, n_lines in ((1, X.shape[0]), (0, X.shape[1]))
    ]
    p_value = combined_p_value(
        variance,
        *lines,
        singular_value_p_value(residual, fit.noise_std),
        min(1.0, 2 * X.size * float(norm.sf(largest))),
    )
    return Evidence(
        "lack of fit",
        1.0 if p_value is None else p_value,
        LACK_OF_FIT_LEVEL,
        p_value is None or p_value > LACK_OF_FIT_LEVEL,
        "p-value of Gaussian noise of one variance (variance inside and outside the support, "
        "largest row, column, cell and singular value)",
    )


def _conditions(
    fit: SupportFit,
    evidence: AtomEvidence,
    found_again: np.ndarray,
    n_init: int,
    n_left: int,
) -> list[Evidence]:
    n_atoms = len(found_again)
    unlikely = evidence.log10_accidents <= np.log10(ACCIDENTS)
    return [
        Evidence(
            "noise",
            fit.noise_std,
            np.inf,
            True,
            "standard deviation of the residual; entries and nodes below it are not found",
        ),
        Evidence(
            "atoms found",
            n_atoms - n_left,
            n_atoms,
            n_left == 0,
            "atoms that several rows share; the others are single rows that nothing explained",
        ),
        Evidence(
            "atoms fixed by their supports",
            int(np.sum(evidence.anchored)),
            n_atoms,
            bool(evidence.anchored.all()),
            "values that follow from the cells reached by one hidden node only",
        ),
        Evidence(
            "atoms that no accident explains",
            int(np.sum(unlikely)),
            n_atoms,
            bool(unlikely.all()),
            f"expected number of patterns as good within noise at most {ACCIDENTS:g}",
        ),
        Evidence(
            "cheapest exchange",
            int(evidence.exchange_margin.min(initial=n_atoms)),
            1,
            bool(np.all(evidence.exchange_margin > 0)),
            "non-zeros added by the cheapest exchange of two atoms, cancelling within noise",
        ),
        Evidence(
            "starts that agree",
            int(np.sum(found_again == n_init)),
            n_atoms,
            bool(np.all(found_again == n_init)),
            f"atoms found again, with their signs, by each of {n_init} starts on shuffled data",
        ),
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
    n_nodes = len(noisy.identified)
    n_identified = int(np.sum(noisy.identified))
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
