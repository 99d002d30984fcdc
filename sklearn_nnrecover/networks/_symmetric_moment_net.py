"""Recovery of two-layer networks on symmetric inputs, by moments."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from sklearn_nnrecover.base._sklearn_compat import Interval, StrOptions, _fit_context
from sklearn_nnrecover.base.inputs import WeightedSamplesMixin
from sklearn_nnrecover.base.iterations import IterationMixin
from sklearn_nnrecover.linalg.canonical_rows import canonical_rows
from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks._moment_net import Judged, MomentNetMixin, evidence_of
from sklearn_nnrecover.networks._stored_net import recovery_in_fitted_order
from sklearn_nnrecover.networks._streamed_moments import StreamedMomentsMixin
from sklearn_nnrecover.networks.evidence.error_bars import standard_errors
from sklearn_nnrecover.networks.evidence.verdict import is_zero_residual
from sklearn_nnrecover.networks.model.design import Design, orthonormal_design
from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation, leaky_relu
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    residual_sum_of_squares,
)
from sklearn_nnrecover.networks.moment_evidence import gather_evidence, some_rows
from sklearn_nnrecover.networks.moment_recovery import MomentChecks, MomentResult, fit_moments
from sklearn_nnrecover.networks.moments.fourth_order_moments import SampleMoments
from sklearn_nnrecover.networks.moments.pure_neuron_moments import choose_width, largest_width
from sklearn_nnrecover.networks.moments.symmetric_input_algorithms import paper_network
from sklearn_nnrecover.networks.recovery import is_linear, recover
from sklearn_nnrecover.networks.solvers import Options, Recovery


class SymmetricMomentNet(
    StreamedMomentsMixin, MomentNetMixin, WeightedSamplesMixin, IterationMixin, BaseEstimator
):
    """Recover a two-layer network from moments of order four, on symmetric inputs.

    The model is ``y = f(x W) A`` (Ge, Kuditipudi, Li and Wang, with samples as rows), f the ReLU or
    a leaky ReLU, x and -x equally likely, no more units than features and outputs. Moments give
    the network without any search, in one pass over any number of samples (``partial_fit``, or
    :class:`SymmetricMoments` on many machines); a few Gauss-Newton steps take it to the
    least-squares optimum. Where the data contradict the conditions, the report says so and the
    solvers of :class:`ReLUNetRecovery` step in.

    Read more in the :ref:`User Guide <networks_symmetric>`.

    Parameters
    ----------
    n_hidden : int or "auto", default="auto"
        Number of hidden units. ``"auto"`` reads it from the rank of the outputs' linear part.
    method : {"paper", "moments", "refined"}, default="refined"
        ``"paper"``: the paper's Algorithms 1, 3 and 4 as printed. ``"moments"``: our moment
        estimate, without an optimiser. ``"refined"``: Gauss-Newton steps from there, and a verdict;
        the other two claim nothing.
    negative_slope : float, default=0.0
        Slope of the units on negative arguments, between -1 and 1 (excluded).
    fit_intercept : bool, default=False
        Whether the network has hidden biases and output intercepts. Moments know none: ``True``
        goes through the lifted system and the other solvers of :class:`ReLUNetRecovery`.
    n_refits : int, default=1
        How often the outputs' linear part is estimated again beside the units found; without noise
        the error falls geometrically. Each is one more pass, in ``fit`` only.
    query : callable or None, default=None
        ``query(X)`` returns the outputs of the network for inputs X. When given, ``fit`` asks it
        for the outputs of the mirror images -X and adds them: inputs are then symmetric, whatever
        their distribution.
    n_init : int, default=6
        Independent searches that may be made to confirm the network, or to find one where moments
        do not give it.
    max_iter : int, default=2000
        Iterations per search.
    tol : float, default=1e-12
        Relative fall of the loss at which an iteration stops.
    random_state : int, RandomState instance or None, default=None
        Seed of random combinations and starts.

    Attributes
    ----------
    coefs_ : list of two ndarrays, shapes (n_features, n_hidden) and (n_hidden, n_outputs)
        Input weights W (columns of unit norm) and output weights A; units by decreasing norm of
        their output weights.
    intercepts_ : list of two ndarrays, shapes (n_hidden,) and (n_outputs,)
        Hidden biases and output intercepts; zeros without ``fit_intercept``.
    coefs_std_, intercepts_std_ : lists of ndarrays
        Standard errors, same shapes: zeros when exact, inf where nothing is claimed.
    components_ : ndarray of shape (n_hidden, n_features)
        Input weights, one unit-norm row a hidden unit.
    n_hidden_ : int
        Number of hidden units.
    report_ : RecoveryReport
        Status, proof, conditions checked, units.
    solver_ : str
        ``"moments"``, ``"paper"``, or the solver that stepped in.
    loss_ : float
        Mean squared error over samples and outputs; nan after ``partial_fit`` and ``fit_moments``.
    loss_curve_ : ndarray of shape (n_iterations,)
        Objective after each outer iteration.
    n_iter_ : int
        Outer iterations.
    moments_ : SymmetricMoments
        Accumulated sums, after ``partial_fit`` and ``fit_moments`` only.
    n_outputs_ : int
        Number of outputs.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    ReLUNetRecovery : Any input distribution, biases, fewer outputs than units.
    SymmetricMoments : Mergeable sums, for samples on many machines.

    References
    ----------
    Ge, R., Kuditipudi, R., Li, Z. and Wang, X., "Learning Two-layer Neural Networks with Symmetric
    Inputs", ICLR 2019 (arXiv:1810.06793).

    Examples
    --------
    >>> from sklearn_nnrecover import SymmetricMomentNet
    >>> from sklearn_nnrecover.datasets import make_relu_network
    >>> from sklearn_nnrecover.metrics import recovery_error
    >>> X, y, truth = make_relu_network(
    ...     2000, 6, n_hidden=4, n_outputs=4, bias=False, random_state=0)
    >>> net = SymmetricMomentNet(random_state=0).fit(X, y)
    >>> net.report_.status, net.report_.proof, net.solver_
    ('exact', 'global', 'moments')
    >>> recovery_error(net, truth) < 1e-10
    True
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **IterationMixin._parameter_constraints,
        "n_hidden": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "method": [StrOptions({"paper", "moments", "refined"})],
        "negative_slope": [Interval(Real, -1, 1, closed="neither")],
        "fit_intercept": ["boolean"],
        "n_refits": [Interval(Integral, 0, None, closed="left")],
        "query": [callable, None],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_hidden: int | str = "auto",
        *,
        method: str = "refined",
        negative_slope: float = 0.0,
        fit_intercept: bool = False,
        n_refits: int = 1,
        query: Callable[[np.ndarray], Any] | None = None,
        n_init: int = 6,
        max_iter: int = 2000,
        tol: float = 1e-12,
        random_state: Any = None,
    ) -> None:
        self.n_hidden = n_hidden
        self.method = method
        self.negative_slope = negative_slope
        self.fit_intercept = fit_intercept
        self.n_refits = n_refits
        self.query = query
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SymmetricMomentNet:
        """Recover the network behind samples of its inputs and outputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Outputs.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Frequencies: a weight of 2 means the same as the row twice.

        Returns
        -------
        self : SymmetricMomentNet
            The fitted estimator.

        Raises
        ------
        ValueError
            For NaN, infinity, wrong shapes, fewer than two samples or all-zero weights.
        MemoryError
            If the moments would exceed scikit-learn's ``working_memory``.

        Warns
        -----
        RecoveryWarning
            When the data contradict the conditions of the moment estimate, and when the weights
            are not, or only in part, determined by the data; ``report_`` says why.
        """
        rng = check_random_state(self.random_state)
        self._forget_sums()
        X, Y, weight = self._canonical_samples(X, y, sample_weight)
        if self.query is not None:
            X, Y, weight = self._with_mirror_images(X, Y, weight)
        samples, design = orthonormal_design(
            X, Y, weight, intercept=self.fit_intercept, eps=float(np.finfo(self.dtype_).eps)
        )
        told = np.any(samples.Z != 0, axis=1) | np.any(samples.Y != 0, axis=1)
        if np.any(told) and not np.all(told):
            # Without biases zero outputs of zero inputs say nothing.
            X, Y, weight = X[told], Y[told], weight[told]
            samples = samples._replace(Z=samples.Z[told], Y=samples.Y[told], weight=weight)
        result = self._iterate(self._recover(X, Y, samples, design, rng))
        self.n_rows_ = float(weight.sum())
        self._set_result(result, samples, design, rng)
        return self

    def _recover(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        samples: Samples,
        design: Design,
        rng: np.random.RandomState,
    ) -> Steps[tuple[MomentResult, Recovery | None]]:
        """Run the moment method asked for, and the other solvers where it gives no network."""
        options, width = self._options(), self._width()
        result = MomentResult(None, None, MomentChecks([]), "the network may have biases")
        if samples.Z.shape[1] == 0 or is_linear(samples):
            result = result._replace(problem="")
        elif self.method == "paper" and not self.fit_intercept:
            result = yield from self._paper(X, Y, samples, design, rng)
        elif not self.fit_intercept:
            result = yield from fit_moments(
                samples,
                width,
                options=options,
                n_refits=self.n_refits,
                refined=self.method == "refined",
                rng=rng,
            )
        if result.network is not None and (result.settled or not result.problem):
            return result, None
        solved = yield from recover(
            samples, width, solver="auto", noise="auto", options=options, rng=rng
        )
        return result, solved

    def _paper(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        samples: Samples,
        design: Design,
        rng: np.random.RandomState,
    ) -> Steps[MomentResult]:
        """Run the paper's algorithm in the user's coordinates."""
        low = SampleMoments(samples).low
        most = largest_width(low)
        k = self._width() or choose_width(low, len(X))[0]
        if k > most:
            problem = f"moments need n_hidden of at most {most} here"
            return MomentResult(None, None, MomentChecks([]), problem)
        W, A = paper_network(X, Y, samples.weight, k, rng=rng)
        V = np.linalg.pinv(design.whitening.transform) @ W
        c = np.zeros(Y.shape[1])
        network = TwoLayerNetwork(V, A / design.output_scale, c, self._activation())
        yield Step(residual_sum_of_squares(network, samples), state=V)
        return MomentResult(None, network, MomentChecks([]))

    def _set_result(
        self,
        outcome: tuple[MomentResult, Recovery | None],
        samples: Samples,
        design: Design,
        rng: np.random.RandomState,
    ) -> None:
        """Judge and store the network of a fit."""
        result, solved = outcome
        if solved is not None:
            if result.problem:
                note = f"Moments alone could not give the network: {result.problem}."
                solved = solved._replace(note=f"{note} {solved.note}".strip())
            judged = evidence_of(solved, samples, design, rng)
            self._set_judged(judged._replace(checks=result.checks), design)
            return
        assert result.network is not None
        evidence, part = result.evidence, samples
        if evidence is None:
            loss = residual_sum_of_squares(result.network, samples)
            if not is_zero_residual(loss, samples):
                equations = samples.weight.sum() * samples.Y.shape[1]
                loss *= design.output_scale**2 / equations
                self._set_unrefined(result.network, design, result.checks, loss=loss, warn=True)
                self.solver_ = "paper" if self.method == "paper" else "moments"
                return
            part = some_rows(samples, result.network.n_hidden, rng)
            evidence = self._iterate(
                gather_evidence(result.network, loss, samples, part, self._options(), rng)
            )
        elif len(samples.Z) > 0:
            part = some_rows(samples, evidence.recovery.network.n_hidden, rng)
        recovery = recovery_in_fitted_order(evidence.recovery, design)
        exact = is_zero_residual(recovery.loss, samples)
        errors = standard_errors(samples, design, recovery.network, exact=exact)
        weight = float(samples.weight.sum())
        evidence = evidence._replace(recovery=recovery)
        self._set_judged(Judged(evidence, part, weight, errors, result.checks), design)

    def _with_mirror_images(
        self, X: np.ndarray, Y: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Add the samples that ``query`` labels at -X."""
        assert self.query is not None
        labels = np.asarray(self.query(-X), dtype=np.float64)
        if labels.size != Y.size or len(labels) != len(Y) or not np.all(np.isfinite(labels)):
            raise ValueError(
                f"query must return finite outputs of shape {Y.shape} for inputs of shape "
                f"{X.shape}, got shape {labels.shape}."
            )
        return canonical_rows(
            np.vstack([X, -X]), np.vstack([Y, labels.reshape(Y.shape)]), np.tile(weight, 2)
        )

    def _options(self) -> Options:
        return Options(self._activation(), self.n_init, self.max_iter, self.tol)

    def _width(self) -> int | None:
        return None if self.n_hidden == "auto" else int(self.n_hidden)

    def _activation(self) -> Activation:
        return leaky_relu(self.negative_slope) if self.negative_slope else RELU
