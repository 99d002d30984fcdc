"""From samples to a judged model: learn it, learn it again from halves, say what is proven.

The two models differ in what is learned and in how it is judged; both end as :class:`Recovered`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.dictionaries.calibration import LearningOptions
from sklearn_nnrecover.dictionaries.dictionary_learning import (
    Learned,
    Start,
    explored_rows,
    in_gauge,
)
from sklearn_nnrecover.dictionaries.encoders import CodeRule
from sklearn_nnrecover.dictionaries.halves import independent_halves, learn_with_halves
from sklearn_nnrecover.dictionaries.judgement import judge_dictionary
from sklearn_nnrecover.dictionaries.mixture_judgement import judge_mixture
from sklearn_nnrecover.dictionaries.samples import Samples
from sklearn_nnrecover.dictionaries.spherical_mixture import learn_mixture
from sklearn_nnrecover.dictionaries.stability import standard_errors
from sklearn_nnrecover.dictionaries.verdict import Judgement
from sklearn_nnrecover.linalg.steps import Steps


class Recovered(NamedTuple):
    """A fitted model.

    Attributes
    ----------
    components, errors : ndarrays of shape (n_components, n_features)
        Atoms in the gauge, or means, and their standard errors.
    rule : CodeRule
        The encoder with its constants.
    noise_variance : float
        Of one entry of X.
    judgement : Judgement
        Fields of the report.
    stop : float
        Correlation at which pursuits met the noise, where samples have different numbers of active
        atoms; else 0.
    """

    components: np.ndarray
    errors: np.ndarray
    rule: CodeRule
    noise_variance: float
    judgement: Judgement
    stop: float = 0.0


def recover_dictionary(
    samples: Samples,
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    start: Start,
    stability: bool,
    eps: float,
) -> Steps[Recovered]:
    """Learn and judge a sparse or non-negative model; repeated samples count once.

    Parameters
    ----------
    samples : Samples
        The data.
    options : LearningOptions
        What the user decided.
    rng : RandomState
        Draws starts, halves, and samples to look at.
    start : Start
        Of the fit to all samples; halves begin at their own samples.
    stability : bool
        Whether to learn from halves, too.
    eps : float
        Machine epsilon of the data's dtype.
    """
    samples = samples.distinct()
    halves = independent_halves(samples, options.n_components, rng) if stability else []
    learned, *again = yield from learn_with_halves(samples, halves, options, rng, start=start)
    atoms = tuple(half.polished.atoms for half in again)
    share = len(halves[0]) / len(samples) if halves else 0.5
    return judged(samples, learned, atoms or None, rng, eps=eps, share=share)


def judged(
    samples: Samples,
    learned: Learned,
    halves: tuple[np.ndarray, ...] | None,
    rng: np.random.RandomState,
    *,
    eps: float,
    share: float = 0.5,
) -> Recovered:
    """Bring a dictionary into the gauge and judge it; parameters of :func:`judge_dictionary`."""
    learned = in_gauge(learned)
    polished, rule = learned.polished, learned.rule
    errors = standard_errors(
        polished.atoms, polished.code_gram, learned.noise_variance, rule.n_nonzero
    )
    judgement = judge_dictionary(samples, learned, halves, errors, eps=eps, rng=rng, share=share)
    variance = learned.noise_variance
    return Recovered(polished.atoms, errors, rule, variance, judgement, learned.stop)


def recover_mixture(
    samples: Samples,
    options: LearningOptions,
    rng: np.random.RandomState,
    *,
    start: Start,
    stability: bool,
    eps: float,
) -> Steps[Recovered]:
    """Learn and judge a mixture, components by decreasing number of samples."""
    n_components, n_features = options.n_components, samples.shape[1]
    n_explored = explored_rows(len(samples), n_components, n_features)

    def learn(source: Samples, means: np.ndarray | None) -> Steps:
        return learn_mixture(
            source,
            n_components,
            rng,
            start=means,
            n_init=options.n_init,
            max_iter=options.max_iter,
            n_explored=n_explored,
        )

    mixture = yield from learn(samples, start.atoms)
    halves = independent_halves(samples, n_components, rng) if stability else []
    means = []
    for half in halves:
        again = yield from learn(half, None)
        means.append(again.means)
    order = np.argsort(-mixture.counts, kind="stable")
    mixture = mixture._replace(means=mixture.means[order], counts=mixture.counts[order])
    filled = mixture.counts > 0
    size = np.sqrt(mixture.noise_variance / np.where(filled, mixture.counts, 1))
    errors = np.repeat(np.where(filled, size, np.inf)[:, None], n_features, axis=1)
    judgement = judge_mixture(samples, mixture, tuple(means) or None, errors, eps=eps, rng=rng)
    return Recovered(mixture.means, errors, options.rule, mixture.noise_variance, judgement)
