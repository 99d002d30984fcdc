"""The estimator of the dictionaries wing."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_array

from sklearn_nnrecover.base._sklearn_compat import Interval, StrOptions, _fit_context
from sklearn_nnrecover.base.iterations import IterationMixin
from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.dictionaries._dictionary_stream import DictionaryStreamMixin
from sklearn_nnrecover.dictionaries._sparse_coder import SparseCoderMixin
from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.dictionary_learning import Start, draw_rows
from sklearn_nnrecover.dictionaries.encoders import ENCODERS, CodeRule
from sklearn_nnrecover.dictionaries.recovery import (
    Recovered,
    recover_dictionary,
    recover_mixture,
)
from sklearn_nnrecover.dictionaries.samples import Samples, feature_mean, refuse_extremes
from sklearn_nnrecover.dictionaries.spectral_initialization import spectral_atoms
from sklearn_nnrecover.dictionaries.updates import normalized_rows
from sklearn_nnrecover.exceptions import RecoveryWarning
from sklearn_nnrecover.linalg.blocks import require_memory

CODE_MATRICES = 4  # of shape (n_components, n_components) at a time
MAX_BYTES = 8 * 2**30


class TiedAutoencoder(
    DictionaryStreamMixin,
    SparseCoderMixin,
    IterationMixin,
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
        the features at most; up to 3 in few dimensions where noiseless samples share spans.
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
        previous = self._previous_start()
        X = self._validate_samples(X, reset=True, accept_sparse="csr", ensure_min_samples=2)
        refuse_extremes(X)
        options = self._options(X.shape[1])
        self.mean_ = feature_mean(X) if self.center else np.zeros(X.shape[1])
        samples = Samples(X, self.mean_ if self.center else None)
        rng = check_random_state(self.random_state)
        recover = recover_mixture if self.model == "mixture" else recover_dictionary
        steps = recover(
            samples,
            options,
            rng,
            start=self._start(samples, options, previous, rng),
            stability=self.stability,
            eps=float(np.finfo(self.dtype_).eps),
        )
        self._keep(self._iterate(steps))
        self._end_stream()
        if self.report_.status in ("partial", "not_recovered"):
            warnings.warn(self.report_.reason, RecoveryWarning, stacklevel=3)
        return self

    def _previous_start(self) -> Start:
        """Atoms of the last fit, for a warm start."""
        if not self.warm_start or not hasattr(self, "components_"):
            return Start()
        atoms = np.array(self.components_, dtype=np.float64)
        stop = getattr(self, "_stop", 0.0)  # models stored by older versions have none
        return Start(atoms, self.n_nonzero_coefs_, self.noise_std_**2, stop)

    def _options(self, n_features: int) -> LearningOptions:
        n_components = self.n_components if self.n_components is not None else n_features
        given, mixture = self.n_nonzero_coefs, self.model == "mixture"
        if not mixture:
            needed = CODE_MATRICES * 8.0 * n_components**2
            what = f"A dictionary of n_components={n_components} atoms"
            require_memory(needed, MAX_BYTES, what, "take fewer atoms.")
        if given is not None and given > n_components:
            raise ValueError(
                f"n_nonzero_coefs={given} is more than n_components={n_components}: a sample "
                "cannot use more atoms than there are."
            )
        if mixture and (self.encoder not in ("auto", "top-k") or given not in (None, 1)):
            raise ValueError(
                "model='mixture' has one atom a sample, the nearest mean: leave encoder='auto' "
                "and n_nonzero_coefs=None."
            )
        width = given if given is not None else max(2, n_features // 4)
        rule = CodeRule(
            "omp" if self.encoder == "auto" else self.encoder,
            1 if mixture else min(width, n_components, n_features),
            0.0 if self.threshold is None else float(self.threshold),
            self.model == "nonnegative",
        )
        return LearningOptions(
            n_components,
            rule,
            grow=given is None and not mixture,
            given_threshold=self.threshold is not None,
            update="preconditioned" if self.update == "auto" else self.update,
            learning_rate=self.learning_rate,
            max_coherence=self.max_coherence,
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
        )

    def _start(
        self, samples: Samples, options: LearningOptions, previous: Start, rng: Any
    ) -> Start:
        shape = (options.n_components, samples.shape[1])
        if previous.atoms is not None and previous.atoms.shape == shape:
            if options.grow:
                return previous
            return previous._replace(n_nonzero=options.rule.n_nonzero, stop=0.0)
        if not isinstance(self.init, str):
            atoms = check_array(self.init, dtype=np.float64)
            if atoms.shape != shape:
                raise ValueError(
                    f"init has shape {atoms.shape}, but n_components and the features of X ask "
                    f"for {shape}."
                )
            if self.model == "mixture":
                return Start(atoms - self.mean_)
            return Start(normalized_rows(atoms, atoms))
        if self.init == "samples" or self.model == "mixture":
            return Start()
        if self.init == "spectral":
            X = samples.read(draw_rows(samples, options.n_components, rng))
            return Start(spectral_atoms(X, options.n_components, rng))
        atoms = rng.standard_normal(shape)
        return Start(normalized_rows(atoms, atoms))

    def _keep(self, recovered: Recovered) -> None:
        """Set the fitted attributes."""
        rule, judgement = recovered.rule, recovered.judgement
        self.components_ = recovered.components.astype(self.dtype_)
        self.components_std_ = recovered.errors.astype(self.dtype_)
        self.n_components_ = self._n_features_out = len(self.components_)
        self.n_nonzero_coefs_ = rule.n_nonzero
        self.threshold_ = rule.threshold
        self.noise_std_ = float(np.sqrt(recovered.noise_variance))
        self._rule, self._stop = rule, recovered.stop
        self.report_ = RecoveryReport(
            judgement.status,
            judgement.reason,
            judgement.proof,
            judgement.conditions,
            judgement.units,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
