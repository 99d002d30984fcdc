"""Two-layer networks ``y = f(x W + b) A + c``: weights from samples."""

from sklearn_nnrecover.networks._relu_net_recovery import ReLUNetRecovery

__all__ = ["ReLUNetRecovery"]
