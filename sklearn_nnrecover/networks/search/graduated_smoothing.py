"""Graduated smoothing: round off the kinks, minimise, sharpen, and minimise again.

On few samples the loss of a ReLU network is broken into many pieces: a hyperplane that should
move across a sample meets a kink of the loss there, and descent stalls. The smoothed unit

    relu_w(t) = (t + sqrt(t^2 + w^2)) / 2

lets hyperplanes pass; the width w shrinks from about the spread of the inputs to zero, each stage
starting where the last one ended. It keeps relu_w(t) = t + relu_w(-t), so that with a free linear
part units still matter only up to their mirror images.

References
----------
Blake and Zisserman, *Visual Reconstruction* (1987), on graduated non-convexity.
"""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.search.variable_projection import Fit, variable_projection

WIDTHS = (0.5, 0.25, 0.12, 0.06, 0.03, 0.01)
"""Widths of the stages; in design coordinates a unit-norm vector has outputs of unit spread."""

STAGE_ITERATIONS = 15
STAGE_TOL = 1e-4


def smoothed_relu(width: float) -> Activation:
    """Return the ReLU rounded off to a hyperbola of this width.

    Its degree is set to 1 although it is not homogeneous: units then keep unit norm, which is
    what gives the width its meaning.
    """

    def value(T: np.ndarray) -> np.ndarray:
        return 0.5 * (T + np.hypot(T, width))

    def derivative(T: np.ndarray) -> np.ndarray:
        return 0.5 * (1.0 + T / np.hypot(T, width))

    return Activation(f"smoothed_relu({width:g})", value, derivative, 1.0)


def graduated_fit(
    samples: Samples,
    V0: np.ndarray,
    *,
    linear_part: bool = False,
    widths: tuple[float, ...] = WIDTHS,
    max_iter: int = 100,
) -> Steps[Fit]:
    """Fit ReLU units through a sequence of ever sharper ones.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    V0 : ndarray of shape (p, k)
        Initial hidden units.
    linear_part : bool, default=False
        Fit a free linear part beside the units.
    widths : tuple of float
        Smoothing widths, falling; an empty tuple is a plain fit.
    max_iter : int, default=100
        Budget of the last, unsmoothed stage.

    Yields
    ------
    Step
        Those of the fits.

    Returns
    -------
    Fit
        Of the unsmoothed units.
    """
    V = V0
    for width in widths:
        fit = yield from variable_projection(
            samples,
            V,
            activation=smoothed_relu(width),
            linear_part=linear_part,
            max_iter=STAGE_ITERATIONS,
            tol=STAGE_TOL,
        )
        V = fit.network.V
    return (
        yield from variable_projection(
            samples, V, activation=RELU, linear_part=linear_part, max_iter=max_iter
        )
    )
