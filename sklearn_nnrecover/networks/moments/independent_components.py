"""Hidden units with orthogonal weights, as independent components of the outputs.

When x is Gaussian and the units' weights are orthonormal in whitened coordinates, the hidden
activations f(x u_j + b_j) are independent and not Gaussian: the outputs, a linear image of them,
are an independent component analysis problem (Algorithm 3 of Bakshi, Jayaram and Woodruff, steps
1-3). It does not look at the inputs at all. Here

* the contrast is skewness, since rectified variables are skew: the usual one, log cosh, ended in
  mixtures of units in 30 of 135 data sets, this one in none;
* outputs are projected on their k leading principal components instead of sketched at random;
* components come out centred, of unit variance and either sign, which the printed rounding at a
  threshold near zero does not allow for: each component is regressed on the inputs for its unit's
  direction, and sign and offset are those of the rectified unit that fits it best.

The start is as accurate as an ICA of n samples, an error of order n^-1/2; the sparsity patterns
make it exact. Without orthogonality the components are no units.

References
----------
Bakshi, Jayaram and Woodruff, "Learning two layer rectified neural networks in polynomial time",
COLT 2019, section 4.1. Hyvärinen, "Fast and robust fixed-point algorithms for independent component
analysis", IEEE Transactions on Neural Networks 10 (1999).
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.decomposition import fastica
from sklearn.exceptions import ConvergenceWarning

from sklearn_nnrecover.networks.model.rectified_activations import Activation
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.moments.hermite_moments import candidate_units

MAX_ITER = 500


def skewness(components: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivative of the third power and its mean slope, as FastICA takes a contrast."""
    return components**2, 2 * components.mean(axis=-1)


def independent_components(
    samples: Samples, n_components: int, rng: np.random.RandomState
) -> np.ndarray:
    """Independent components of the outputs, uncorrelated and of unit variance.

    Parameters
    ----------
    samples : Samples
        Samples of at least ``n_components`` outputs.
    n_components : int
        Number of components k.
    rng : RandomState
        Start of the fixed-point iteration, and the rows drawn where weights differ.

    Returns
    -------
    ndarray of shape (n, n_components)
    """
    share = samples.weight / samples.weight.sum()
    Y = samples.Y - share @ samples.Y
    _, singular, right = np.linalg.svd(np.sqrt(share)[:, None] * Y, full_matrices=False)
    white = Y @ (right[:n_components].T / singular[:n_components])
    n = len(white)
    equal = np.ptp(samples.weight) == 0
    rows = np.arange(n) if equal else rng.choice(n, size=n, p=share)
    with warnings.catch_warnings():
        # An iteration that did not converge gives a start like any other: the residual will tell.
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, unmixing, _ = fastica(
            white[rows], whiten=False, fun=skewness, max_iter=MAX_ITER, random_state=rng
        )
    return np.asarray(white @ unmixing.T)


def unit_of_component(
    samples: Samples, component: np.ndarray, activation: Activation
) -> np.ndarray:
    """Hidden unit, (p,), whose activation fits a component best, along its regression's direction.

    Parameters
    ----------
    samples : Samples
        Samples in design coordinates.
    component : ndarray of shape (n,)
        Component of mean 0.
    activation : Activation
        Elementwise activation.
    """
    share = samples.weight / samples.weight.sum()
    X = samples.Z[:, :-1] if samples.intercept else samples.Z
    direction = X.T @ (share * component)
    length = float(np.linalg.norm(direction))
    direction = direction / length if length > 0 else np.eye(len(direction))[0]
    candidates = candidate_units(samples, direction, activation)
    H = activation.value(samples.Z @ candidates)
    H = H - share @ H
    fit = (share * component) @ H
    size = share @ H**2
    explained = np.where(size > 0, fit**2 / np.where(size > 0, size, 1.0), 0.0)
    return np.asarray(candidates[:, np.argmax(explained)])


def component_start(
    samples: Samples, n_hidden: int, activation: Activation, rng: np.random.RandomState
) -> np.ndarray:
    """Hidden units (p, n_hidden) from independent components; an estimate, not an optimum."""
    components = independent_components(samples, n_hidden, rng)
    return np.column_stack(
        [unit_of_component(samples, component, activation) for component in components.T]
    )
