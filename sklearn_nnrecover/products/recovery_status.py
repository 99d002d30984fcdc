"""From what was measured to one of the four statuses.

The class that "exact" speaks of is: products of this depth and these widths in which no row of a
found factor has more non-zeros than the sparsest explanation has. A minimal description alone is
no proof. A link between two factors is proven either *globally* (its range space holds no
other vectors so sparse) or *locally* (every atom's values follow from the supports, no accident and
no elementary exchange explains it, and independent starts agree; a distant factorisation that is
as short is then not excluded).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.stats import f as f_distribution

from sklearn_nnrecover.products.chain_product import chain_product
from sklearn_nnrecover.products.peeling import Chain, Evidence, Matrix

LACK_OF_FIT_LEVEL = 1e-3


class Status(NamedTuple):
    """Arguments of a report."""

    status: str
    reason: str
    proof: str | None


def product_error(X: Matrix, scale: float, factors: list) -> float:
    """Return the largest error of ``scale * product`` relative to the largest entry of X."""
    return float(abs(X - scale * chain_product(factors)).max() / abs(X).max())


def lack_of_fit(X: np.ndarray, scale: float, factors: list) -> Evidence:
    """Test whether the residual is larger where the model is non-zero, or where it is zero.

    A wrong support leaves signal in cells it calls empty, a wrong value in cells it calls full;
    noise knows no difference. Two-sided F test of equal variances.
    """
    fitted = scale * chain_product(factors).toarray()
    squared = (X - fitted) ** 2
    full = fitted != 0
    n_full, n_empty = int(full.sum()), int((~full).sum())
    if min(n_full, n_empty) < 2:
        p_value = 1.0
    else:
        ratio = squared[full].mean() / squared[~full].mean()
        upper = f_distribution.sf(ratio, n_full - 1, n_empty)
        p_value = float(2 * min(upper, 1 - upper))
    return Evidence(
        "lack of fit",
        p_value,
        LACK_OF_FIT_LEVEL,
        p_value > LACK_OF_FIT_LEVEL,
        "p-value of equal residual variance inside and outside the support of the product",
    )


def chain_status(chain: Chain, error: float, tolerance: float, fit: Evidence | None) -> Status:
    """Decide the status of a peeled chain.

    Parameters
    ----------
    chain : Chain
    error : float
        Relative error of the product.
    tolerance : float
        What rounding of the input's dtype allows.
    fit : Evidence or None
        The test of the residual if noise was removed by rounding, else None.
    """
    if not chain.links:
        return Status(
            "not_recovered",
            "No sparse factor was found from either end; factors_ holds [X, I]. Sparse codes, "
            "more samples, or a rank below the number of features would make X solvable.",
            None,
        )
    proven = np.concatenate([link.proven for link in chain.links])
    n_open = int(np.sum(~proven))
    if fit is not None:
        if fit.passed and not n_open:
            return Status(
                "approximate",
                "Noise was removed by rounding to multiples of a common unit; every hidden node is "
                "identified and the residual passes the lack-of-fit test.",
                None,
            )
        return Status(
            "partial",
            f"Noise was removed by rounding; {n_open} of {len(proven)} hidden nodes are not "
            "identified"
            + ("." if fit.passed else ", and the residual fails the lack-of-fit test."),
            None,
        )
    if error > tolerance:
        return Status(
            "partial",
            f"The factors reproduce X to a relative error of {error:.1e} only.",
            None,
        )
    if not n_open:
        proof = "global" if all(link.proof == "global" for link in chain.links) else "local"
        how = (
            "the range of X holds no other vectors so sparse"
            if proof == "global"
            else "every hidden node is fixed by its support, beyond accident, stable under "
            "exchange, and found by every start; a distant factorisation that is as short is not "
            "excluded"
        )
        return Status("exact", f"The factors reproduce X to rounding and {how}.", proof)
    if all(link.method == "butterfly" for link in chain.links):
        return Status(
            "partial",
            "The factors reproduce X to rounding as a fast transform; such factors are never the "
            "only ones, for example their levels can be exchanged.",
            None,
        )
    return Status(
        "partial",
        f"The factors reproduce X to rounding; {len(proven) - n_open} of {len(proven)} hidden "
        "nodes are identified, the others are not determined by these data (see units).",
        None,
    )


def unit_table(chain_links: list, factors: list[sp.csr_array]) -> list[dict]:
    """One entry per hidden node: layer, node, uses, non-zeros, method, identified."""
    table = []
    for layer, link in enumerate(chain_links, start=1):
        uses = np.bincount(factors[layer - 1].indices, minlength=factors[layer].shape[0])
        weights = np.diff(factors[layer].indptr)
        table += [
            {
                "layer": layer,
                "unit": unit,
                "uses": int(uses[unit]),
                "non-zeros": int(weights[unit]),
                "method": link.method,
                "end": link.end,
                "identified": bool(link.proven[unit]),
            }
            for unit in range(len(weights))
        ]
    return table
