"""The estimator of the dictionaries wing."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state, gen_even_slices
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_array, check_is_fitted

from ..base._sklearn_compat import Interval, StrOptions, _fit_context
from ..base.inputs import FloatInputMixin
from ..base.iterations import IterationMixin
from ..base.report import RecoveryReport
from ..exceptions import RecoveryWarning
from ..linalg.steps import Steps
from .dictionary_learning import (
    Learned,
    LearningOptions,
    explored_rows,
    in_gauge,
    learn_with_halves,
)
from .encoders import ENCODERS, CodeRule, encode
from .judgement import Judgement, judge_dictionary
from .mixture_judgement import judge_mixture
from .online_learning import Stream, begin_stream, continue_stream, stream_as_learned
from .samples import Samples, feature_mean
from .spectral_initialization import spectral_atoms
from .spherical_mixture import learn_mixture, nearest_mean, one_hot
from .stability import standard_errors
from .support_growth import description_length

HALF_EXPLORATIONS = 4  # a half of the data is at most this many explorations large


class TiedAutoencoder(
    FloatInputMixin,
    IterationMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Atoms of a dictionary, or means of a mixture, by a weight-sharing autoencoder.

    The decoder of an autoencoder ``x -> c -> c @ components_`` holds the parameters of the linear
    model behind the data once it is trained to the optimum. This estimator trains it from any
    start: supports grow while residuals are more than noise, atoms that cannot be right are
    replaced, and the result is polished on all samples. ``report_`` says which atoms can be
    trusted.

    Read more in the :ref:`User Guide <dictionaries>`.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of atoms; None takes the number of features. Choose it by
        :func:`sklearn_nnrecover.metrics.recovery_scorer`, never by ``score``.
    model : {"sparse", "nonnegative", "mixture"}, default="sparse"
        Signed sparse codes; non-negative sparse codes (the data may be negative); or one atom a
        sample with coefficient 1, that is spherical Gaussians around means of any norm.
    n_nonzero_coefs : int or None, default=None
        Active atoms a sample. None grows supports until residuals look like noise, to a quarter of
        the features at most.
    encoder : {"auto", "threshold", "relu", "jumprelu", "top-k", "omp"}, default="auto"
        How codes are computed in training and by ``transform``. ``"auto"`` is orthogonal matching
        pursuit, and the nearest mean for the mixture (which has no other encoder). The three
        thresholding encoders are those of the paper, their thresholds chosen from the data.
    update : {"auto", "preconditioned", "gradient"}, default="auto"
        ``"gradient"`` explores by the paper's approximate gradient, ``"preconditioned"`` (auto)
        by the decoder gradient times the inverse code covariance.
    threshold : float or None, default=None
        Of the codes: the thresholding encoders', and the correlation at which the pursuit stops.
        None chooses it from the data. Training uses it for ``update="gradient"`` only.
    learning_rate : float, default=0.5
        Of the gradient, in units of the inverse mean square of an atom's code; below 1.5.
    init : {"samples", "random", "spectral"} or array of shape (n_components, n_features), \
            default="samples"
        First start. Replacement makes it matter little.
    center : bool, default=False
        Subtract the mean of the features first (``mean_``), and add it in ``inverse_transform``.
    max_coherence : float or None, default=None
        Absolute cosine from which two atoms count as duplicates while exploring; None adapts it.
    stability : bool, default=True
        Learn again from two halves of the data to see which atoms can be trusted. Without it
        nothing is claimed.
    n_init : int, default=4
        Largest number of starts; a start that explains the data ends the search.
    max_iter : int, default=60
        Largest number of exploring iterations of a start.
    tol : float, default=1e-14
        Movement of a unit-norm atom at which polishing has converged (earlier with noise, at a
        fiftieth of a standard error).
    warm_start : bool, default=False
        Begin from the atoms of the last fit.
    sparse_output : bool, default=False
        Whether ``transform`` returns a csr_array.
    n_jobs : int or None, default=None
        Threads of ``transform``.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Unit-norm atoms by decreasing code energy; signed ones have their largest entry positive.
        For the mixture the means, by decreasing number of samples.
    components_std_ : ndarray of shape (n_components, n_features)
        Standard errors; inf for atoms that no sample uses.
    n_components_, n_nonzero_coefs_ : int
        What was used.
    threshold_ : float or ndarray of shape (n_components,)
        Threshold of the encoder.
    noise_std_ : float
        Standard deviation of the noise of one entry of X.
    mean_ : ndarray of shape (n_features,)
        Subtracted from samples; zeros without ``center``.
    report_ : RecoveryReport
        What was checked; one unit for each atom.
    n_iter_ : int
        Steps taken.
    loss_curve_ : ndarray
        Mean squared residual after each step.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, if X had any.

    See Also
    --------
    sklearn.decomposition.MiniBatchDictionaryLearning : Dictionaries under an L1 penalty.
    sklearn.cluster.KMeans : Means without a verdict.

    References
    ----------
    .. [1] T. V. Nguyen, R. K. W. Wong, C. Hegde, *Autoencoders Learn Generative Linear Models*,
       arXiv:1806.00572, 2018.

    Examples
    --------
    >>> from sklearn_nnrecover.datasets import make_sparse_codes
    >>> from sklearn_nnrecover.dictionaries import TiedAutoencoder
    >>> from sklearn_nnrecover.metrics import mean_correlation
    >>> X, truth = make_sparse_codes(2000, 32, n_components=48, random_state=0)
    >>> autoencoder = TiedAutoencoder(48, random_state=0).fit(X)
    >>> autoencoder.report_.status, autoencoder.n_nonzero_coefs_
    ('exact', 3)
    >>> round(mean_correlation(autoencoder.components_, truth.components_), 6)
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_components": [None, Interval(Integral, 1, None, closed="left")],
        "model": [StrOptions({"sparse", "nonnegative", "mixture"})],
        "n_nonzero_coefs": [None, Interval(Integral, 1, None, closed="left")],
        "encoder": [StrOptions({"auto", *ENCODERS})],
        "update": [StrOptions({"auto", "preconditioned", "gradient"})],
        "threshold": [None, Interval(Real, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "init": [StrOptions({"samples", "random", "spectral"}), "array-like"],
        "center": ["boolean"],
        "max_coherence": [None, Interval(Real, 0, 1, closed="right")],
        "stability": ["boolean"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        **IterationMixin._parameter_constraints,
        "warm_start": ["boolean"],
        "sparse_output": ["boolean"],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        model: str = "sparse",
        n_nonzero_coefs: int | None = None,
        encoder: str = "auto",
        update: str = "auto",
        threshold: float | None = None,
        learning_rate: float = 0.5,
        init: Any = "samples",
        center: bool = False,
        max_coherence: float | None = None,
        stability: bool = True,
        n_init: int = 4,
        max_iter: int = 60,
        tol: float = 1e-14,
        warm_start: bool = False,
        sparse_output: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.model = model
        self.n_nonzero_coefs = n_nonzero_coefs
        self.encoder = encoder
        self.update = update
        self.threshold = threshold
        self.learning_rate = learning_rate
        self.init = init
        self.center = center
        self.max_coherence = max_coherence
        self.stability = stability
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> TiedAutoencoder:
        """Learn the atoms of X.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples; a memory map is read in blocks.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted estimator.
        """
        previous = getattr(self, "components_", None) if self.warm_start else None
        X = self._validate_samples(X, reset=True, accept_sparse="csr", ensure_min_samples=2)
        options = self._options(X.shape)
        self.mean_ = feature_mean(X) if self.center else np.zeros(X.shape[1])
        samples = Samples(X, self.mean_ if self.center else None)
        rng = check_random_state(self.random_state)
        start = self._start(samples, options, previous, rng)
        fit_model = self._fit_mixture if self.model == "mixture" else self._fit_dictionary
        judgement = self._iterate(fit_model(samples, options, start, rng))
        self._streams: list[Stream] = []
        self._conclude(judgement)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None) -> TiedAutoencoder:
        """Learn from one more batch of a stream.

        Three learners run side by side, one on every batch and two on every second one: their
        agreement takes the place of the two halves of the data. After many batches the atoms are
        those of a ``fit`` to all of them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Samples; the first batch should hold several times ``n_components``.
        y : None
            Ignored.

        Returns
        -------
        self
            The fitted estimator.
        """
        if self.model == "mixture":
            raise ValueError("partial_fit learns dictionaries; fit the mixture model in one piece.")
        first = not getattr(self, "_streams", None)
        X = self._validate_samples(
            X, reset=first, accept_sparse="csr", ensure_min_samples=2 if first else 1
        )
        options = self._options((max(X.shape[0], 2), X.shape[1]))
        if first:
            self.mean_ = feature_mean(X) if self.center else np.zeros(X.shape[1])
            self._streams, self.n_iter_, self.loss_curve_ = [], 0, np.empty(0)
            self._rng = check_random_state(self.random_state)
        samples = Samples(X, self.mean_ if self.center else None)
        judgement = self._advance_streams(samples, options)
        self._conclude(judgement, warn=False)
        return self

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
            At most 1.
        """
        X = self._validated(X)
        left, _, _ = self._residuals(X)
        mean = feature_mean(X)
        spread = sum(
            float(np.sum((block - mean) ** 2)) for block in self._blocks(Samples(X), np.float64)
        )
        return 1.0 - left / spread if spread > 0 else float(left == 0)

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
        left, total, n_nonzero = self._residuals(X)
        return description_length(
            left, total, n_nonzero, X.shape[0], X.shape[1], self.n_components_
        )

    # Learning

    def _options(self, shape: tuple[int, int]) -> LearningOptions:
        n_features = shape[1]
        n_components = self.n_components if self.n_components is not None else n_features
        given = self.n_nonzero_coefs
        if given is not None and given > n_components:
            raise ValueError(
                f"n_nonzero_coefs={given} is more than n_components={n_components}: a sample "
                "cannot use more atoms than there are."
            )
        if self.model == "mixture" and (
            self.encoder not in ("auto", "top-k") or given not in (None, 1)
        ):
            raise ValueError(
                "model='mixture' has one atom a sample, the nearest mean: leave encoder='auto' "
                "and n_nonzero_coefs=None."
            )
        width = given if given is not None else max(2, n_features // 4)
        width = 1 if self.model == "mixture" else min(width, n_components, n_features)
        rule = CodeRule(
            "omp" if self.encoder == "auto" else self.encoder,
            width,
            0.0 if self.threshold is None else float(self.threshold),
            self.model == "nonnegative",
        )
        return LearningOptions(
            n_components,
            rule,
            grow=given is None and self.model != "mixture",
            given_threshold=self.threshold is not None,
            update="preconditioned" if self.update == "auto" else self.update,
            learning_rate=self.learning_rate,
            max_coherence=self.max_coherence,
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
        )

    def _start(
        self,
        samples: Samples,
        options: LearningOptions,
        previous: np.ndarray | None,
        rng: np.random.RandomState,
    ) -> np.ndarray | None:
        """Atoms of the first start; None for samples."""
        shape = (options.n_components, samples.shape[1])
        if previous is not None and previous.shape == shape:
            return np.array(previous, dtype=np.float64)
        if not isinstance(self.init, str):
            atoms = check_array(self.init, dtype=np.float64)
            if atoms.shape != shape:
                raise ValueError(
                    f"init has shape {atoms.shape}, but n_components and the features of X ask "
                    f"for {shape}."
                )
            norms = np.linalg.norm(atoms, axis=1, keepdims=True)
            if self.model == "mixture":
                return atoms - self.mean_
            return atoms / np.where(norms > 0, norms, 1)
        if self.init == "samples" or self.model == "mixture":
            return None
        if self.init == "spectral":
            rows = explored_rows(len(samples), *shape)
            X = samples.read(np.sort(rng.permutation(len(samples))[:rows]))
            return spectral_atoms(X, options.n_components, rng)
        atoms = rng.standard_normal(shape)
        return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)

    def _halves(
        self, samples: Samples, n_components: int, rng: np.random.RandomState
    ) -> list[Samples]:
        """Two disjoint random sets of samples, as large as needed; none if there are too few."""
        if not self.stability or len(samples) < 4:
            return []
        most = HALF_EXPLORATIONS * explored_rows(len(samples), n_components, samples.shape[1])
        size = min(len(samples) // 2, most)
        rows = rng.permutation(len(samples))
        return [samples.subset(np.sort(rows[i * size : (i + 1) * size])) for i in range(2)]

    def _fit_dictionary(
        self,
        samples: Samples,
        options: LearningOptions,
        start: np.ndarray | None,
        rng: np.random.RandomState,
    ) -> Steps[Judgement]:
        samples = samples.distinct()
        halves = self._halves(samples, options.n_components, rng)
        learned, *again = yield from learn_with_halves(samples, halves, options, rng, start=start)
        atoms = tuple(half.polished.atoms for half in again)
        share = len(halves[0]) / len(samples) if halves else 0.5
        return self._judge(samples, in_gauge(learned), atoms or None, len(samples), rng, share)

    def _judge(
        self,
        samples: Samples,
        learned: Learned,
        halves: tuple[np.ndarray, ...] | None,
        n_seen: int,
        rng: np.random.RandomState,
        share: float = 0.5,
    ) -> Judgement:
        """Set the fitted attributes of a dictionary and judge it."""
        rule, D = learned.rule, learned.polished.atoms
        errors = standard_errors(
            D, learned.polished.code_gram, learned.noise_variance, rule.n_nonzero
        )
        self._set_model(D, errors, rule, learned.noise_variance, n_seen)
        eps = float(np.finfo(self.dtype_).eps)
        return judge_dictionary(samples, learned, halves, errors, eps=eps, rng=rng, share=share)

    def _fit_mixture(
        self,
        samples: Samples,
        options: LearningOptions,
        start: np.ndarray | None,
        rng: np.random.RandomState,
    ) -> Steps[Judgement]:
        n_components = options.n_components
        settings: dict[str, Any] = {"n_init": self.n_init, "max_iter": self.max_iter}
        settings["n_explored"] = explored_rows(len(samples), n_components, samples.shape[1])
        mixture = yield from learn_mixture(samples, n_components, rng, start=start, **settings)
        halves = self._halves(samples, n_components, rng)
        means = []
        for half in halves:
            again = yield from learn_mixture(half, n_components, rng, **settings)
            means.append(again.means)
        order = np.argsort(-mixture.counts, kind="stable")
        mixture = mixture._replace(means=mixture.means[order], counts=mixture.counts[order])
        filled = mixture.counts > 0
        size = np.sqrt(mixture.noise_variance / np.where(filled, mixture.counts, 1))
        size = np.where(filled, size, np.inf)
        errors = np.repeat(size[:, None], samples.shape[1], axis=1)
        self._set_model(mixture.means, errors, options.rule, mixture.noise_variance, len(samples))
        eps = float(np.finfo(self.dtype_).eps)
        return judge_mixture(samples, mixture, tuple(means) or None, errors, eps=eps, rng=rng)

    def _advance_streams(self, samples: Samples, options: LearningOptions) -> Judgement:
        X = samples.read(slice(0, len(samples)))
        rule = options.rule
        batch = self._streams[0].n_batches if self._streams else 0
        concerned = [0] if batch < 2 else [0, 1 + batch % 2]
        if batch < 2:
            start = self._start(samples, options, None, self._rng) if batch == 0 else None
            new = [None] if batch else [start, None]
            for atoms in new:
                self._streams.append(
                    begin_stream(
                        X, options.n_components, rule, grow=options.grow, rng=self._rng, start=atoms
                    )
                )
            concerned = [0, 1 + batch]
        losses = [continue_stream(self._streams[i], X, rule, grow=options.grow) for i in concerned]
        main = self._streams[0]
        self.n_iter_ += 1
        self.loss_curve_ = np.append(self.loss_curve_, losses[0])
        learned = stream_as_learned(main, samples, options, self._rng)
        halves = tuple(stream.atoms for stream in self._streams[1:])
        return self._judge(
            samples,
            in_gauge(learned),
            halves if len(halves) == 2 else None,
            main.n_samples,
            self._rng,
        )

    def _set_model(
        self,
        D: np.ndarray,
        errors: np.ndarray,
        rule: CodeRule,
        noise_variance: float,
        n_seen: int,
    ) -> None:
        self.components_ = D.astype(self.dtype_)
        self.components_std_ = errors.astype(self.dtype_)
        self.n_components_ = self._n_features_out = len(D)
        self.n_nonzero_coefs_ = rule.n_nonzero
        self.threshold_ = rule.threshold
        self.noise_std_ = float(np.sqrt(noise_variance))
        self._rule = rule
        self._n_seen = n_seen

    def _conclude(self, judgement: Judgement, warn: bool = True) -> None:
        status, reason, proof, conditions, units = judgement
        self.report_ = RecoveryReport(status, reason, proof, conditions, units)
        if warn and status in ("partial", "not_recovered"):
            warnings.warn(reason, RecoveryWarning, stacklevel=3)

    # Coding

    def _validated(self, X: Any) -> Any:
        check_is_fitted(self)
        return self._validate_samples(X, reset=False, accept_sparse="csr")

    def _encode(self, X: Any) -> sp.csr_array:
        """Codes of validated samples, in their dtype; rows are shared among threads."""
        D = self.components_.astype(X.dtype)
        samples = Samples(X, self.mean_ if self.center else None)
        gram = None if self.model == "mixture" else D @ D.T

        def code(part: slice) -> list[sp.csr_array]:
            rows = [slice(part.start + s.start, part.start + s.stop) for s in _slices(part, D)]
            return [self._code_block(samples.read(here, X.dtype), D, gram) for here in rows]

        n_jobs = min(effective_n_jobs(self.n_jobs), max(X.shape[0], 1))
        if n_jobs == 1:
            blocks = code(slice(0, X.shape[0]))
        else:
            parts = Parallel(n_jobs=n_jobs, prefer="threads")(
                delayed(code)(part) for part in gen_even_slices(X.shape[0], n_jobs)
            )
            blocks = [block for part in parts for block in part]
        return sp.csr_array(blocks[0] if len(blocks) == 1 else sp.vstack(blocks, format="csr"))

    def _code_block(self, X: np.ndarray, D: np.ndarray, gram: np.ndarray | None) -> sp.csr_array:
        if self.model == "mixture":
            return one_hot(nearest_mean(X, D)[0], len(D), X.dtype.type)
        return encode(X, D, self._rule, gram=gram)

    def _blocks(self, samples: Samples, dtype: Any) -> Any:
        for here in samples.slices(8 * (samples.shape[1] + self.n_components_)):
            yield samples.read(here, dtype)

    def _residuals(self, X: Any) -> tuple[float, float, int]:
        """Squared residuals, squared samples and non-zero code entries, summed over X."""
        D = self.components_.astype(X.dtype)
        gram = None if self.model == "mixture" else D @ D.T
        left = total = 0.0
        n_nonzero = 0
        for block in self._blocks(Samples(X, self.mean_ if self.center else None), X.dtype):
            codes = self._code_block(block, D, gram)
            residual = (block - codes @ D).astype(np.float64)
            left += float(np.einsum("ij,ij->", residual, residual))
            total += float(np.einsum("ij,ij->", block, block, dtype=np.float64))
            n_nonzero += codes.nnz
        return left, total, n_nonzero

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _slices(part: slice, D: np.ndarray) -> list[slice]:
    """Slices of a part of the samples, small enough to keep memory at a few blocks."""
    shape = np.empty((part.stop - part.start, 0))
    return Samples(shape).slices(8 * (4 * len(D) + 4 * D.shape[1]))
