"""From samples to a network: which solvers are tried, in which order, and which result is kept.

``solver="auto"`` first asks the solvers that are linear algebra, cheapest and strongest proof
first; each declines quickly when the data are not of its kind. What is left is to search: for the
least-squares optimum, which is the answer under noise, or for a network of more units that
reproduces the outputs, and can be reduced. A quick look at the data (:mod:`noise_probe`) says
which; where it does not, the least-squares search goes first on few equations, the reduction on
many. A network of zero residual ends the search.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.evidence.lack_of_fit import lack_of_fit
from sklearn_nnrecover.networks.evidence.noise_probe import probe_noise
from sklearn_nnrecover.networks.evidence.verdict import is_conclusive, is_zero_residual
from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation
from sklearn_nnrecover.networks.model.two_layer_network import (
    Samples,
    TwoLayerNetwork,
    fit_output_layer,
    residual_sum_of_squares,
)
from sklearn_nnrecover.networks.solvers import SOLVERS, Declined, Options, Recovery

ALGEBRAIC_SOLVERS = ("lifted", "pencil")
NOISY_SOLVER = "varpro"
# Equations up to which searches at every width, one by one, are as fast as the reduction of many
# units, and find more.
FEW_EQUATIONS = 1000
# Probability below which residuals are not taken for noise before all solvers have been tried.
NOISE_LEVEL = 0.01
# Reasons of the lifted system to decline that leave the pencils a chance.
LIFTED_UNDECIDED = ("", "too few samples", "null space too large", "memory")


def linear_network(
    samples: Samples, n_hidden: int | None = None, activation: Activation = RELU
) -> TwoLayerNetwork:
    """Network of the linear least-squares fit: units that are never inactive, or pairs v, -v.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    n_hidden : int or None
        Largest number of units; None allows what the rank of the linear fit needs.
    activation : Activation, default=RELU
        ReLU or leaky ReLU; any other is right for constant outputs only.
    """
    Z, Y, weight, intercept, _ = samples
    p = Z.shape[1]
    root = np.sqrt(weight)[:, None]
    B = np.linalg.lstsq(root * Z, root * Y, rcond=None)[0]
    directions = B[: p - 1] if intercept else B
    left, singular, _ = np.linalg.svd(directions, full_matrices=False)
    rank = max(1, int(np.sum(singular > 1e-10 * max(1.0, singular.max(initial=0.0)))))
    if len(directions) == 0:
        left = np.zeros((0, 1))
    if intercept:
        V = left[:, : min(rank, n_hidden or rank)]
        reach = np.abs(Z[:, : p - 1] @ V).max(axis=0, initial=1.0)
        V = np.vstack([V, 1.1 * reach])
    else:
        V = np.hstack([left[:, :rank], -left[:, :rank]])[:, : n_hidden or 2 * rank]
    return fit_output_layer(V, samples, activation).normalized()


def is_linear(samples: Samples) -> bool:
    """Whether the outputs are a linear (or constant) function of the inputs, to rounding."""
    root = np.sqrt(samples.weight)[:, None]
    B = np.linalg.lstsq(root * samples.Z, root * samples.Y, rcond=None)[0]
    residual = root * (samples.Y - samples.Z @ B)
    return is_zero_residual(float(np.sum(residual**2)), samples)


def is_constant(samples: Samples) -> bool:
    """Whether the outputs do not vary (are zero, without intercepts), to rounding."""
    Y, weight = samples.Y, samples.weight
    center = np.average(Y, axis=0, weights=weight) if samples.intercept else 0.0
    return is_zero_residual(float(weight @ np.sum((Y - center) ** 2, axis=1)), samples)


def recover(
    samples: Samples,
    n_hidden: int | None,
    *,
    solver: str,
    noise: str,
    options: Options,
    rng: np.random.RandomState,
) -> Steps[Recovery]:
    """Recover the network behind samples.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    n_hidden : int or None
        Width; None lets the solvers find it.
    solver : str
        A name in the registry, or "auto".
    noise : {"auto", "none", "gaussian"}
        What is assumed of the outputs.
    options : Options
        Activation and budgets.
    rng : RandomState
        Source of randomness.

    Yields
    ------
    Step
        Steps of the solvers.

    Returns
    -------
    Recovery
        Of zero residual if one was found, else that of the lowest loss.
    """
    activation = options.activation
    constant = samples.Z.shape[1] == int(samples.intercept) or is_constant(samples)
    if constant or (activation.negative_slope is not None and is_linear(samples)):
        return _linear_recovery(samples, n_hidden, activation)
    asked = n_hidden
    if n_hidden is not None and samples.Z.shape[1] == 1 and activation.degree is not None:
        # On a line through the origin units differ by their side only.
        n_hidden = min(n_hidden, 2)
    result: Recovery | Declined
    if solver == "auto":
        result = yield from _automatic(samples, n_hidden, noise, options, rng)
    else:
        result = yield from SOLVERS[solver](samples, n_hidden, options, rng)
    if isinstance(result, Declined):
        # The solver asked for is not for these data: hold the best network all the same.
        fallback = yield from SOLVERS[NOISY_SOLVER](samples, n_hidden, options, rng)
        assert isinstance(fallback, Recovery)
        return fallback._replace(note=f'solver="{solver}" declined these data ({result.reason}).')
    width = result.network.n_hidden
    if asked is not None and width < asked:
        spare = asked - width
        result = result._replace(
            note=f"{spare} of the n_hidden={asked} units asked for would be superfluous. "
            f"{result.note}".strip()
        )
    return result


def _automatic(
    samples: Samples,
    n_hidden: int | None,
    noise: str,
    options: Options,
    rng: np.random.RandomState,
) -> Steps[Recovery]:
    """Solvers in the order of their promise, until one is conclusive."""
    found: list[Recovery] = []
    order = [NOISY_SOLVER]
    if options.activation.is_relu and noise != "gaussian":
        conclusive = yield from _algebraic(samples, n_hidden, options, rng, found)
        if conclusive is not None:
            return conclusive
        order = yield from _order_of_searches(samples, noise, rng, found)
    for name in order:
        result = yield from SOLVERS[name](samples, n_hidden, options, rng)
        if isinstance(result, Declined):
            continue
        found.append(result)
        last = is_zero_residual(result.loss, samples) or name == order[-1]
        if last or (name == NOISY_SOLVER and _credible(result, samples, rng)):
            break
    exact = [recovery for recovery in found if is_zero_residual(recovery.loss, samples)]
    if exact:
        return max(exact, key=lambda recovery: recovery.n_agreeing)
    return min(found, key=lambda recovery: recovery.loss)


def _algebraic(
    samples: Samples,
    n_hidden: int | None,
    options: Options,
    rng: np.random.RandomState,
    found: list[Recovery],
) -> Steps[Recovery | None]:
    """Ask the solvers that are linear algebra; collect what they find."""
    lifted_reason = ""
    for name in ALGEBRAIC_SOLVERS:
        if name == "pencil" and lifted_reason not in LIFTED_UNDECIDED:
            continue
        try:
            result = yield from SOLVERS[name](samples, n_hidden, options, rng)
        except MemoryError:
            result = Declined("memory")
        if isinstance(result, Declined):
            lifted_reason = result.reason if name == "lifted" else lifted_reason
            continue
        found.append(result)
        if is_conclusive(result, samples):
            return result
    return None


def _order_of_searches(
    samples: Samples, noise: str, rng: np.random.RandomState, found: list[Recovery]
) -> Steps[list[str]]:
    """Which searches are made, and in which order."""
    # What the algebra has found needs confirmation only.
    noisy = False if found else (yield from probe_noise(samples, rng=rng))
    if noisy and noise == "auto":
        return [NOISY_SOLVER]
    if noisy is None and samples.Y.size <= FEW_EQUATIONS:
        return [NOISY_SOLVER, "reduce"]
    return ["reduce", NOISY_SOLVER]


def _credible(result: Recovery, samples: Samples, rng: np.random.RandomState) -> bool:
    """Whether searches agree on a least-squares optimum whose residuals may be noise."""
    agree = result.search is not None and result.search.n_agreeing > 1
    return agree and lack_of_fit(result.network, samples, rng).p_value >= NOISE_LEVEL


def _linear_recovery(samples: Samples, n_hidden: int | None, activation: Activation) -> Recovery:
    network = linear_network(samples, n_hidden, activation)
    return Recovery(network, "linear", residual_sum_of_squares(network, samples))
