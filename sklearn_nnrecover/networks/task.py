"""What a user asks of a fit, and what comes of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sklearn_nnrecover.networks.model.design import Design
from sklearn_nnrecover.networks.model.two_layer_network import Samples
from sklearn_nnrecover.networks.solvers import Options, Recovery


class Task(NamedTuple):
    """A fit as it was asked for.

    Attributes
    ----------
    n_hidden : int or None
        Width; None lets the data decide.
    solver : str
        A name in the registry of solvers, or "auto".
    noise : str
        A name in the registry of noise models.
    intercept : bool
        Whether the network has biases and output intercepts.
    eps : float
        Machine epsilon of the dtype in which the user gave X and y.
    options : Options
        Activation and budgets.
    """

    n_hidden: int | None
    solver: str
    noise: str
    intercept: bool
    eps: float
    options: Options


class GrossErrors(NamedTuple):
    """Outputs that are taken for gross errors, and what that does to a proof.

    Attributes
    ----------
    outliers : ndarray of bool, shape (n, m)
        Entries of the outputs that the network does not reproduce.
    determined : bool
        Whether the solver saw no masked entry, or only such as the unmasked entries determine: a
        proof for what it saw is a proof for the unmasked entries then.
    """

    outliers: np.ndarray
    determined: bool


class Outcome(NamedTuple):
    """A recovery with the samples that it is to be judged on.

    Attributes
    ----------
    recovery : Recovery
        The network and the evidence for it.
    samples : Samples
        Samples in design coordinates; gross errors in their outputs are replaced.
    design : Design
        Map to the user's coordinates.
    errors : GrossErrors or None
        Gross errors, where the noise model looks for them.
    robust : bool
        Whether the samples have the working outputs of a robust estimate, whose error bars come
        from a sandwich and which is never a proof.
    """

    recovery: Recovery
    samples: Samples
    design: Design
    errors: GrossErrors | None = None
    robust: bool = False
