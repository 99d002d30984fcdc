"""The mixin of estimators whose fitted model is a two-layer network."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, RegressorMixin, TransformerMixin
from sklearn.neural_network import MLPRegressor
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_nnrecover.networks.model.rectified_activations import Activation


def unit_order(A: np.ndarray) -> np.ndarray:
    """Order of hidden units: decreasing norm of their output weights, shape (n_hidden,)."""
    return np.argsort(-np.linalg.norm(A, axis=1), kind="stable")


class TwoLayerNetMixin(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, RegressorMixin, metaclass=ABCMeta
):
    """Decides how a two-layer network ``y = f(x W + b) A + c`` predicts and is handed on.

    The estimator provides ``_validate_samples`` and ``_activation()``; ``_set_network`` stores the
    weights in the gauge of the library.
    """

    @abstractmethod
    def _activation(self) -> Activation: ...

    def _set_network(self, W: np.ndarray, b: np.ndarray, A: np.ndarray, c: np.ndarray) -> None:
        """Fix scale and order of the hidden units and set the fitted arrays.

        Scale: columns of W have unit norm where the activation is positively homogeneous. Order:
        decreasing norm of the output weights.
        """
        norms = np.linalg.norm(W, axis=0)
        norms = np.where(norms > 0, norms, 1.0)
        degree = self._activation().degree
        if degree is not None:
            W, b, A = W / norms, b / norms, A * norms[:, None] ** degree
            norms = np.ones_like(norms)
        order = unit_order(A)
        dtype = self.dtype_
        self.coefs_ = [W[:, order].astype(dtype), A[order].astype(dtype)]
        self.intercepts_ = [b[order].astype(dtype), c.astype(dtype)]
        self.components_ = np.ascontiguousarray((W / norms)[:, order].T.astype(dtype))
        self.n_hidden_ = len(order)

    @property
    def _n_features_out(self) -> int:
        return self.n_hidden_

    def transform(self, X: Any) -> np.ndarray:
        """Compute the activations of the hidden units.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        activations : ndarray of shape (n_samples, n_hidden)
            ``f(X W + b)`` in the dtype of X.
        """
        check_is_fitted(self)
        X = self._validate_samples(X, reset=False)
        return (
            self._activation()
            .value(X @ self.coefs_[0] + self.intercepts_[0])
            .astype(X.dtype, copy=False)
        )

    def predict(self, X: Any) -> np.ndarray:
        """Compute the outputs of the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Outputs; 1-d if the network was fitted to a 1-d y.
        """
        check_is_fitted(self)
        X = self._validate_samples(X, reset=False)
        hidden = self._activation().value(X @ self.coefs_[0] + self.intercepts_[0])
        y = (hidden @ self.coefs_[1] + self.intercepts_[1]).astype(X.dtype, copy=False)
        return y[:, 0] if self._y_ndim == 1 else y

    def description_length(self, X: Any, y: Any) -> float:
        """Nats per sample that the weights and the residuals on (X, y) cost.

        Gaussian residuals of one variance, and half a logarithm of the sample count per free
        weight (Rissanen's two-part code); residuals below rounding count as rounding.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Outputs.

        Returns
        -------
        float
            Code length, up to a constant that depends on the data alone.
        """
        check_is_fitted(self)
        X, y = self._validate_samples(X, y, reset=False)
        y = y.reshape(len(y), -1).astype(np.float64)
        residual = y - self.predict(X).reshape(y.shape)
        rounding = float(np.finfo(self.dtype_).eps) * max(1.0, float(np.max(np.abs(y))))
        variance = float(np.mean(residual**2)) + rounding**2
        cost = 0.5 * self.n_parameters_ * np.log(self.n_rows_) / self.n_rows_
        return float(0.5 * y.shape[1] * np.log(variance) + cost)

    def unscale(
        self, scaler: Any, y_scaler: Any = None
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weights of the same network on inputs (and outputs) as they were before scaling.

        Parameters
        ----------
        scaler : fitted StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler or None
            Scaler whose output this estimator was fitted on; None leaves the inputs alone.
        y_scaler : fitted StandardScaler or None, default=None
            Scaler of the outputs.

        Returns
        -------
        coefs, intercepts : lists of ndarray
            Weights with ``relu(X_original W + b) A + c`` equal to the (unscaled) prediction. Input
            weights are not of unit norm any more.
        """
        check_is_fitted(self)
        (W, A), (b, c) = self.coefs_, self.intercepts_
        factor, offset = _affine_of(scaler, W.shape[0])
        out_factor, out_offset = _affine_of(y_scaler, A.shape[1])
        W, b = factor[:, None] * W, b + offset @ W
        return [W, A / out_factor], [b, (c - out_offset) / out_factor]

    def to_mlp(self) -> MLPRegressor:
        """Return a fitted MLPRegressor that makes the same predictions.

        Returns
        -------
        MLPRegressor
            With ``activation="relu"``; a leaky unit becomes two units.

        Raises
        ------
        ValueError
            If the activation is not piecewise linear.
        """
        check_is_fitted(self)
        (W, A), (b, c) = self.coefs_, self.intercepts_
        activation = self._activation()
        if activation.negative_slope is None:
            raise ValueError(
                f"MLPRegressor has no activation {activation.name!r}; to_mlp() needs a network "
                'with activation="relu" or "leaky_relu".'
            )
        if activation.negative_slope:
            W, b = np.hstack([W, -W]), np.concatenate([b, -b])
            A = np.vstack([A, -activation.negative_slope * A])
        mlp = MLPRegressor(hidden_layer_sizes=(W.shape[1],), activation="relu")
        mlp.coefs_ = [W.copy(), A.copy()]
        mlp.intercepts_ = [b.copy(), c.copy()]
        mlp.n_layers_ = 3
        mlp.n_outputs_ = A.shape[1]
        mlp.out_activation_ = "identity"
        mlp.n_features_in_ = self.n_features_in_
        mlp.n_iter_ = self.n_iter_
        mlp.loss_ = self.loss_
        if hasattr(self, "feature_names_in_"):
            mlp.feature_names_in_ = self.feature_names_in_
        return mlp

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags


def _affine_of(scaler: Any, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (factor, offset) with ``scaled = x * factor + offset``."""
    if scaler is None:
        return np.ones(width), np.zeros(width)
    if hasattr(scaler, "min_") and hasattr(scaler, "data_min_"):  # MinMaxScaler multiplies
        return np.asarray(scaler.scale_), np.asarray(scaler.min_)
    center = next(
        (
            value
            for name in ("mean_", "center_")
            if (value := getattr(scaler, name, None)) is not None
        ),
        np.zeros(width),
    )
    scale = getattr(scaler, "scale_", None)
    if scale is None:
        scale = np.ones(width)
    if np.shape(scale) != (width,):
        raise ValueError(
            f"the scaler was fitted on {np.size(scale)} columns but the network has {width}; "
            "pass the scaler whose output this estimator was fitted on."
        )
    return 1.0 / np.asarray(scale), -np.asarray(center) / np.asarray(scale)
