"""The mixin that fits a moment network to samples that pass by."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklearn_nnrecover.base._sklearn_compat import _check_sample_weight, _fit_context
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.networks._moment_net import Judged, MomentNetMixin
from sklearn_nnrecover.networks._stored_net import in_fitted_order
from sklearn_nnrecover.networks.evidence.score_tests import score_tests
from sklearn_nnrecover.networks.evidence.verdict import is_zero_residual
from sklearn_nnrecover.networks.model.design import ROUNDING_UNITS, Design
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    residual_sum_of_squares,
)
from sklearn_nnrecover.networks.moment_evidence import (
    MOST_JUDGED,
    STREAMED_NEGLIGIBLE,
    Evidence,
    gather_evidence,
    refine,
    same_optimum,
)
from sklearn_nnrecover.networks.moment_recovery import MomentChecks, as_network, moment_checks
from sklearn_nnrecover.networks.moments.fourth_order_moments import SummedMoments, whiten_moments
from sklearn_nnrecover.networks.moments.input_symmetry import symmetry_of_moments
from sklearn_nnrecover.networks.moments.pure_neuron_moments import (
    choose_width,
    estimate_network,
    estimate_with_width,
    largest_width,
)
from sklearn_nnrecover.networks.moments.row_sample import RowSample
from sklearn_nnrecover.networks.moments.symmetric_moments import SymmetricMoments
from sklearn_nnrecover.networks.search.least_squares_search import Rival
from sklearn_nnrecover.networks.solvers import Options, Recovery
from sklearn_nnrecover.networks.streamed_gauss_newton import (
    StreamedGaussNewton,
    streamed_standard_errors,
)


class StreamedMomentsMixin(MomentNetMixin):
    """Decides how samples are accumulated, how their sums are solved, and how steps are made.

    The estimator provides ``n_hidden``, ``fit_intercept``, ``random_state``, ``_options`` and
    ``_width``.
    """

    moments_: SymmetricMoments
    loss_curve_: np.ndarray
    random_state: Any
    fit_intercept: bool
    _design: Design
    _checks: MomentChecks
    _current: TwoLayerNetwork
    _passing: StreamedGaussNewton | None
    _kept_rows: RowSample | None
    _magnitude: float
    _refining: bool

    @abstractmethod
    def _options(self) -> Options: ...

    @abstractmethod
    def _width(self) -> int | None: ...

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Add samples to the sums, and estimate the network from all of them so far.

        Only sums are kept, and the order of the samples does not matter. The estimate is that of
        ``fit`` with ``method="moments", n_refits=0``. To accumulate many chunks without solving
        after each, use :class:`SymmetricMoments` and :meth:`fit_moments`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Outputs.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Frequencies.

        Returns
        -------
        self : SymmetricMomentNet
            The estimator.

        Raises
        ------
        ValueError
            For NaN, infinity, an empty chunk (or weights that are all zero, at the first), other
            widths than before, ``fit_intercept=True``; what was accumulated before is untouched.
        MemoryError
            At the first chunk, if the sums would exceed scikit-learn's ``working_memory``.
        """
        self._refuse_intercept("partial_fit")
        first = not hasattr(self, "moments_")
        X, y = self._validate_samples(X, y, reset=first)
        moments = SymmetricMoments() if first else self.moments_
        # A refused chunk leaves the sums as they were.
        moments.update(X, y, sample_weight)
        if moments.n_rows == 0:
            raise ValueError("sample_weight must contain a positive number: no samples were given.")
        if first:
            self._y_ndim = y.ndim
            self.n_outputs_ = moments.n_outputs
        self.moments_ = moments
        self._solve_moments()
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_moments(self, moments: Any) -> Any:
        """Estimate the network from sums that were accumulated elsewhere.

        Parameters
        ----------
        moments : SymmetricMoments
            Sums; they are copied, and ``partial_fit`` may add to the copy.

        Returns
        -------
        self : SymmetricMomentNet
            The estimator.

        Raises
        ------
        ValueError
            For empty sums, and with ``fit_intercept=True``.
        """
        self._refuse_intercept("fit_moments")
        if not isinstance(moments, SymmetricMoments) or moments.n_rows == 0:
            raise ValueError("fit_moments needs SymmetricMoments that were updated with samples.")
        self._forget_sums()
        self.moments_ = moments.copy()
        self.n_features_in_, self.dtype_ = moments.n_features, moments.dtype
        self.n_outputs_ = moments.n_outputs
        self._y_ndim = 1 if moments.n_outputs == 1 else 2
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._solve_moments()
        return self

    def refine_partial(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Add samples to the normal equations of a Gauss-Newton step around the current network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs: those of ``partial_fit`` once more, chunk by chunk, or fresh ones.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Outputs.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Frequencies.

        Returns
        -------
        self : SymmetricMomentNet
            The estimator; the network changes at :meth:`refine_step`.

        Raises
        ------
        ValueError
            For bad samples (what was accumulated before is untouched).
        """
        check_is_fitted(self, "moments_")
        X, y = self._validate_samples(X, y, reset=False)
        y = y.reshape(len(y), -1).astype(np.float64)
        if y.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {y.shape[1]} outputs, but the network has {self.n_outputs_}.")
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        X, design = X.astype(np.float64), self._design
        Z, Y = design.transform(X), y / design.output_scale
        if self._passing is None:
            self._passing = StreamedGaussNewton(self._current)
        if self._kept_rows is None:
            seed = check_random_state(self.random_state).randint(2**31)
            self._kept_rows = RowSample(MOST_JUDGED, seed)
        size = np.abs(X).max(axis=0, initial=0.0) @ np.abs(design.whitening.transform)
        self._magnitude = max(
            self._magnitude, float(np.abs(Y).max(initial=0.0)), float(size.max(initial=0.0))
        )
        self._passing.add(Z, Y, weight)
        kept = weight > 0
        self._kept_rows.add(Z[kept], Y[kept], weight[kept])
        return self

    def refine_step(self) -> Any:
        """Make the Gauss-Newton step of the samples given to :meth:`refine_partial`.

        Once the next step would change nothing, the network is judged on a random part of the
        samples of the pass, and ``report_`` holds the verdict. Until then, make more passes.

        Returns
        -------
        self : SymmetricMomentNet
            The estimator.

        Raises
        ------
        ValueError
            If no samples were given.
        """
        check_is_fitted(self, "moments_")
        if self._passing is None or self._passing.sums is None:
            raise ValueError("refine_step needs samples: call refine_partial first.")
        before, sums = self._passing.network, self._passing.sums
        step = self._passing.step()
        design, rows = self._design, self._kept_rows
        assert rows is not None
        self._kept_rows = None
        rounding = ROUNDING_UNITS * float(np.finfo(self.dtype_).eps) * max(1.0, self._magnitude)
        Z, Y, weight = rows.arrays
        part = Samples(Z, Y, weight, False, rounding)
        equations = sums.weight * self.n_outputs_
        share = part.weight.sum() / sums.weight
        exact = is_zero_residual(step.loss * share, part)
        # At zero residual a step is rounding; under noise the last one is too small to matter.
        self._current = before.normalized() if exact else self._passing.network
        if exact:
            self._passing = None
        self.n_rows_ = sums.weight
        curve = self.loss_curve_ if self._refining else np.zeros(0)
        self._refining = True
        loss = step.loss * design.output_scale**2 / equations
        self.loss_curve_ = np.append(curve, loss)
        self.n_iter_ = len(self.loss_curve_)
        # Kinks that cross samples promise what no step keeps.
        if not exact and min(step.fall, step.change) > STREAMED_NEGLIGIBLE / equations:
            note = f"The last refinement step promises a relative fall of {step.fall:.1e}."
            self._set_unrefined(self._current, design, self._checks, loss=loss, note=note)
            return self
        network = in_fitted_order(self._current, design)
        evidence = self._streamed_evidence(network, step.loss, part, share, exact)
        # The sums were taken around the units in another order, or a negligible step away.
        errors = streamed_standard_errors(before, sums, design)
        order = _matching(before, network)
        errors = errors._replace(W=errors.W[:, order], A=errors.A[order])
        if exact:
            errors = errors._replace(W=0 * errors.W, A=0 * errors.A)
        self._set_judged(Judged(evidence, part, sums.weight, errors, self._checks), design)
        return self

    def _streamed_evidence(
        self,
        network: TwoLayerNetwork,
        loss: float,
        part: Samples,
        share: float,
        exact: bool,
    ) -> Evidence:
        """Evidence for the network of all samples from a part of them."""
        rng = check_random_state(self.random_state)
        options = self._options()
        if exact:
            found = run_to_end(gather_evidence(network, loss * share, part, part, options, rng))
            return found._replace(recovery=found.recovery._replace(network=network, loss=loss))
        nearby = run_to_end(refine(part, network, options, part))
        own = residual_sum_of_squares(nearby, part)
        found = run_to_end(gather_evidence(nearby, own, part, part, options, rng))
        recovery = found.recovery
        agreeing = recovery.n_agreeing if same_optimum(recovery.loss, own, part) else 1
        search = recovery.search
        if search is not None:
            rivals = [Rival(r.network, r.evidence / share) for r in search.rivals]
            search = search._replace(network=network, loss=loss, rivals=rivals)
        tests = score_tests(network, part, rng)
        return Evidence(Recovery(network, "moments", loss, agreeing, search=search), tests)

    def _solve_moments(self) -> None:
        """Estimate the network from the sums."""
        moments = self.moments_
        m = moments.n_outputs
        second = moments.second / max(moments.weight, np.finfo(float).tiny)
        whitening = whiten_moments(moments)
        scale = float(np.sqrt(np.trace(second[-m:, -m:]) / m))
        self._design = Design(whitening, scale if scale > 0 else 1.0, False)
        rng = check_random_state(self.random_state)
        source = SummedMoments(moments, whitening, self._design.output_scale)
        most = largest_width(source.low)
        k, note = self._width(), ""
        if (k or 1) > most:
            note = f"Moments need n_hidden of at most {most} here; fit needs not."
            k = most
        if whitening.rank == 0 or scale == 0:
            c = np.zeros(m)
            network = TwoLayerNetwork(
                np.zeros((whitening.rank, 1)), np.zeros((1, m)), c, self._activation()
            )
            self._checks, note = MomentChecks([]), "X or y is zero on all samples."
        else:
            slope = self._activation().negative_slope
            assert slope is not None
            if k is None:
                estimate, width = estimate_with_width(source, moments.n_rows, rng=rng, slope=slope)
            else:
                estimate = estimate_network(source, k, rng=rng, slope=slope)
                width = choose_width(source.low, moments.n_rows)[0]
            self._checks = moment_checks(symmetry_of_moments(moments), None, width, estimate)
            network = as_network(estimate, self._options())
        self._current = network
        self._passing, self._kept_rows = None, None
        self._magnitude, self._refining = 0.0, False
        self.n_iter_, self.loss_curve_ = 1, np.zeros(0)
        self.n_rows_ = moments.weight
        self._set_unrefined(network, self._design, self._checks, note=note, warn=bool(note))

    def _forget_sums(self) -> None:
        """Begin anew."""
        for name in ("moments_", "_current", "_passing", "_kept_rows", "_checks", "_design"):
            if hasattr(self, name):
                delattr(self, name)

    def _refuse_intercept(self, method: str) -> None:
        if self.fit_intercept:
            raise ValueError(
                f"{method} accumulates moments, which know no biases: use fit, or "
                "fit_intercept=False."
            )


def _matching(before: TwoLayerNetwork, after: TwoLayerNetwork) -> np.ndarray:
    """Index of each unit of a network among the same units in another order."""
    unit = before.normalized().V.T @ after.V
    return np.argmax(unit, axis=0)
