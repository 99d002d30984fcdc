"""Status of a fit and its reason in one sentence, for dictionaries and mixtures alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Judgement(NamedTuple):
    """Fields of a recovery report."""

    status: str
    reason: str
    proof: str | None
    conditions: list[tuple]
    units: list[dict]


def verdict(
    fits: bool,
    identified: np.ndarray,
    *,
    exact: bool,
    approximate: bool,
    compared: bool,
    n_samples: int,
    atoms: str = "atoms",
) -> tuple[str, str]:
    """Status and reason; ``atoms`` says what the model calls its components."""
    few = ""
    if n_samples < len(identified):
        few = f" There are fewer samples ({n_samples}) than {atoms} ({len(identified)})."
    if exact:
        return "exact", (
            "Every sample is reproduced to rounding, three independent starts agree and no nearby "
            "dictionary does the same; a distant one is not excluded."
        )
    if approximate:
        return "approximate", (
            f"Residuals look like noise, and two halves of the data give the same {atoms} from "
            "other starts; components_std_ holds their standard errors."
        )
    if identified.all():
        return "partial", (
            f"Each of the {atoms} is determined by these data, but samples are not reproduced, "
            "or a model nearby is not excluded: see the conditions that did not pass."
        )
    if identified.any():
        return "partial", (
            f"{len(identified) - int(identified.sum())} of {len(identified)} {atoms} are not "
            f"determined by these data: take fewer {atoms}, or more samples." + few
        )
    if not fits:
        return "not_recovered", (
            "Residuals are more than noise: the model does not describe these data; try "
            f"more {atoms} (n_components), more active ones (n_nonzero_coefs) or another model."
            + few
        )
    if not compared:
        return "not_recovered", (
            f"The stability of the {atoms} was not checked: fit with stability=True on more "
            "samples." + few
        )
    return "not_recovered", (
        f"Two halves of the data do not establish the same {atoms}: there are too few samples, or "
        f"no such {atoms} behind them." + few
    )
