"""From the output of a sign network to layers with a status, and whether it is in its regime."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.steps import Steps
from sklearn_nnrecover.products.factor_gauge import normalize_chain
from sklearn_nnrecover.products.peeling import Chain, Evidence, Link, Matrix
from sklearn_nnrecover.products.recovery import Recovery, nothing_recovered
from sklearn_nnrecover.products.recovery_status import Status, chain_status, unit_table
from sklearn_nnrecover.products.sign_networks import sign_network_factors


def recover_sign_network(
    X: Matrix, *, n_factors: int | None, max_iter: int, rng: np.random.RandomState
) -> Steps[Recovery]:
    """Recover the layers of a network with sign activations (two factors unless told)."""
    matrix = sp.csr_array(X)
    matrix.eliminate_zeros()
    if not matrix.nnz or np.any(np.abs(matrix.data) != 1):
        wrong = Evidence("entries", 0, 1, False, "all entries of X are -1, 0 or 1, not all 0")
        reason = (
            "The output of a sign network has entries -1, 0 and 1 only; use sign_activation=False."
        )
        return nothing_recovered(X, Status("not_recovered", reason, None), [wrong])
    found = yield from sign_network_factors(
        matrix, n_factors=n_factors or 2, rng=rng, max_sweeps=max_iter
    )
    if not found.identified:
        return nothing_recovered(X, chain_status(Chain([], [], []), 0, 0, None), found.conditions)
    factors, orders = normalize_chain(found.factors)
    links = [
        Link(identified[order], "intersection", "features", "local")
        for identified, order in zip(found.identified, orders, strict=True)
    ]
    n_nodes = sum(len(link.proven) for link in links)
    n_identified = sum(int(link.proven.sum()) for link in links)
    inside = found.conditions[0].passed
    reason = (
        f"{n_identified} of {n_nodes} hidden nodes are identified and the network misses "
        f"{found.mismatch:.2%} of the non-zeros of X; signs hide the magnitudes of sums"
        + ("." if inside else ", and these data are outside the regime of sparse paths.")
    )
    return Recovery(
        factors,
        1.0,
        0.0,
        len(factors),
        Status("partial" if inside else "not_recovered", reason, None),
        found.conditions,
        unit_table(links, factors),
    )
