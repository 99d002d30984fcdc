"""Variable projection: Levenberg-Marquardt on the hidden units, the output layer eliminated.

Model, in design coordinates (rows are samples)::

    Y = f(Z V) A + c + noise              or, with a free linear part,
    Y = f(Z V) A + Z B + c + noise

For given hidden units V (p, k) the rest is linear least squares on F = [f(ZV), 1] (or [f(ZV), Z]),
so the weighted residual sum of squares is a function of V alone. With P the projector off the
columns of F, A_j the output weights of unit j and D_j = diag f'(Z v_j), Kaufman's Jacobian has the
columns -(P D_j Z e_a) A_j, and the normal matrix needs no matrix of n m rows::

    S[(j, a), (l, b)] = (A_j . A_l) (e_a' Z' D_j P D_l Z e_b).

Products of the Gram matrix lose half the digits, but only of the *step*: the residual is formed
explicitly after two refinements of the output layer, and the gradient Z'(D * (R A')) from it, so
that iterations contract down to rounding of the residual itself, without an orthogonal
factorisation of the Jacobian.

References
----------
Golub and Pereyra, "Separable nonlinear least squares: the variable projection method and its
applications", Inverse Problems 19 (2003). Kaufman, "A variable projection method for solving
separable nonlinear least squares problems", BIT 15 (1975). Nielsen, "Damping parameter in
Marquardt's method", IMM-REP-1999-05 (1999).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtrs

from sklearn_nnrecover.linalg.blocks import row_blocks
from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.networks.model.rectified_activations import RELU, Activation
from sklearn_nnrecover.networks.model.two_layer_network import Samples, TwoLayerNetwork

EPS = np.finfo(float).eps
# Relative residual below which rounding may decide the comparison of two losses.
ROUNDING_REGIME = 1e-11
# Relative loss below which the output layer is refined once.
REFINE_BELOW = 1e-4
MAX_DAMPING = 1e10


class Fit(NamedTuple):
    """A local least-squares optimum.

    Attributes
    ----------
    network : TwoLayerNetwork
        Hidden units of unit norm if the activation is homogeneous.
    linear : ndarray of shape (p, m) or None
        Free linear part B, to be added as ``Z @ linear``; with an intercept its last row is zero
        and the constant stands in ``network.c``. None without a linear part.
    loss : float
        Weighted residual sum of squares.
    converged : bool
        Whether the loss stopped falling (to ``tol``, or to rounding) within the budget.
    n_iter : int
        Normal matrices that were formed: the work.
    """

    network: TwoLayerNetwork
    linear: np.ndarray | None
    loss: float
    converged: bool
    n_iter: int


class Projection(NamedTuple):
    """The residual at given hidden units, all other parameters at their optimum."""

    V: np.ndarray
    slope: np.ndarray  # f'(Z V)', (k, n)
    features: np.ndarray  # root-weighted F', (k + q, n)
    factor: np.ndarray  # lower Cholesky factor of the scaled Gram matrix of F
    scale: np.ndarray  # column norms of F
    coefficients: np.ndarray  # (k + q, m)
    residual: np.ndarray  # root-weighted R', (m, n)
    loss: float


class SeparableLeastSquares:
    """Loss, gradient and normal matrix of the separable least-squares problem.

    Arrays are kept with samples along the last, contiguous axis.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    activation : Activation
        Elementwise activation f.
    linear_part : bool
        Whether a free linear part Z B is fitted beside the units.
    largest_norm : float, default=inf
        Bound on the norms of units whose length is no gauge.
    """

    def __init__(
        self,
        samples: Samples,
        activation: Activation = RELU,
        linear_part: bool = False,
        largest_norm: float = np.inf,
    ) -> None:
        root = np.sqrt(samples.weight)
        self.samples = samples
        self.activation = activation
        self.linear_part = linear_part
        self.largest_norm = largest_norm
        self.Zt = np.ascontiguousarray(samples.Z.T)
        self.weighted_Zt = self.Zt * root
        self.weighted_Yt = np.ascontiguousarray(samples.Y.T) * root
        self.root = root
        self.total = float(np.einsum("ij,ij->", self.weighted_Yt, self.weighted_Yt))
        if linear_part:
            self.extra = self.weighted_Zt
        elif samples.intercept:
            self.extra = root[None, :]
        else:
            self.extra = np.empty((0, len(root)))

    def features(self, V: np.ndarray) -> np.ndarray:
        """Root-weighted hidden activations, shape (k, n)."""
        return self.activation.value(V.T @ self.Zt) * self.root

    def project(self, V: np.ndarray) -> Projection:
        """Eliminate the output layer at hidden units V."""
        T = V.T @ self.Zt
        H = self.activation.value(T)
        F = np.concatenate([H * self.root, self.extra])
        if len(F) == 0:
            none = np.zeros((0, len(self.weighted_Yt)))
            empty = np.zeros((0, 0))
            Y = self.weighted_Yt
            return Projection(V, H, F, empty, np.zeros(0), none, Y, self.total)
        gram = F @ F.T
        scale = np.sqrt(np.diagonal(gram))
        scale = np.where(scale > 0, scale, 1.0)
        gram /= scale[:, None] * scale
        # The shift only makes the factor exist for dependent or dead units; refinement undoes it
        # wherever the data determine the coefficients.
        gram[np.diag_indices_from(gram)] += 64 * EPS
        factor, _ = dpotrf(gram, lower=1, overwrite_a=1)
        coefficients = np.zeros((len(F), len(self.weighted_Yt)))
        residual, loss = self.weighted_Yt, 0.0
        while True:
            correction, _ = dpotrs(factor, (F @ residual.T) / scale[:, None], lower=1)
            refined = loss > 0
            coefficients = coefficients + correction / scale[:, None]
            residual = self.weighted_Yt - coefficients.T @ F
            loss = float(np.einsum("ij,ij->", residual, residual))
            # Far from zero residual the error of one solve is of second order in the loss.
            if refined or not 0 < loss <= REFINE_BELOW * self.total:
                break
        return Projection(
            V, self.activation.derivative(T), F, factor, scale, coefficients, residual, loss
        )

    def gradient(self, at: Projection) -> np.ndarray:
        """Minus half the gradient of the loss with respect to V, shape (k, p)."""
        k = at.V.shape[1]
        return (at.slope * (at.coefficients[:k] @ at.residual)) @ self.weighted_Zt.T

    def cross_gram(self, at: Projection) -> np.ndarray:
        """Weighted products F'[D_1 Z .. D_k Z], shape (k + q, k p)."""
        p, k = at.V.shape
        cross = np.zeros((len(at.features), k * p))
        for block in row_blocks(self.Zt.shape[1], 8 * (k * p + len(at.features))):
            tangents = at.slope[:, None, block] * self.weighted_Zt[:, block]
            cross += at.features[:, block] @ tangents.reshape(k * p, -1).T
        return cross

    def normal_matrix(self, at: Projection) -> np.ndarray:
        """Kaufman's normal matrix S, shape (k p, k p), units first."""
        p, k = at.V.shape
        n = self.Zt.shape[1]
        q = len(at.features)
        gram = np.zeros((k * p, k * p))
        cross = np.zeros((q, k * p))
        for block in row_blocks(n, 8 * (k * p + q)):
            tangents = (at.slope[:, None, block] * self.weighted_Zt[:, block]).reshape(k * p, -1)
            gram += tangents @ tangents.T
            cross += at.features[:, block] @ tangents.T
        cross, _ = dtrtrs(at.factor, cross / at.scale[:, None], lower=1)
        gram -= cross.T @ cross
        A = at.coefficients[:k]
        gram.reshape(k, p, k, p)[...] *= (A @ A.T)[:, None, :, None]
        return gram

    def fit(self, at: Projection, converged: bool, n_iter: int) -> Fit:
        """Package a projection as a network."""
        k = at.V.shape[1]
        A, rest = at.coefficients[:k], at.coefficients[k:].copy()
        c = np.zeros(A.shape[1])
        if self.samples.intercept:
            c = rest[-1].copy()
            rest[-1] = 0.0
        network = TwoLayerNetwork(at.V, A, c, self.activation)
        return Fit(network, rest if self.linear_part else None, at.loss, converged, n_iter)

    def normalize(self, V: np.ndarray) -> np.ndarray:
        """Unit columns for homogeneous activations, bounded ones for others."""
        norms = np.linalg.norm(V, axis=0)
        if self.activation.degree is None:
            return V / np.maximum(norms / self.largest_norm, 1.0)
        return V / np.where(norms > 0, norms, 1.0)


def damped_factor(
    S: np.ndarray, V: np.ndarray, damping: float, homogeneous: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor the damped normal matrix, each unit's gauge direction held still.

    Parameters
    ----------
    S : ndarray of shape (k p, k p)
        Normal matrix.
    V : ndarray of shape (p, k)
        Hidden units.
    damping : float
        Marquardt parameter, relative to the diagonal of S.
    homogeneous : bool
        Whether each unit's own direction is a gauge, in which the loss does not change.

    Returns
    -------
    factor : ndarray of shape (k p, k p)
        Lower Cholesky factor (upper triangle meaningless).
    shift : ndarray of shape (k p,)
        What was added to the diagonal.
    None if the damped matrix is not positive definite.
    """
    p, k = V.shape
    diagonal = np.diagonal(S)
    level = diagonal.reshape(k, p).max(axis=1)
    level = np.maximum(level, 1e-12 * level.max(initial=0.0))
    level[level == 0] = 1.0
    shift = damping * np.maximum(diagonal, 1e-3 * np.repeat(level, p))
    damped = S.copy()
    damped.reshape(-1)[:: k * p + 1] += shift
    if homogeneous:
        # The gradient along v_j is zero, so a penalty there changes no step.
        blocks = damped.reshape(k, p, k, p)
        own = np.arange(k)
        squares = np.einsum("ij,ij->j", V, V)
        along = V.T * np.sqrt(level / np.where(squares > 0, squares, 1.0))[:, None]
        blocks[own, :, own, :] += along[:, :, None] * along[:, None, :]
    factor, failed = dpotrf(damped.T, lower=1, overwrite_a=1)
    return None if failed else (factor, shift)


def damped_step(
    S: np.ndarray, gradient: np.ndarray, V: np.ndarray, damping: float, homogeneous: bool
) -> tuple[np.ndarray, float] | None:
    """Solve for one Levenberg-Marquardt step.

    Parameters
    ----------
    S, V, damping, homogeneous
        See :func:`damped_factor`.
    gradient : ndarray of shape (k, p)
        Minus half the gradient.

    Returns
    -------
    step : ndarray of shape (p, k)
    predicted : float
        Fall of the loss that the quadratic model predicts.
    None if the damped matrix is not positive definite.
    """
    solved = damped_factor(S, V, damping, homogeneous)
    if solved is None:
        return None
    factor, shift = solved
    right = gradient.ravel()
    step, _ = dpotrs(factor, right, lower=1)
    # The loss falls by 2 g's - s'Ss with g minus half the gradient; (S + D) s = g turns it into:
    predicted = float(step @ right + step @ (shift * step))
    return step.reshape(V.shape[1], V.shape[0]).T, predicted


def step_work(samples: Samples, n_hidden: int) -> float:
    """Floating-point operations of one Levenberg-Marquardt iteration: Gram matrix and factor."""
    n, p = samples.Z.shape
    size = n_hidden * p
    return n * size**2 + size**3 / 3


def variable_projection(
    samples: Samples,
    V0: np.ndarray,
    *,
    activation: Activation = RELU,
    linear_part: bool = False,
    max_iter: int = 200,
    tol: float = 1e-12,
) -> Steps[Fit]:
    """Run Levenberg-Marquardt from one start to a local least-squares optimum.

    Parameters
    ----------
    samples : Samples
        Design and outputs.
    V0 : ndarray of shape (p, k)
        Initial hidden units. A unit that is zero on every sample gets zero output weights and
        stays where it is.
    activation : Activation, default=RELU
        Elementwise activation; units are renormalised only if it is homogeneous.
    linear_part : bool, default=False
        Fit a free linear part Z B beside the units; each ReLU unit then matters only up to sign.
    max_iter : int, default=200
        Largest number of normal matrices formed.
    tol : float, default=1e-12
        Stop when the predicted relative fall of the loss is below it.

    Yields
    ------
    Step
        Loss, predicted relative fall, hidden units V.

    Returns
    -------
    Fit
    """
    problem = SeparableLeastSquares(samples, activation, linear_part)
    steps = minimize_separable(problem, V0, max_iter=max_iter, tol=tol)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return problem.fit(*end.value)
        yield step._replace(state=step.state.V)


def minimize_separable(
    problem: SeparableLeastSquares, V0: np.ndarray, *, max_iter: int = 200, tol: float = 1e-12
) -> Steps[tuple[Projection, bool, int]]:
    """Run the iterations of :func:`variable_projection` on a problem prepared once.

    Yields
    ------
    Step
        Loss, predicted relative fall, the :class:`Projection` reached.

    Returns
    -------
    at : Projection
    converged : bool
    n_iter : int
    """
    homogeneous = problem.activation.degree is not None
    at = problem.project(problem.normalize(np.asarray(V0, dtype=float)))
    damping, growth = 1e-2, 2.0
    rounding_loss = (ROUNDING_REGIME**2) * problem.total
    n_iter = stalled = 0
    while n_iter < max_iter:
        n_iter += 1
        S, gradient = problem.normal_matrix(at), problem.gradient(at)
        before, rejected = at.loss, 0
        while True:
            solved = damped_step(S, gradient, at.V, damping, homogeneous)
            predicted = 0.0
            if solved is not None:
                step, predicted = solved
                if predicted <= tol * at.loss and at.loss > rounding_loss:
                    return at, True, n_iter
                trial = problem.project(problem.normalize(at.V + step))
                if trial.loss < at.loss:
                    gain = (at.loss - trial.loss) / max(predicted, np.finfo(float).tiny)
                    damping *= max(1 / 10, 1 - (2 * gain - 1) ** 3)
                    damping, growth = max(damping, 1e-15), 2.0
                    at = trial
                    break
            rejected += 1
            if damping > MAX_DAMPING or (at.loss <= rounding_loss and rejected > 3):
                # No descent direction is left: a kink of the activation, or rounding.
                return at, True, n_iter
            damping *= growth
            growth *= 2
        yield Step(at.loss, predicted / before, at)
        # Near rounding a step that gains little is noise; two in a row end the search.
        stalled = stalled + 1 if at.loss <= rounding_loss and at.loss > 0.5 * before else 0
        if stalled == 2:
            return at, True, n_iter
    return at, False, n_iter
