"""From an exact chain to a recovery: the common scale, the gauge, the claims, and the status."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.chain_claims import supported_claims
from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.factor_gauge import normalize_chain
from sklearn_nnrecover.products.integer_pursuit import clean
from sklearn_nnrecover.products.integer_unit import integer_unit
from sklearn_nnrecover.products.noisy.entry_errors import entry_errors
from sklearn_nnrecover.products.peeling import Chain, Evidence, Link, Matrix
from sklearn_nnrecover.products.prepared_data import PreparedData
from sklearn_nnrecover.products.recovery import Recovery
from sklearn_nnrecover.products.recovery_status import (
    chain_status,
    lack_of_fit,
    product_error,
    unit_table,
)
from sklearn_nnrecover.products.two_factors.untouched_cells import agreement_probability


def judged_chain(X: Matrix, data: PreparedData, chain: Chain, eps: float) -> Recovery:
    """Bring a chain of the prepared data to its gauge, and judge it as a model of X.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
    data : PreparedData
        What X was made into before the chain was sought.
    chain : Chain
        At least two factors.
    eps : float
        Rounding of X, relative to its largest entry.

    Returns
    -------
    Recovery
    """
    factors, orders = normalize_chain(chain.factors)
    links = [
        link._replace(proven=link.proven[order])
        for link, order in zip(chain.links, orders, strict=True)
    ]
    if len(links) > 1:
        links = _judged_together(links, factors)
    common = integer_unit(factors[0].data, rtol=1e-12)
    if common is not None:
        factors[0] = sp.csr_array(
            (np.round(factors[0].data / common), factors[0].indices, factors[0].indptr),
            shape=factors[0].shape,
        )
    scale = data.unit * (common or 1.0)
    fit, scale_std = None, 0.0
    if data.noise_std:
        scale, scale_std = _scale_by_least_squares(X, factors, scale)
        fit = lack_of_fit(X, scale, factors)
    error = product_error(X, scale, factors)
    tolerance = max(100 * eps, 1e-8 if common is None else 0.0)
    status = chain_status(chain._replace(links=links), error, tolerance, fit)
    conditions = [
        *data.conditions,
        Evidence(
            "error of the product",
            error,
            tolerance,
            error <= tolerance,
            "X is reproduced to rounding",
        ),
        *chain.evidence,
        *([] if fit is None else [fit]),
    ]
    return Recovery(
        factors,
        scale,
        scale_std,
        len(factors),
        status,
        conditions,
        unit_table(links, factors),
        # A product that is not X is exact nowhere.
        factors_std=entry_errors(factors, [link.proven for link in links])
        if fit is not None or error <= tolerance
        else None,
    )


def _judged_together(links: list[Link], factors: list[sp.csr_array]) -> list[Link]:
    """Withdraw claims about splits of pieces that the whole chain does not bear out."""
    same = agreement_probability(_product(factors).data)
    for end in ("features", "samples"):
        flip = end == "samples"
        chain = [F.T.tocsr() for F in reversed(factors)] if flip else factors
        order = links[::-1] if flip else links
        kept = supported_claims(
            chain,
            [link.proven for link in order],
            [link.method == "intersection" and link.end == end for link in order],
            product=_product,
            same=same,
        )
        order = [link._replace(proven=claim) for link, claim in zip(order, kept, strict=True)]
        links = order[::-1] if flip else order
    return links


def _product(factors: list[sp.csr_array]) -> sp.csr_array:
    product = chain_product(factors)
    return clean(product, 1e-9 * np.abs(product.data).max(initial=0.0))


def _scale_by_least_squares(
    X: np.ndarray, factors: list[sp.csr_array], scale: float
) -> tuple[float, float]:
    """Refit the common scale of a chain of integers to noisy data, with its standard error."""
    model = _product(factors).toarray()
    energy = float(np.sum(model**2))
    scale = float(np.sum(X * model)) / energy
    noise = float(np.sqrt(np.mean((X - scale * model) ** 2)))
    return scale, noise / np.sqrt(energy)
