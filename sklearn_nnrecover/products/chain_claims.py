"""Which claims about the inner nodes of a chain the data and the neighbouring claims bear out.

A split deep in a chain is made on a piece of it, and the piece may be wrong where nothing was
claimed. Three rules take that into account, for the nodes of every split into two sparse factors:

* *the data*: the leftovers of the level, seen on X itself, leave the node's entries no freedom;
* *witnesses*: an inner node is seen through the nodes that use it. Samples that share one of those
  are one piece of evidence, not many, and only identified nodes are evidence at all;
* *parts*: a node whose row combines nodes that are not identified is not identified either.

The largest set of claims that obeys all three is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp

from sklearn_nnrecover.products.row_agreement import pattern
from sklearn_nnrecover.products.two_factors.untouched_cells import Misfit, beyond_leftovers

Product = Callable[[list[sp.csr_array]], sp.csr_array]


def supported_claims(
    factors: Sequence[sp.csr_array],
    claims: Sequence[np.ndarray],
    judged: Sequence[bool],
    *,
    product: Product,
    same: float,
    misfit: Misfit | None = None,
    data_of_all: bool = True,
) -> list[np.ndarray]:
    """Withdraw claims about rows of the factors that their surroundings do not bear out.

    Parameters
    ----------
    factors : sequence of csr_array
        The chain.
    claims : sequence of ndarray of bool
        ``claims[l]`` has one entry per row of ``factors[l + 1]``.
    judged : sequence of bool
        Links whose claims may be withdrawn; the others have proofs of their own.
    product : callable
        Product of a list of factors, with the network's activation if it has one.
    same : float
        Probability that two unrelated entries of the data agree.
    misfit : Misfit or None
        What the chain does not explain; None if it is exact.
    data_of_all : bool
        Whether X itself is asked about every link, or about the first only. Samples that share a
        node share all that it is made of: X takes their company for one node with more entries,
        where the witnesses need not.

    Returns
    -------
    list of ndarray of bool
    """
    chain = list(factors)
    kept = [np.array(claim, dtype=bool) for claim in claims]
    for link, judge in enumerate(judged):
        if judge and kept[link].any() and (data_of_all or link == 0):
            head, tail = product(chain[: link + 1]), product(chain[link + 1 :])
            kept[link] = beyond_leftovers(head, tail, kept[link], same=same, misfit=misfit)
    before, now = -1, sum(int(claim.sum()) for claim in kept)
    while now != before:
        for link in (int(index) for index in np.flatnonzero(judged)):
            if link > 0:
                witnesses = sp.csr_array(chain[link][np.flatnonzero(kept[link - 1])])
                kept[link] &= np.bincount(witnesses.indices, minlength=len(kept[link])) > 1
                if kept[link].any():
                    kept[link] = beyond_leftovers(witnesses, chain[link + 1], kept[link], same=same)
            if link + 1 < len(kept):
                doubtful = (~kept[link + 1]).astype(float)
                kept[link] &= pattern(chain[link + 1]) @ doubtful == 0
        before, now = now, sum(int(claim.sum()) for claim in kept)
    return kept
