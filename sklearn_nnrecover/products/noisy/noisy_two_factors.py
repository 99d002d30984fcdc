"""Two sparse real factors behind noise: ``X = C @ D + noise``, the supports by description length.

Two stages, both on ``nnz(C) + nnz(D)`` plus what is left beyond noise:

* *counting*: entries beyond noise are coded by atoms that cancel them, as in the exact search
  (`description_length`), with ratios compared within noise. Counting does not mind that most of the
  dictionary is still missing, where least squares would spread over the wrong atoms. The rows are
  coded in D, then by the same pursuit the columns in C: that corrects the supports of D. Least
  squares on the supports, over the cells that the model explains, restores the values;
* *explaining*: with the dictionary nearly complete every coefficient is tested for significance,
  which finds the entries below single cells' noise. Row by row (then column by column) the better
  of the old and the new code is kept, by the penalised and capped sum

      sum_j min(r_j^2 / s^2, z^2)  +  z^2 nnz(codes),

  s the noise and z the level beyond which not one of all cells is expected by accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.stats import norm

from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.integer_pursuit import clean
from sklearn_nnrecover.products.noisy.noisy_agreement import (
    SIGNIFICANT,
    Atoms,
    noisy_candidates,
    noisy_proposals,
    noisy_pursuit,
)
from sklearn_nnrecover.products.noisy.significant_codes import branched_codes, significant_codes
from sklearn_nnrecover.products.noisy.support_least_squares import (
    codes_by_least_squares,
)
from sklearn_nnrecover.products.row_agreement import pattern
from sklearn_nnrecover.products.two_factors.description_length import (
    LEAST_SAVING,
    select_candidates,
)

FALSE_ENTRIES = 0.005
"""Expected number of cells of pure noise beyond the significance level."""

_WEAK_SAVING = 24
"""Atoms that save at most so many non-zeros are doubted, one of two parallel ones always."""

_PARALLEL = 0.9

FEW_STUCK = 10
"""Rows are coded from several beginnings when at most one in so many is not explained."""

_LITTLE = 0.003
"""A sweep that saves less than this fraction is the last one of its kind."""


class NoisyFactors(NamedTuple):
    """``X = C @ D + noise``; rows of D have norm one."""

    C: sp.csr_array
    D: sp.csr_array


class Problem(NamedTuple):
    """Data, their transpose, the noise, and the level of significance in its units."""

    X: np.ndarray
    transposed: np.ndarray
    noise: float
    level: float

    @classmethod
    def of(cls, X: np.ndarray, noise: float, level: float | None = None) -> Problem:
        """Pose the problem of X, at the level of its own cells unless told."""
        level = significance_level(X.size) if level is None else level
        return cls(np.ascontiguousarray(X), np.ascontiguousarray(X.T), noise, level)

    def flipped(self) -> Problem:
        """Return the problem of the transposed data."""
        return self._replace(X=self.transposed, transposed=self.X)

    def residual(self, model: Sequence[sp.csr_array]) -> np.ndarray:
        """Return X less the product of the factors."""
        return self.X - chain_product(model).toarray()

    def significant(self, residual: np.ndarray) -> sp.csr_array:
        """Return the entries beyond noise."""
        beyond = np.abs(residual) > SIGNIFICANT * self.noise
        return sp.csr_array(np.where(beyond, residual, 0.0))

    def capped(self, residual: np.ndarray) -> np.ndarray:
        """Squares that no cell exceeds, in units of the penalty of one non-zero."""
        return np.minimum((residual / (self.noise * self.level)) ** 2, 1.0)

    def cost(self, model: Sequence[sp.csr_array]) -> float:
        """Capped and penalised sum of squares of any number of factors."""
        return float(self.capped(self.residual(model)).sum()) + sum(F.nnz for F in model)


def significance_level(n_cells: int) -> float:
    """Standard deviations beyond which `FALSE_ENTRIES` of so many normal variables are expected."""
    return float(norm.isf(FALSE_ENTRIES / (2 * n_cells)))


def noisy_two_factors(
    X: np.ndarray, noise: float, *, rng: np.random.RandomState, max_sweeps: int = 40
) -> Steps[NoisyFactors]:
    """Find two sparse factors behind Gaussian noise.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    noise : float
        Standard deviation of the noise, positive.
    rng : RandomState
    max_sweeps : int
        Budget: most sweeps of each stage.

    Yields
    ------
    Step
        ``objective`` is the description length, ``gap`` what the sweep saved relative to it.

    Returns
    -------
    NoisyFactors
        Without rows when nothing shortens the description.
    """
    problem = Problem.of(X, noise)
    counted = yield from _count(problem, rng, max_sweeps)
    if not counted.D.shape[0]:
        return counted
    return (yield from _explain(problem, counted, max_sweeps))


def explained_factors(
    X: np.ndarray, noise: float, start: NoisyFactors, max_sweeps: int
) -> Steps[NoisyFactors]:
    """Test the coefficients of given factors for significance, the second stage of the search."""
    problem = Problem.of(X, noise)
    return (yield from _explain(problem, _refit(problem, start), max_sweeps))


def _count(problem: Problem, rng: np.random.RandomState, max_sweeps: int) -> Steps[NoisyFactors]:
    """Build the dictionary by counting the entries beyond noise."""
    n_rows, n_columns = problem.X.shape
    Y = problem.significant(problem.X)
    model = NoisyFactors(sp.csr_array((n_rows, 0)), sp.csr_array((0, n_columns)))
    best, least, min_agreement = model, float(Y.nnz), 3
    for sweep in range(max_sweeps):
        left = problem.significant(problem.residual(model))
        candidates = noisy_candidates(
            left,
            problem.noise,
            rng,
            min_agreement=min_agreement,
            max_pairs=5 * (n_rows + n_columns),
        )
        chosen = select_candidates(
            candidates.rows, noisy_proposals(left, candidates, problem.noise)
        )
        known = _atoms(model, problem.noise)
        atoms = Atoms(
            sp.csr_array(sp.vstack([known.rows, candidates.rows[chosen]], format="csr")),
            np.concatenate([known.std, candidates.std[chosen]]),
        )
        codes = noisy_pursuit(Y, atoms, problem.noise)
        model = _refit(problem, _tidy(codes, atoms.rows))
        columns = Atoms(sp.csr_array(model.C.T.tocsr()), np.zeros(model.C.shape[1]))
        layer = noisy_pursuit(sp.csr_array(Y.T.tocsr()), columns, problem.noise)
        model = _refit(problem, _refit(problem, _tidy(model.C, sp.csr_array(layer.T.tocsr()))))
        n_left = np.count_nonzero(np.abs(problem.residual(model)) > SIGNIFICANT * problem.noise)
        cost = float(model.C.nnz + model.D.nnz + n_left)
        yield Step(cost, (least - cost) / max(least, 1.0))
        saved = least - cost
        if saved > 0:
            best, least = model, cost
        if saved <= _LITTLE * least:
            if min_agreement == 2:
                break
            min_agreement = 2
        if sweep == 2 and least > (1 - LEAST_SAVING) * Y.nnz:
            break
    return best


def _explain(problem: Problem, model: NoisyFactors, max_sweeps: int) -> Steps[NoisyFactors]:
    """Test every coefficient for significance until the description is as short as it gets."""
    best, least = model, problem.cost(model)
    for _ in range(max_sweeps):
        model = _tidy(better_codes(problem, best), best.D)
        model = _refit(problem, model)
        layer = better_codes(problem.flipped(), _transposed(model))
        model = _refit(problem, _tidy(model.C, sp.csr_array(layer.T.tocsr())))
        for doubtful in (_weak, _parallel):
            model = _refit(problem, _without_needless(problem, model, doubtful(model)))
        cost = problem.cost(model)
        yield Step(cost, (least - cost) / least)
        saved = least - cost
        if saved > 0:
            best, least = model, cost
        if saved <= 1e-6 * least:
            break
    return best


def _tidy(C: sp.csr_array, D: sp.csr_array) -> NoisyFactors:
    """Atoms of norm one; those that no two rows use are dissolved."""
    norms = np.sqrt(np.asarray(D.power(2).sum(axis=1)).ravel())
    uses = np.bincount(C.indices, minlength=D.shape[0])
    kept = np.flatnonzero((norms > 0) & (uses > 1))
    C = sp.csr_array(C[:, kept] @ sp.diags_array(norms[kept]))
    D = sp.csr_array(sp.diags_array(1 / norms[kept]) @ D[kept])
    C.sort_indices()
    D.sort_indices()
    return NoisyFactors(C, D)


def _transposed(model: NoisyFactors) -> NoisyFactors:
    C, D = (sp.csr_array(factor.T.tocsr()) for factor in model)
    return NoisyFactors(D, C)


def _atoms(model: NoisyFactors, noise: float) -> Atoms:
    """The atoms with their standard deviations, as if fitted by themselves."""
    energy = np.asarray(model.C.power(2).sum(axis=0)).ravel()
    return Atoms(model.D, noise / np.sqrt(np.maximum(energy, 1e-300)))


def _refit(problem: Problem, model: NoisyFactors) -> NoisyFactors:
    """Least squares for the codes, then for the atoms, over the cells that the model explains."""
    for flip in (False, True):
        explained = np.abs(problem.residual(model)) <= 1.2 * SIGNIFICANT * problem.noise
        if flip:
            layer, codes = (sp.csr_array(factor.T.tocsr()) for factor in model)
            fitted = _significant_fit(problem, problem.transposed, codes, layer, explained.T)
            model = _tidy(model.C, sp.csr_array(fitted.T.tocsr()))
        else:
            fitted = _significant_fit(problem, problem.X, model.C, model.D, explained)
            model = _tidy(fitted, model.D)
    return model


def _significant_fit(
    problem: Problem,
    X: np.ndarray,
    codes: sp.csr_array,
    layer: sp.csr_array,
    keep: np.ndarray,
) -> sp.csr_array:
    fitted, precision = codes_by_least_squares(X, codes, layer, keep)
    significant = np.abs(fitted.data) > SIGNIFICANT * problem.noise * precision
    fitted.data = np.where(significant, fitted.data, 0.0)
    fitted.eliminate_zeros()
    return fitted


def better_codes(problem: Problem, model: NoisyFactors) -> sp.csr_array:
    """Keep the best of the present codes and others, row by row.

    The others are those of a new pursuit, the present ones together with those that cancel what
    they left (where a few cells are wrong by more than noise, least squares follows them), and for
    the last rows that are not explained those of pursuits that begin elsewhere.
    """
    C, D = model
    left = problem.significant(problem.residual(model))
    completed = sp.csr_array(C + noisy_pursuit(left, _atoms(model, problem.noise), problem.noise))
    found = significant_codes(problem.X, D, problem.noise, problem.level)
    best = _cheapest_rows(problem, D, [C, completed, found])
    beyond = problem.significant(problem.residual((best, D)))
    stuck = np.flatnonzero(np.diff(beyond.indptr))
    if D.shape[0] and 0 < FEW_STUCK * len(stuck) < len(problem.X):
        codes = branched_codes(problem.X[stuck], D, problem.noise, problem.level)
        place = sp.csr_array(
            (np.ones(len(stuck)), (stuck, np.arange(len(stuck)))), shape=(C.shape[0], len(stuck))
        )
        best = _cheapest_rows(problem, D, [best, sp.csr_array(place @ codes)])
    return best


def _cheapest_rows(
    problem: Problem, layer: sp.csr_array, codes: Sequence[sp.csr_array]
) -> sp.csr_array:
    best, *others = codes
    least = _row_costs(problem, problem.X, best, layer)
    for other in others:
        costs = _row_costs(problem, problem.X, other, layer)
        best = _chosen_rows(best, other, costs < least - 1e-9)
        least = np.minimum(least, costs)
    return best


def _row_costs(
    problem: Problem, X: np.ndarray, codes: sp.csr_array, layer: sp.csr_array
) -> np.ndarray:
    residual = X - (codes @ layer).toarray()
    return problem.capped(residual).sum(axis=1) + np.diff(codes.indptr)


def _chosen_rows(old: sp.csr_array, new: sp.csr_array, chosen: np.ndarray) -> sp.csr_array:
    keep, take = sp.diags_array((~chosen).astype(float)), sp.diags_array(chosen.astype(float))
    return clean(keep @ old + take @ new, 0.0)


def _weak(model: NoisyFactors) -> np.ndarray:
    """Atoms that save little."""
    uses, weights = (
        np.bincount(model.C.indices, minlength=len(model.D.indptr) - 1),
        np.diff(model.D.indptr),
    )
    return uses * weights - uses - weights <= _WEAK_SAVING


def _parallel(model: NoisyFactors) -> np.ndarray:
    """The less used of every two atoms that are nearly multiples of each other."""
    uses = np.bincount(model.C.indices, minlength=model.D.shape[0])
    cosine = sp.coo_array(model.D @ model.D.T)
    a, b = cosine.coords
    double = (np.abs(cosine.data) > _PARALLEL) & (a != b)
    lesser = double & ((uses[a] < uses[b]) | ((uses[a] == uses[b]) & (a > b)))
    result = np.zeros(model.D.shape[0], dtype=bool)
    result[a[lesser]] = True
    return result


def _without_needless(problem: Problem, model: NoisyFactors, doubtful: np.ndarray) -> NoisyFactors:
    """Drop doubtful atoms whose users are described as shortly by the others."""
    C, D = model
    if not doubtful.any() or doubtful.all():
        return model
    others = np.flatnonzero(~doubtful)
    by_doubtful = sp.csr_array(pattern(C)[:, np.flatnonzero(doubtful)])
    users = np.flatnonzero(np.diff(by_doubtful.indptr))
    found = significant_codes(problem.X[users], D[others], problem.noise, problem.level)
    rise = _row_costs(problem, problem.X[users], found, D[others]) - _row_costs(
        problem, problem.X[users], C[users], D
    )
    needless = by_doubtful[users].T @ rise <= np.diff(D.indptr)[doubtful]
    if not needless.any():
        return model
    recoded = users[by_doubtful[users] @ needless.astype(float) > 0]
    back = sp.csr_array(
        (np.ones(len(others)), (np.arange(len(others)), others)), shape=(len(others), D.shape[0])
    )
    place = sp.csr_array(
        (np.ones(len(users)), (users, np.arange(len(users)))), shape=(C.shape[0], len(users))
    )
    chosen = np.zeros(C.shape[0], dtype=bool)
    chosen[recoded] = True
    trial = _tidy(_chosen_rows(C, sp.csr_array(place @ (found @ back)), chosen), D)
    return trial if problem.cost(trial) <= problem.cost(model) else model
