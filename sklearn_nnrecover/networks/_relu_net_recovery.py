"""Recovery of two-layer networks from samples."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from sklearn_nnrecover.base._sklearn_compat import Interval, StrOptions, _fit_context
from sklearn_nnrecover.base.inputs import WeightedSamplesMixin
from sklearn_nnrecover.base.iterations import IterationMixin
from sklearn_nnrecover.linalg.canonical_rows import row_positions
from sklearn_nnrecover.networks._recovered_net import RecoveredNetMixin
from sklearn_nnrecover.networks.model.rectified_activations import (
    ACTIVATIONS,
    Activation,
    activation_of,
)
from sklearn_nnrecover.networks.noise_models import NOISE_MODELS
from sklearn_nnrecover.networks.solvers import SOLVERS, Options
from sklearn_nnrecover.networks.task import Task


class ReLUNetRecovery(RecoveredNetMixin, WeightedSamplesMixin, IterationMixin, BaseEstimator):
    """Recover the weights of a two-layer ReLU network from its inputs and outputs.

    The model is ``y = relu(x W + b) A + c`` (Bakshi, Jayaram and Woodruff, with samples as rows).
    On noiseless data the weights come out to rounding, with a proof that they are the only ones;
    under noise they are the least-squares optimum, with standard errors. ``report_`` says which,
    and names the units that the data do not pin down.

    Read more in the :ref:`User Guide <networks>`.

    Parameters
    ----------
    n_hidden : int or "auto", default="auto"
        Number of hidden units. ``"auto"`` reads it from the data: ranks and null spaces where they
        are noiseless, an information criterion where they are not.
    solver : {"auto", "lifted", "pencil", "varpro", "reduce", "moments", "ica", "enumerate", \
            "one-sparse"}, default="auto"
        ``"lifted"``: null space of a linear system in products of outputs and inputs; needs at
        least as many outputs as units; proves what it finds. ``"pencil"``: eigenproblems on
        activation patterns, from the fewest samples; as many outputs as units. ``"reduce"``:
        over-parameterise, then reduce; noiseless data with fewer outputs than units.
        ``"varpro"``: search for the least-squares optimum by variable projection; any data.
        ``"moments"``: Hermite moments of Gaussian inputs, no more units than inputs. ``"ica"``:
        independent components, for units that are orthogonal on Gaussian inputs; as many outputs
        as units. ``"enumerate"``: every activation pattern, for a handful of samples; as many
        outputs as units; proves what it finds. ``"one-sparse"``: samples on which one unit alone is
        active; two outputs or more, any number of units. ``"auto"`` tries the first four in the
        order of their proofs and keeps the best by training loss.
    activation : {"relu", "relu2", "relu3", "sqrt", "expm1", "leaky_relu"} or pair of callables, \
            default="relu"
        Activation of the hidden layer: ``"relu2"`` and ``"relu3"`` are its powers, ``"sqrt"`` its
        square root, ``"expm1"`` is exp(t) - 1 for t > 0. A pair holds the elementwise functions
        (value, derivative) of your own. All but the ReLU are left to ``"varpro"`` by ``"auto"``.
    negative_slope : float, default=0.01
        Slope of ``"leaky_relu"`` on negative arguments, at least 0 and below 1.
    fit_intercept : bool, default=True
        Whether the network has hidden biases and output intercepts.
    noise : {"auto", "none", "gaussian", "sparse", "arbitrary"}, default="auto"
        What is assumed of the outputs. ``"auto"`` looks for a network of zero residual first.
        ``"sparse"``: exact, but for a minority of entries that are wrong by any amount; they are
        found (``outlier_mask_``) and the status is judged on the others. ``"arbitrary"``: noise of
        any distribution that does not depend on the inputs, heavy tails and skew included; the
        status is ``"approximate"`` at best, and output intercepts include the noise's location.
    n_init : int, default=6
        Independent runs of the search for the least-squares optimum; it ends when two agree.
    max_iter : int, default=2000
        Iterations per run.
    tol : float, default=1e-12
        Relative fall of the loss at which an iteration stops.
    random_state : int, RandomState instance or None, default=None
        Seed of random starts.

    Attributes
    ----------
    coefs_ : list of two ndarrays, shapes (n_features, n_hidden) and (n_hidden, n_outputs)
        Input weights W (columns of unit norm) and output weights A; units by decreasing norm of
        their output weights.
    intercepts_ : list of two ndarrays, shapes (n_hidden,) and (n_outputs,)
        Hidden biases b and output intercepts c.
    coefs_std_, intercepts_std_ : lists of ndarrays
        Standard errors, same shapes: zeros when exact, inf for a unit that is not pinned down.
    components_ : ndarray of shape (n_hidden, n_features)
        Input weights, one unit-norm row a hidden unit.
    n_hidden_ : int
        Number of hidden units.
    report_ : RecoveryReport
        Status, proof, conditions checked, units.
    solver_ : str
        Solver whose network was kept; ``"linear"`` when the outputs are linear in the inputs.
    loss_ : float
        Mean squared error over samples and outputs.
    loss_curve_ : ndarray of shape (n_iterations,)
        Objective after each outer iteration, in units of the solver.
    n_iter_ : int
        Outer iterations.
    outlier_mask_ : ndarray of bool, shape (n_samples, n_outputs)
        Outputs taken for gross errors, with ``noise="sparse"`` only.
    n_outputs_ : int
        Number of outputs.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : Fits a function, not the weights behind the data.

    References
    ----------
    Bakshi, A., Jayaram, R. and Woodruff, D. P., "Learning Two Layer Rectified Neural Networks in
    Polynomial Time", COLT 2019 (arXiv:1811.01885).

    Examples
    --------
    >>> from sklearn_nnrecover import ReLUNetRecovery
    >>> from sklearn_nnrecover.datasets import make_relu_network
    >>> from sklearn_nnrecover.metrics import recovery_error
    >>> X, y, truth = make_relu_network(300, 6, n_hidden=4, n_outputs=4, random_state=0)
    >>> net = ReLUNetRecovery(random_state=0).fit(X, y)
    >>> net.report_.status, net.report_.proof, net.n_hidden_
    ('exact', 'global', 4)
    >>> recovery_error(net, truth) < 1e-10
    True
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **IterationMixin._parameter_constraints,
        "n_hidden": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "solver": [StrOptions({"auto", *SOLVERS})],
        "activation": [StrOptions(set(ACTIVATIONS)), tuple, list],
        "negative_slope": [Interval(Real, 0, 1, closed="left")],
        "fit_intercept": ["boolean"],
        "noise": [StrOptions(set(NOISE_MODELS))],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_hidden: int | str = "auto",
        *,
        solver: str = "auto",
        activation: Any = "relu",
        negative_slope: float = 0.01,
        fit_intercept: bool = True,
        noise: str = "auto",
        n_init: int = 6,
        max_iter: int = 2000,
        tol: float = 1e-12,
        random_state: Any = None,
    ) -> None:
        self.n_hidden = n_hidden
        self.solver = solver
        self.activation = activation
        self.negative_slope = negative_slope
        self.fit_intercept = fit_intercept
        self.noise = noise
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ReLUNetRecovery:
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
        self : ReLUNetRecovery
            The fitted estimator.

        Raises
        ------
        ValueError
            For NaN, infinity, wrong shapes, fewer than two samples or all-zero weights.

        Warns
        -----
        RecoveryWarning
            When the weights are not, or only in part, determined by the data; ``report_`` says why.
        """
        rng = check_random_state(self.random_state)
        activation = self._activation()
        rows, targets, weight = self._canonical_samples(X, y, sample_weight)
        task = Task(
            None if self.n_hidden == "auto" else int(self.n_hidden),
            self.solver,
            self.noise,
            self.fit_intercept,
            float(np.finfo(self.dtype_).eps),
            Options(activation, self.n_init, self.max_iter, self.tol),
        )
        outcome = self._iterate(NOISE_MODELS[self.noise](rows, targets, weight, task, rng))
        self.__dict__.pop("outlier_mask_", None)
        if outcome.errors is not None:
            X, y = self._validate_samples(X, y, reset=False)
            given = np.column_stack([X, y]).astype(np.float64)
            position = row_positions(given, np.column_stack([rows, targets]))
            # Rows of weight zero are not judged.
            self.outlier_mask_ = outcome.errors.outliers[position] & (position >= 0)[:, None]
        self._set_recovery(outcome, rng)
        return self

    def _activation(self) -> Activation:
        return activation_of(self.activation, self.negative_slope)
