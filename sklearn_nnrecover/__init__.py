"""Recover the parameters behind data, with a report that says whether they can be trusted."""

from sklearn_nnrecover.base.report import RecoveryReport

__version__ = "0.1.0"

__all__ = ["RecoveryReport", "__version__"]
