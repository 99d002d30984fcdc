"""The mixin that learns a dictionary from a stream."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

from sklearn_nnrecover.base._sklearn_compat import _fit_context
from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.dictionary_learning import Start
from sklearn_nnrecover.dictionaries.online_learning import (
    Stream,
    learn_batch,
    samples_wanted,
    streams_as_learned,
    verdict_is_due,
)
from sklearn_nnrecover.dictionaries.recovery import judged
from sklearn_nnrecover.dictionaries.samples import Samples, feature_mean, refuse_extremes
from sklearn_nnrecover.exceptions import RecoveryWarning

TRUSTED = ("exact", "approximate")


class DictionaryStreamMixin:
    """``partial_fit`` of an estimator with the hooks ``_options``, ``_start`` and ``_keep``."""

    model: str
    center: bool
    random_state: Any
    report_: RecoveryReport
    dtype_: str
    _streams: list[Stream]
    _waiting: list[np.ndarray]
    _validate_samples: Any
    _residuals: Any
    _options: Any
    _start: Any
    _keep: Any

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """Learn from one more batch of a stream.

        Three learners run side by side, one on every batch and two on every second one: their
        agreement takes the place of the two halves of the data. After many batches the atoms are
        those of a ``fit`` to all of them.

        Small batches are gathered: learners begin with 16 samples an atom and go on with 8; until
        then fitted attributes stay as they are, at first those of the first batch alone.

        Early batches never suffice, so that none warns. A RecoveryWarning comes when more samples
        were learned from than ``fit`` would explore and the atoms are not to be trusted: once, and
        again if they were in between. ``report_`` always tells.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples; any number of them.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted estimator.
        """
        if self.model == "mixture":
            raise ValueError("partial_fit learns dictionaries; fit the mixture model in one piece.")
        if not hasattr(self, "_streams"):
            self._end_stream()
        first = not self._streams and not self._waiting
        X = self._validate_samples(
            X, reset=first, accept_sparse="csr", ensure_min_samples=2 if first else 1
        )
        refuse_extremes(X)
        options = self._options(X.shape[1])
        if first:
            self.n_iter_, self.loss_curve_ = 0, np.empty(0)
            self._rng = check_random_state(self.random_state)
        self._waiting.append(X.toarray() if sparse.issparse(X) else X.copy())
        n_waiting = sum(len(batch) for batch in self._waiting)
        enough = n_waiting >= samples_wanted(self._streams, options.n_components)
        if enough or first:
            loss = self._learn(np.vstack(self._waiting), options)
        else:
            loss = self._residuals(X)[0] / X.shape[0]
        if enough:
            self._waiting = []
        elif first:
            self._streams = []  # too small a batch: begin anew once there are enough samples
        self.n_iter_ += 1
        self.loss_curve_ = np.append(self.loss_curve_, loss)
        return self

    def _learn(self, batch: np.ndarray, options: LearningOptions) -> float:
        """Give a batch to the learners; return its mean squared residual before."""
        warned = verdict_is_due(self._streams) and self.report_.status not in TRUSTED
        begins, start = not self._streams, None
        if begins:
            self.mean_ = feature_mean(batch) if self.center else np.zeros(batch.shape[1])
        samples = Samples(batch, self.mean_ if self.center else None)
        if begins:
            start = self._start(samples, options, Start(), self._rng).atoms
        loss = learn_batch(self._streams, samples, options, self._rng, start)
        learned, halves = streams_as_learned(self._streams, samples, options, self._rng)
        eps = float(np.finfo(self.dtype_).eps)
        self._keep(judged(samples, learned, halves, self._rng, eps=eps))
        due = verdict_is_due(self._streams) and self.report_.status not in TRUSTED
        if due and not warned:
            seen = self._streams[0].n_samples
            reason = f"After {seen} samples of the stream: {self.report_.reason}"
            warnings.warn(reason, RecoveryWarning, stacklevel=4)
        return loss

    def _end_stream(self) -> None:
        """The next batch will be the first one."""
        self._streams, self._waiting = [], []
