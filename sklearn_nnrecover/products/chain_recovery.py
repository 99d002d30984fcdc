"""From data to a chain of sparse factors with its status: prepare, peel, normalise, judge."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.linalg.blocks import working_memory_bytes
from sklearn_nnrecover.linalg.steps import Step, Steps
from sklearn_nnrecover.products.chain_claims import supported_claims
from sklearn_nnrecover.products.factor_gauge import normalize_chain
from sklearn_nnrecover.products.fast_transforms.butterflies import butterfly_factors
from sklearn_nnrecover.products.integer_pursuit import clean
from sklearn_nnrecover.products.integer_unit import integer_unit
from sklearn_nnrecover.products.method_order import automatic_order, is_low_rank, peel_methods
from sklearn_nnrecover.products.noisy.entry_errors import entry_errors
from sklearn_nnrecover.products.noisy.noisy_products import (
    NoisyRecovery,
    dense_bytes,
    noisy_status,
    recover_noisy_factors,
)
from sklearn_nnrecover.products.peeling import (
    Chain,
    Evidence,
    Link,
    Matrix,
    count_nonzero,
    peel_chain,
)
from sklearn_nnrecover.products.prepared_data import PreparedData, noise_of_reals, prepare_data
from sklearn_nnrecover.products.recovery_status import (
    Status,
    chain_status,
    lack_of_fit,
    product_error,
    unit_table,
)
from sklearn_nnrecover.products.sign_networks import sign_network_factors
from sklearn_nnrecover.products.structured.structured_fit import ROUNDING
from sklearn_nnrecover.products.structured.structured_recovery import recover_structured
from sklearn_nnrecover.products.two_factors.untouched_cells import agreement_probability


class Recovery(NamedTuple):
    """``X ~ scale * factors[0] @ factors[1] @ ...`` and what is known about it.

    ``n_factors`` is 1 when nothing was recovered and ``factors`` is [X, I]. ``factors_std`` are
    the standard errors of the entries of the factors, None where nothing is known of them.
    """

    factors: list[sp.csr_array]
    scale: float
    scale_std: float
    n_factors: int
    status: Status
    conditions: list[Evidence]
    units: list[dict]
    parameters: list[np.ndarray] | None = None
    factors_std: list[np.ndarray] | None = None
    parameters_std: list[np.ndarray] | None = None


def recover_chain(
    X: Matrix,
    *,
    method: str,
    n_factors: int | None,
    n_nonzero: int | None,
    n_init: int,
    max_iter: int,
    eps: float,
    rng: np.random.RandomState,
) -> Steps[Recovery]:
    """Recover sparse factors of X.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
    method : str
        ``"auto"`` or the name of one method.
    n_factors, n_nonzero : int or None
        Number of factors and bound on the non-zeros of their rows, None where unknown.
    n_init, max_iter : int
        Starts, and sweeps of each.
    eps : float
        Rounding of X, relative to its largest entry.
    rng : RandomState

    Yields
    ------
    Step

    Returns
    -------
    Recovery
    """
    data = prepare_data(X, eps)
    yield Step(float(count_nonzero(data.matrix)), 1.0)
    if not data.is_integer and method in ("auto", "intersection"):
        noise = noise_of_reals(X, eps)
        affordable = method == "intersection" or dense_bytes(X) <= working_memory_bytes()
        if noise is not None and affordable:
            noisy = yield from recover_noisy_factors(
                X,
                noise.level,
                rounded=noise.is_rounding,
                n_factors=n_factors,
                n_nonzero=n_nonzero,
                n_init=n_init,
                max_iter=max_iter,
                rng=rng,
            )
            if noisy is not None:
                return _finish_noisy(X, data, noisy, eps)
    seeks_transform = method in ("auto", "butterfly") and n_factors is None
    seeks_transform = seeks_transform and _is_dense(data.matrix)
    # A product through few nodes is hardly a fast transform, and its row space is searched sooner.
    transform_last = seeks_transform and method == "auto" and is_low_rank(data.matrix)
    chain = Chain([sp.csr_array(data.matrix)], [], [])
    if seeks_transform and not transform_last:
        chain = _fast_transform(data.matrix, rng) or chain
    if not chain.links and count_nonzero(data.matrix) and method != "butterfly":
        order = automatic_order(data.matrix) if method == "auto" else ((method,), ())
        names, last_resort = order
        chain = yield from peel_chain(
            data.matrix,
            peel_methods(names, n_init, max_iter),
            rng=rng,
            n_factors=n_factors,
            n_nonzero=n_nonzero,
            last_resort=last_resort,
        )
    if not chain.links and transform_last:
        chain = _fast_transform(data.matrix, rng) or chain
    if not chain.links:
        return nothing_recovered(X, chain_status(chain, 0.0, 0.0, None), data.conditions)
    return _finish(X, data, chain, eps)


def _is_dense(A: Matrix) -> bool:
    """Whether most entries are non-zero, as those of a fast transform are."""
    return 2 * count_nonzero(A) > A.shape[0] * A.shape[1]


def _fast_transform(A: Matrix, rng: np.random.RandomState) -> Chain | None:
    """Factors of a fast transform, of which there are always several, or None."""
    factors = butterfly_factors(A, rng=rng)
    if factors is None or sum(F.nnz for F in factors) >= count_nonzero(A):
        return None
    links = [
        Link(np.zeros(F.shape[0], dtype=bool), "butterfly", "both", "local") for F in factors[1:]
    ]
    entries = factors[0].shape[0] * factors[-1].shape[1]
    nonzeros = sum(F.nnz for F in factors)
    condition = Evidence(
        "non-zeros of the fast transform",
        nonzeros,
        entries,
        nonzeros < entries,
        "fewer than the entries of X",
    )
    return Chain(factors, links, [condition])


def _finish(X: Matrix, data: PreparedData, chain: Chain, eps: float) -> Recovery:
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


def _finish_noisy(X: Matrix, data: PreparedData, noisy: NoisyRecovery, eps: float) -> Recovery:
    fit = noisy.fit
    links = [Link(claim, "intersection", "features", "local") for claim in noisy.identified]
    error = product_error(X, 1.0, fit.factors)
    status, error_condition, exact = noisy_status(noisy, error, 100 * eps)
    factors_std = entry_errors(
        fit.factors, noisy.identified, None if exact else fit.standard_errors
    )
    return Recovery(
        fit.factors,
        1.0,
        0.0,
        len(fit.factors),
        status,
        [*data.conditions, *noisy.conditions, error_condition],
        unit_table(links, fit.factors),
        factors_std=factors_std,
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
    product = factors[0]
    for factor in factors[1:]:
        product = sp.csr_array(product @ factor)
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


def nothing_recovered(X: Matrix, status: Status, conditions: list[Evidence]) -> Recovery:
    """Return [X, I]."""
    identity = sp.csr_array(sp.eye_array(X.shape[1], format="csr"))
    found = Evidence(
        "factors", 1, 2, False, "a sparse factor was found from one end of the product"
    )
    return Recovery(
        [sp.csr_array(X, copy=True), identity], 1.0, 0.0, 1, status, [*conditions, found], []
    )


def recover_structured_chain(
    X: np.ndarray,
    structure: list,
    *,
    n_init: int,
    max_iter: int,
    tol: float,
    certify: bool,
    eps: float,
    rng: np.random.RandomState,
) -> Steps[Recovery]:
    """Fit the parameters of given structures; the factors are M_k(h_k), in no other gauge."""
    result = yield from recover_structured(
        X,
        structure,
        rng=rng,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        certify_structures=certify,
        exact_below=max(ROUNDING, 10 * eps),
    )
    fit = result.fit
    units = [
        {
            "layer": layer,
            "parameters": len(h),
            "identified": result.status in ("exact", "approximate"),
        }
        for layer, h in enumerate(fit.parameters)
    ]
    return Recovery(
        [sp.csr_array(factor) for factor in fit.factors],
        1.0,
        0.0,
        len(fit.factors),
        Status(result.status, result.reason, result.proof),
        [Evidence(*condition) for condition in result.conditions],
        units,
        fit.parameters,
        parameters_std=fit.standard_errors,
    )


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
