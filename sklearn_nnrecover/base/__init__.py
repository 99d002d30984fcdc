"""What every estimator shares: input validation, iterations with callbacks, the report."""

from sklearn_nnrecover.base.report import Condition, RecoveryReport

__all__ = ["Condition", "RecoveryReport"]
