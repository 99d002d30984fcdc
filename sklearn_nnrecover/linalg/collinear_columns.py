"""Which columns of a matrix follow from others: the null space, written as relations.

A null space has no preferred basis; a basis in which each vector owns one column (reduced echelon
form) names it by columns: column j is a combination of the columns that occur beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import qr, solve_triangular

# Coefficients below this, relative to the largest of their relation, are rounding.
NEGLIGIBLE = 1e-8


class Relation(NamedTuple):
    """One direction in which samples do not vary.

    Attributes
    ----------
    column : int
        A column that others determine.
    others : list of int
        The columns that determine it, ascending; empty if it is constant.
    """

    column: int
    others: list[int]


def column_relations(null_basis: np.ndarray) -> list[Relation]:
    """Relations among columns that span a null space.

    Parameters
    ----------
    null_basis : ndarray of shape (n_columns, nullity)
        Orthonormal basis of the vectors v with ``X v`` constant, columns of X of comparable scale.

    Returns
    -------
    list of Relation
        One a dimension, by ascending column.

    Examples
    --------
    >>> import numpy as np
    >>> column_relations(np.array([[0.5], [0.5], [0.0], [-np.sqrt(0.5)]]))
    [Relation(column=3, others=[0, 1])]
    """
    nullity = null_basis.shape[1]
    if nullity == 0:
        return []
    # Owned columns are those of largest entries, so that no coefficient explodes.
    factor, order = qr(null_basis.T, mode="r", pivoting=True)
    coefficients = solve_triangular(factor[:nullity, :nullity], factor[:nullity, nullity:])
    owned, rest = order[:nullity], order[nullity:]
    relations = []
    for column, row in zip(owned, np.abs(coefficients), strict=True):
        others = rest[row > NEGLIGIBLE * max(1.0, row.max(initial=0.0))]
        relations.append(Relation(int(column), sorted(int(other) for other in others)))
    return sorted(relations)


def describe_relations(relations: list[Relation], names: list[str], *, most: int = 3) -> str:
    """Say which columns carry nothing of their own, in a few words.

    Parameters
    ----------
    relations : list of Relation
        At least one.
    names : list of str
        Names of all columns.
    most : int, default=3
        Longest list that is spelled out.

    Returns
    -------
    str
        Such as ``"a is constant; b follows from c, d"``.
    """

    def listed(items: list[str], joint: str) -> str:
        shown = joint.join(items[:most])
        return shown + (f"{joint}and {len(items) - most} more" if len(items) > most else "")

    constant = [names[relation.column] for relation in relations if not relation.others]
    told = []
    if constant:
        told.append(f"{listed(constant, ', ')} {'is' if len(constant) == 1 else 'are'} constant")
    for relation in relations:
        if relation.others:
            others = listed([names[other] for other in relation.others], ", ")
            told.append(f"{names[relation.column]} follows from {others}")
    return listed(told, "; ")
