"""Recover the parameters behind data, with a report that says whether they can be trusted."""

from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.networks import ReLUNetRecovery

__version__ = "0.1.0"

__all__ = ["ReLUNetRecovery", "RecoveryReport", "__version__"]
