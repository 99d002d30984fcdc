"""The mixin that codes samples with fitted atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_array, check_is_fitted

from sklearn_nnrecover.base.inputs import FloatInputMixin
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.dictionaries.samples import (
    BLOCK_MEBIBYTES,
    Samples,
    feature_mean,
    largest_entry,
    refuse_overflow,
)
from sklearn_nnrecover.dictionaries.spherical_mixture import nearest_mean, one_hot
from sklearn_nnrecover.dictionaries.support_growth import description_length

MAX_ROWS = 8192  # coded at a time: enough blocks for the threads to share
ROUNDINGS = 16.0  # in units of machine epsilon times the samples: smaller differences are none


class SparseCoderMixin(FloatInputMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Codes, reconstructions and scores of an estimator that has ``components_`` and ``_rule``.

    With ``model="mixture"`` codes are one-hot and there is ``predict``.
    """

    model: str
    center: bool
    sparse_output: bool
    n_jobs: int | None
    components_: np.ndarray
    mean_: np.ndarray
    n_components_: int
    _rule: CodeRule

    def transform(self, X: Any) -> Any:
        """Return the codes of X by the encoder that was trained; one-hot for the mixture.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : ndarray or csr_array of shape (n_samples, n_components)
            A csr_array with ``sparse_output``.
        """
        codes = self._encode(self._validated(X))
        return codes if self.sparse_output else codes.toarray()

    @available_if(lambda self: self.model == "mixture")
    def predict(self, X: Any) -> np.ndarray:
        """Return the component whose mean is nearest, for ``model="mixture"`` only.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Indices of rows of ``components_``.
        """
        return self._encode(self._validated(X)).indices.astype(np.intp)

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Return ``codes @ components_`` (plus ``mean_`` with ``center``).

        Parameters
        ----------
        codes : array-like or sparse matrix of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Reconstructed samples.
        """
        check_is_fitted(self)
        codes = check_array(codes, accept_sparse="csr", dtype=[np.float64, np.float32])
        if codes.shape[1] != self.n_components_:
            raise ValueError(
                f"codes have {codes.shape[1]} columns, but there are {self.n_components_} atoms."
            )
        X = codes @ self.components_
        return X + self.mean_.astype(X.dtype) if self.center else X

    def score(self, X: Any, y: Any = None) -> float:
        """Return the share of variance reproduced, ``1 - |X - Xhat|^2 / |X - mean|^2``.

        It prefers more atoms and more active ones: to choose between models use
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
            At most 1; for samples that are equal to rounding 1 or 0, reproduced or not.
        """
        X = self._validated(X)
        exponent = _exponent(X)
        left, _, _ = self._residuals(X, exponent)
        mean = feature_mean(X)
        spread = energy = 0.0
        for block in self._blocks(Samples(X), np.float64):
            spread += _square_sum(block - mean, exponent)
            energy += _square_sum(block, exponent)
        rounding = (ROUNDINGS * np.finfo(X.dtype).eps) ** 2 * energy
        return 1.0 - left / spread if spread > rounding else float(left <= rounding)

    def description_length(self, X: Any, y: Any = None) -> float:
        """Return the nats per sample that describe X with these atoms.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        float
            Nats per sample, as :func:`sklearn_nnrecover.metrics.recovery_scorer` compares them.
        """
        X = self._validated(X)
        exponent = _exponent(X)
        left, total, n_nonzero = self._residuals(X, exponent)
        length = description_length(
            left, total, n_nonzero, X.shape[0], X.shape[1], self.n_components_
        )
        return length + X.shape[1] * exponent * float(np.log(2))

    def _validated(self, X: Any) -> Any:
        check_is_fitted(self)
        X = self._validate_samples(X, reset=False, accept_sparse="csr")
        refuse_overflow(X)
        return X

    def _encode(self, X: Any) -> sp.csr_array:
        """Codes of validated samples, in their dtype; threads share blocks of rows.

        Blocks do not depend on the number of threads, so that no bit of the codes does.
        """
        D = self.components_.astype(X.dtype)
        samples = Samples(X, self.mean_ if self.center else None)
        gram = None if self.model == "mixture" else D @ D.T
        bytes_per_row = max(16 * X.shape[1], BLOCK_MEBIBYTES * 2**20 // MAX_ROWS)

        def code(here: slice) -> sp.csr_array:
            return self._code_block(samples.read(here, X.dtype), D, gram)

        blocks = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(code)(here) for here in samples.slices(bytes_per_row)
        )
        return sp.csr_array(blocks[0] if len(blocks) == 1 else sp.vstack(blocks, format="csr"))

    def _code_block(self, X: np.ndarray, D: np.ndarray, gram: np.ndarray | None) -> sp.csr_array:
        if self.model == "mixture":
            return one_hot(nearest_mean(X, D)[0], len(D), X.dtype.type)
        return encode(X, D, self._rule, gram=gram)

    def _blocks(self, samples: Samples, dtype: Any) -> Any:
        for here in samples.slices(8 * (samples.shape[1] + self.n_components_)):
            yield samples.read(here, dtype)

    def _residuals(self, X: Any, exponent: int = 0) -> tuple[float, float, int]:
        """Squared residuals, squared samples and non-zero code entries, summed over X.

        Squares are in units of ``4**exponent``, in which those of tiny samples do not vanish.
        """
        D = self.components_.astype(X.dtype)
        gram = None if self.model == "mixture" else D @ D.T
        left = total = 0.0
        n_nonzero = 0
        for block in self._blocks(Samples(X, self.mean_ if self.center else None), X.dtype):
            codes = self._code_block(block, D, gram)
            left += _square_sum(block - codes @ D, exponent)
            total += _square_sum(block, exponent)
            n_nonzero += codes.nnz
        return left, total, n_nonzero


def _exponent(X: Any) -> int:
    """Power of two of the largest entry: a unit that changes no bit of ordinary samples."""
    return int(np.frexp(largest_entry(X))[1])


def _square_sum(block: np.ndarray, exponent: int) -> float:
    scaled = np.ldexp(block.astype(np.float64), -exponent)
    return float(np.einsum("ij,ij->", scaled, scaled))
