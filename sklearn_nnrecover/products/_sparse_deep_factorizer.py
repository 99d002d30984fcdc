"""The estimator of the products wing."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from sklearn_nnrecover.base._sklearn_compat import Interval, StrOptions, _fit_context
from sklearn_nnrecover.base.inputs import FloatInputMixin
from sklearn_nnrecover.base.iterations import IterationMixin
from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.chain_recovery import recover_chain
from sklearn_nnrecover.products.factor_operator import chain_operator
from sklearn_nnrecover.products.known_structures import recover_structured_chain
from sklearn_nnrecover.products.layer_inversion import has_full_row_rank, invert_chain
from sklearn_nnrecover.products.method_order import PEEL_METHODS
from sklearn_nnrecover.products.recovery import Recovery
from sklearn_nnrecover.products.sign_networks import invert_sign_chain
from sklearn_nnrecover.products.sign_recovery import recover_sign_network


class SparseDeepFactorizer(
    FloatInputMixin,
    IterationMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Sparse factors whose product is the data, and which of them the data determine.

    The model is ``X = scale_ * factors_[0] @ ... @ factors_[-1]``. Data that a deep linear network
    with sparse weights generated are the product of its sparse layers and the sparse codes of the
    samples. This estimator finds the layers from the product, from whichever end it can, and says
    in ``report_`` which of them the data determine.

    Read more in the :ref:`User Guide <products>`.

    Parameters
    ----------
    n_factors : int or "auto", default="auto"
        Number of factors, codes included, at least 2. ``"auto"`` goes on while the description
        becomes shorter.
    method : {"auto", "intersection", "information-set", "ica", "butterfly", "correlation"}, \
            default="auto"
        ``"intersection"`` is for sparse data, two factors at a time; ``"information-set"`` for a
        rank below the number of features (or samples) and any depth; ``"ica"`` for many more
        samples than features; ``"butterfly"`` for fast transforms; ``"correlation"`` is the
        algorithm of [1]_ as printed, with its assumptions measured. ``"auto"`` tries all but the
        last on each piece, from both ends, as far as its shape, rank and sparsity allow.
    n_nonzero : int or "auto", default="auto"
        At most so many non-zeros in a row of a factor.
    structure : list of structures or None, default=None
        One structure of :mod:`~sklearn_nnrecover.products.structures` per factor: fit their
        parameters instead of searching for sparse factors.
    certify : bool, default=False
        With ``structure``: prove whether the structures determine their parameters. It can cost
        more than the fit.
    sign_activation : bool, default=False
        The data are ``sign(sign(F[0]) @ F[1]) ...`` (Problem 2 of [1]_), entries -1, 0, 1.
    n_init : int or "auto", default="auto"
        Starts of a search that has no global proof: 3, or up to 10 with ``structure``. All must
        agree for a hidden node to count as identified, and fewer than three prove nothing.
    max_iter : int, default=200
        Iterations or sweeps of each start.
    tol : float, default=1e-10
        With ``structure``: a start ends when its objective decreases by less than this fraction.
    sparse_output : bool, default=False
        Whether ``transform`` returns a csr_array.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Attributes
    ----------
    factors_ : list of csr_array
        ``factors_[0] (n_samples, k_1)`` holds the codes of the training samples, ``factors_[-1]
        (k, n_features)`` is the layer nearest the features. Gauge, in all but the first: the first
        non-zero of each row is positive and its smallest magnitude 1; rows are ordered by their
        first non-zero column. [X, I] if nothing was recovered.
    factors_std_ : list of csr_array
        Standard errors of the entries of ``factors_``, with their sparsity: 0 where exact, and for
        the entry of smallest magnitude in each row of ``factors_[1:]``, which is 1 by convention;
        inf where the data do not determine an entry; nan where they were not computed (nothing
        recovered, structures, sign networks, noise and more than 6000 entries in the layers).
    scale_ : float
        Common factor.
    scale_std_ : float
        Its standard error; 0 without noise.
    n_factors_ : int
        Number of factors recovered; 1 if nothing was.
    parameters_ : list of ndarray or None
        With ``structure``: the parameters of each factor, balanced to equal norms.
    parameters_std_ : list of ndarray or None
        Their standard errors: 0 when exact, inf where the data leave a parameter free.
    components_ : csr_array of shape (k, n_features)
        ``factors_[-1]``.
    report_ : RecoveryReport
        What is proven. One unit per hidden node.
    n_iter_ : int
        Steps taken.
    loss_curve_ : ndarray
        Non-zeros of the description after each step.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X had any.

    See Also
    --------
    sklearn.decomposition.DictionaryLearning : One dense dictionary with sparse codes, approximate.

    References
    ----------
    .. [1] B. Neyshabur and R. Panigrahy, *Sparse Matrix Factorization*, arXiv:1311.3315, 2013.

    Examples
    --------
    >>> from sklearn_nnrecover.datasets import make_sparse_product
    >>> from sklearn_nnrecover.products import SparseDeepFactorizer
    >>> X, truth = make_sparse_product(400, 200, n_hidden=[100], n_nonzero=5, random_state=0)
    >>> factorizer = SparseDeepFactorizer(random_state=0).fit(X)
    >>> factorizer.report_.status
    'exact'
    >>> abs(factorizer.scale_ * factorizer.factors_[0] @ factorizer.factors_[1] - X).max()
    np.float64(0.0)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_factors": [StrOptions({"auto"}), Interval(Integral, 2, None, closed="left")],
        "method": [StrOptions({"auto", "butterfly", *PEEL_METHODS})],
        "n_nonzero": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "structure": [list, tuple, None],
        "certify": ["boolean"],
        "sign_activation": ["boolean"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        **IterationMixin._parameter_constraints,
        "sparse_output": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_factors: Any = "auto",
        *,
        method: str = "auto",
        n_nonzero: Any = "auto",
        structure: Any = None,
        certify: bool = False,
        sign_activation: bool = False,
        n_init: Any = "auto",
        max_iter: int = 200,
        tol: float = 1e-10,
        sparse_output: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_factors = n_factors
        self.method = method
        self.n_nonzero = n_nonzero
        self.structure = structure
        self.certify = certify
        self.sign_activation = sign_activation
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.sparse_output = sparse_output
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> SparseDeepFactorizer:
        """Recover the factors of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Data.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted estimator.
        """
        X = self._validate_samples(X, reset=True, accept_sparse="csr", ensure_min_samples=2)
        recovery = self._iterate(
            self._recover(_as_float64(X), check_random_state(self.random_state))
        )
        self._store(recovery, X)
        if self.report_.status in ("partial", "not_recovered"):
            warnings.warn(self.report_.reason, RecoveryWarning, stacklevel=2)
        return self

    def transform(self, X: Any) -> Any:
        """Return the codes of X: the values of the hidden layer nearest the samples.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : ndarray or csr_array, one row a sample
            As wide as ``factors_[1]`` has rows.
        """
        check_is_fitted(self)
        X = self._validate_samples(X, reset=False, accept_sparse="csr")
        if self.n_factors_ == 1:
            codes = X.toarray() if sp.issparse(X) else np.array(X)
        else:
            dense = _as_float64(X.toarray() if sp.issparse(X) else X)
            layers = [_as_float64(factor) for factor in self.factors_[1:]]
            if self.sign_activation:
                codes = invert_sign_chain(layers, dense)
            else:
                codes = invert_chain(layers, dense / self.scale_, self._independent)
        codes = codes.astype(X.dtype, copy=False)
        return sp.csr_array(codes) if self.sparse_output else codes

    def inverse_transform(self, codes: Any) -> Any:
        """Return ``scale_ * codes @ factors_[1] @ ... @ factors_[-1]``.

        Parameters
        ----------
        codes : array-like or sparse matrix of shape (n_samples, factors_[1].shape[0])
            Codes.

        Returns
        -------
        X : ndarray, or csr_array for sparse codes, of shape (n_samples, n_features)
            The products ``scale_ * codes @ factors_[1] @ ...``.
        """
        check_is_fitted(self)
        X = check_array(codes, accept_sparse="csr", dtype=[np.float64, np.float32])
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"codes have {X.shape[1]} columns, but the first hidden layer has "
                f"{self._n_features_out} nodes."
            )
        for factor in self.factors_[1:]:
            X = X @ factor
            if self.sign_activation and self.n_factors_ > 1:
                X = np.sign(X)
        return self.scale_ * X

    def score(self, X: Any, y: Any = None) -> float:
        """Return the share of variance reproduced, ``1 - |X - Xhat|^2 / |X - mean|^2``.

        It always prefers more non-zeros: to choose between structures use
        :func:`sklearn_nnrecover.metrics.recovery_scorer`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        float
            At most 1.
        """
        X, error = self._reconstruction_error(X)
        spread = float(np.sum((X - X.mean(axis=0)) ** 2))
        return 1.0 - error / spread if spread > 0 else float(error == 0)

    def description_length(self, X: Any, y: Any = None) -> float:
        """Return the nats per sample that describe X with this model.

        A non-zero costs its position and a value of ``1 / 2 log n_samples`` nats, the layers are
        shared by the training samples, and residuals are coded to a thousandth of the spread of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        float
            Nats per sample.
        """
        codes = self.transform(X)
        X, error = self._reconstruction_error(X)
        n_train = self.factors_[0].shape[0]
        value = 0.5 * np.log(n_train)
        layers = sum(F.nnz * (np.log(F.shape[1]) + value) for F in self.factors_[1:])
        nonzeros = codes.nnz if sp.issparse(codes) else np.count_nonzero(codes)
        coded = nonzeros * (np.log(max(codes.shape[1], 2)) + value) / X.shape[0]
        precision = 1e-3 * float(np.std(X)) or 1.0
        residual = 0.5 * X.shape[1] * np.log1p(error / X.size / precision**2)
        return float(layers / n_train + coded + residual)

    def as_linear_operator(self, first: int = 0) -> LinearOperator:
        """Return ``scale_ * factors_[first] @ ... @ factors_[-1]`` as a linear operator.

        Parameters
        ----------
        first : int, default=0
            0 for the fitted X; 1 for the map from codes to features.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Products cost the non-zeros of the factors; the product is never formed.
        """
        check_is_fitted(self)
        return chain_operator(self.factors_[first:], self.scale_)

    def _recover(self, X: Any, rng: np.random.RandomState) -> Steps[Recovery]:
        eps = float(np.finfo(self.dtype_).eps)
        n_factors = None if self.n_factors == "auto" else self.n_factors
        if self.structure is not None:
            return recover_structured_chain(
                X,
                list(self.structure),
                n_init=10 if self.n_init == "auto" else self.n_init,
                max_iter=self.max_iter,
                tol=self.tol,
                certify=self.certify,
                eps=eps,
                rng=rng,
            )
        if self.sign_activation:
            return recover_sign_network(X, n_factors=n_factors, max_iter=self.max_iter, rng=rng)
        return recover_chain(
            X,
            method=self.method,
            n_factors=n_factors,
            n_nonzero=None if self.n_nonzero == "auto" else self.n_nonzero,
            n_init=3 if self.n_init == "auto" else self.n_init,
            max_iter=self.max_iter,
            eps=eps,
            rng=rng,
        )

    def _store(self, recovery: Recovery, X: Any) -> None:
        self.factors_ = [sp.csr_array(F.astype(self.dtype_)) for F in recovery.factors]
        self.scale_, self.scale_std_ = float(recovery.scale), float(recovery.scale_std)
        self.n_factors_ = recovery.n_factors
        self.components_ = self.factors_[-1]
        self.factors_std_ = self._standard_errors(recovery)
        self.parameters_, self.parameters_std_ = recovery.parameters, recovery.parameters_std
        self._n_features_out = self.factors_[1].shape[0]
        self._independent = [has_full_row_rank(F) for F in recovery.factors[1:]]
        status, reason, proof = recovery.status
        self.report_ = RecoveryReport(
            status, reason, proof, conditions=recovery.conditions, units=recovery.units
        )

    def _standard_errors(self, recovery: Recovery) -> list[sp.csr_array]:
        """Standard errors of the entries, in arrays with the factors' sparsity."""
        errors = recovery.factors_std
        if errors is None:
            errors = [np.full(F.nnz, np.nan) for F in self.factors_]
        return [
            sp.csr_array((error.astype(self.dtype_), F.indices, F.indptr), shape=F.shape)
            for F, error in zip(self.factors_, errors, strict=True)
        ]

    def _reconstruction_error(self, X: Any) -> tuple[np.ndarray, float]:
        """Return X as a dense array, and the squared error of its reconstruction."""
        fitted = self.inverse_transform(self.transform(X))
        X = self._validate_samples(X, reset=False, accept_sparse="csr")
        X, fitted = (A.toarray() if sp.issparse(A) else A for A in (X, fitted))
        return X, float(np.sum((X - fitted) ** 2))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _as_float64(X: Any) -> Any:
    """Return X in float64; sparse matrices as csr_array."""
    return (sp.csr_array(X) if sp.issparse(X) else X).astype(np.float64)
