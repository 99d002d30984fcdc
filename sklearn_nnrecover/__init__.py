"""Recover the parameters behind data, with a report that says whether they can be trusted."""

from sklearn_nnrecover.base.report import RecoveryReport
from sklearn_nnrecover.networks import ReLUNetRecovery
from sklearn_nnrecover.products import SparseDeepFactorizer, factorize_butterfly

__version__ = "0.1.0"

__all__ = [
    "ReLUNetRecovery",
    "RecoveryReport",
    "SparseDeepFactorizer",
    "__version__",
    "factorize_butterfly",
]
