"""Warnings of the library."""

from __future__ import annotations

from sklearn.exceptions import ConvergenceWarning

__all__ = ["RecoveryWarning"]


class RecoveryWarning(ConvergenceWarning):
    """The fit finished, but its parameters are not (all) proven to be those behind the data.

    The estimator's ``report_`` says which are, why the others are not, and what would help.
    """
