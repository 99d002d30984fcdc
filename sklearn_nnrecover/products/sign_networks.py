"""Sparse networks with the sign as activation: ``X = sign(sign(F[0]) @ F[1]) ...``.

Problem 2 of Neyshabur and Panigrahy (2013), with samples in rows. While ``d^s`` is small against
the number of features, few cells of X are reached by two hidden nodes and the signs change little:
the linear product agrees with X elsewhere, and the few cells where values meet cost a correction
each in the description of the linear model. The factors are found there, peeled from the features
to the samples, and judged against the network itself.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.chain_claims import supported_claims
from sklearn_nnrecover.products.integer_pursuit import clean, propose, pursue
from sklearn_nnrecover.products.peeling import Evidence
from sklearn_nnrecover.products.row_agreement import sign_matrix
from sklearn_nnrecover.products.two_factors.atom_identification import atom_evidence
from sklearn_nnrecover.products.two_factors.sparse_two_factors import finest_factors
from sklearn_nnrecover.products.two_factors.untouched_cells import Misfit

REGIME = 0.1
"""Largest share of cells reached by several hidden nodes in which the linear model is trusted."""


class SignLayers(NamedTuple):
    """``X ~ sign(... sign(factors[0] @ factors[1]) ...)``, and which nodes are identified.

    ``identified[l - 1]`` has one entry per row of ``factors[l]``.
    """

    factors: list[sp.csr_array]
    identified: list[np.ndarray]
    conditions: list[Evidence]
    mismatch: float


def sign_product(factors: list[sp.csr_array]) -> sp.csr_array:
    """Return the output of a sign network: the sign is taken after every product."""
    values = sign_matrix(sp.csr_array(factors[0]))
    for factor in factors[1:]:
        values = sp.csr_array(values @ factor)
        values.eliminate_zeros()
        values = sign_matrix(values)
    return values


def sign_network_factors(
    X: sp.csr_array,
    *,
    n_factors: int,
    rng: np.random.RandomState,
    max_sweeps: int,
) -> Steps[SignLayers]:
    """Factor a sign matrix layer by layer.

    Parameters
    ----------
    X : csr_array of shape (n_samples, n_features)
        Entries -1, 0, 1.
    n_factors : int
        Number of factors, codes included.
    rng : RandomState
    max_sweeps : int
        Sweeps of each descent.

    Returns
    -------
    SignLayers
        A single factor, X, if nothing was found. With fewer factors than asked for no node is
        identified.
    """
    factors = [X]
    identified: list[np.ndarray] = []
    for _ in range(n_factors - 1):
        Y = factors[0]
        found = yield from finest_factors(Y, rng=rng, max_sweeps=max_sweeps)
        shared = found.D.shape[0] - found.n_residual
        if not shared:
            break
        layer = sign_matrix(found.D[:shared])
        codes = _refine_codes(Y, sign_matrix(sp.csr_array(found.C[:, :shared])), layer)
        evidence = atom_evidence(Y, codes, layer)
        if not evidence.identified.any():
            break
        factors[:1] = [codes, layer]
        identified.insert(0, evidence.identified)
    if len(factors) < n_factors:
        # Samples behind one node of a layer that was not found are one piece of evidence.
        identified = [np.zeros_like(claim) for claim in identified]
    missed = clean(X - sign_product(factors), 0.5)
    identified = supported_claims(
        factors,
        identified,
        [True] * len(identified),
        product=sign_product,
        same=0.5,
        misfit=Misfit(X, missed),
    )
    mismatch = missed.nnz / max(X.nnz, 1)
    return SignLayers(factors, identified, _conditions(factors, mismatch), mismatch)


def invert_sign_chain(factors: list[sp.csr_array], X: np.ndarray) -> np.ndarray:
    """Return sign codes Z whose network output is X where pursuit reaches it."""
    values = sp.csr_array(X)
    for factor in reversed(factors):
        codes, _ = pursue(values, factor)
        values = _refine_codes(values, sign_matrix(codes), factor)
    return values.toarray()


def _refine_codes(Y: sp.csr_array, C: sp.csr_array, D: sp.csr_array) -> sp.csr_array:
    """Add codes for what the network leaves unexplained, while that reduces the mismatch by row."""
    for _ in range(3):
        left = clean(Y - sign_product([C, D]), 0.5)
        if not left.nnz:
            break
        found = propose(sign_matrix(left), D)
        if not len(found.row):
            break
        step = sp.csr_array((np.sign(found.ratio), (found.row, found.atom)), shape=C.shape)
        trial = sign_matrix(clean(C + step, 0.5))
        before = np.diff(left.indptr)
        after = np.diff(clean(Y - sign_product([trial, D]), 0.5).indptr)
        better = sp.diags_array((after < before).astype(float))
        same = sp.diags_array((after >= before).astype(float))
        C = clean(better @ trial + same @ C, 0.5)
    return C


def _conditions(factors: list[sp.csr_array], mismatch: float) -> list[Evidence]:
    several = 0.0
    for codes, layer in pairwise(factors):
        n_paths = sp.csr_array(abs(codes) @ abs(layer))
        several = max(several, float(np.mean(n_paths.data > 1)) if n_paths.nnz else 0.0)
    return [
        Evidence(
            "cells reached by several hidden nodes",
            several,
            REGIME,
            several <= REGIME,
            "d^s is small against the width, so that signs differ little from sums",
        ),
        Evidence(
            "cells that the network misses",
            mismatch,
            0.0,
            mismatch == 0.0,
            "share of the non-zeros of X",
        ),
    ]
