"""The evidence for the atoms of sparse factors as conditions of a report."""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.products.peeling import Evidence
from sklearn_nnrecover.products.two_factors.atom_identification import ACCIDENTS, AtomEvidence


def atom_conditions(
    evidence: AtomEvidence,
    found_again: np.ndarray,
    *,
    n_init: int,
    n_left: int,
    within_noise: bool = False,
) -> list[Evidence]:
    """List what was measured.

    Parameters
    ----------
    evidence : AtomEvidence
    found_again : ndarray of int, shape (n_atoms,)
        Starts that found each atom.
    n_init : int
        Number of starts.
    n_left : int
        Atoms that are rows which nothing explained.
    within_noise : bool
        Entries were compared within noise, and atoms by their signs.
    """
    n_atoms = len(found_again)
    unlikely = evidence.log10_accidents <= np.log10(ACCIDENTS)
    margin = evidence.exchange_margin[evidence.uses > 1]
    agreed = found_again == n_init
    noise, signs = (" within noise", ", with their signs,") if within_noise else ("", "")
    return [
        Evidence(
            "atoms found",
            n_atoms - n_left,
            n_atoms,
            n_left == 0,
            "atoms that several rows share; the others are single rows that nothing explained",
        ),
        Evidence(
            "atoms fixed by their supports",
            int(np.sum(evidence.anchored)),
            n_atoms,
            bool(evidence.anchored.all()),
            "values that follow from the cells reached by one hidden node only",
        ),
        Evidence(
            "atoms that no accident explains",
            int(np.sum(unlikely)),
            n_atoms,
            bool(unlikely.all()),
            f"expected number of patterns as good{noise} in unstructured data at most "
            f"{ACCIDENTS:g}",
        ),
        Evidence(
            "cheapest exchange",
            int(margin.min(initial=n_atoms)),
            1,
            bool(np.all(margin > 0)),
            f"non-zeros added by the cheapest exchange of two atoms that cancel{noise}",
        ),
        Evidence(
            "starts that agree",
            int(np.sum(agreed)),
            n_atoms,
            bool(agreed.all()),
            f"atoms found again{signs} by each of {n_init} starts on shuffled data",
        ),
    ]
