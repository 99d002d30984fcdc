"""The mixins that decide how inputs are validated."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from sklearn_nnrecover.base._sklearn_compat import _check_sample_weight
from sklearn_nnrecover.linalg.canonical_rows import canonical_rows

FLOAT_DTYPES = (np.float64, np.float32)


class FloatInputMixin:
    """float32 in, float32 out; any other numeric dtype becomes float64.

    Inputs are never written to. ``dtype_`` names the dtype seen in ``fit``: rounding is judged
    by its machine epsilon and fitted arrays are returned in it.
    """

    def _validate_samples(
        self, X: Any, y: Any = "no_validation", *, reset: bool, **options: Any
    ) -> Any:
        """Validate X (and y) and return them as float32 or float64 arrays.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like, None or "no_validation"
            Targets; "no_validation" validates X alone, None is refused where targets are required.
        reset : bool
            True in ``fit`` and the first ``partial_fit``: remember width, names and dtype.
        **options
            Passed to :func:`sklearn.utils.validation.validate_data`.

        Returns
        -------
        X or (X, y)
            Arrays of one of the two float dtypes; y of shape (n_samples,) or
            (n_samples, n_outputs) in the dtype of X.

        Raises
        ------
        ValueError
            For NaN, infinity, wrong shapes or too few samples.
        """
        if y is None or isinstance(y, str):
            X = validate_data(self, X, y, reset=reset, dtype=FLOAT_DTYPES, **options)
        else:
            X, y = validate_data(
                self,
                X,
                y,
                reset=reset,
                dtype=FLOAT_DTYPES,
                multi_output=True,
                y_numeric=True,
                **options,
            )
        if reset:
            self.dtype_ = X.dtype.name
        return X if y is None or isinstance(y, str) else (X, np.asarray(y, dtype=X.dtype))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # BaseEstimator stands behind
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class WeightedSamplesMixin(FloatInputMixin):
    """Supervised samples with frequencies, in canonical order.

    A weight w means the same as w copies of the row; identical rows are merged, so that neither
    the order of rows nor repetition changes a fit.
    """

    def _canonical_samples(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Validate, drop zero weights, sort and merge.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            Distinct rows in float64.
        Y : ndarray of shape (n_rows, n_outputs)
            Their outputs in float64.
        weight : ndarray of shape (n_rows,)
            Positive frequencies.
        """
        X, y = self._validate_samples(X, y, reset=True, ensure_min_samples=2)
        self._y_ndim = y.ndim
        self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        Y = y.reshape(len(y), -1).astype(np.float64)
        return canonical_rows(X.astype(np.float64), Y, weight)
