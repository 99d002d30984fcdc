"""Two-layer networks ``y = f(x W + b) A + c``: weights from samples."""

from sklearn_nnrecover.networks._relu_net_recovery import ReLUNetRecovery
from sklearn_nnrecover.networks._symmetric_moment_net import SymmetricMomentNet
from sklearn_nnrecover.networks.moments.symmetric_moments import SymmetricMoments

__all__ = ["ReLUNetRecovery", "SymmetricMomentNet", "SymmetricMoments"]
