r"""
A teacher known by its class probabilities
==========================================

Most classifiers return probabilities, not logits. A softmax hides one number a row: adding the same
value to all logits changes nothing. The logarithms of probability ratios are therefore outputs of
the network *up to a shift per row*, and differences between classes are free of it. With class 0
as the reference

.. math:: \log\frac{p_j(x)}{p_0(x)} = \mathrm{relu}(x W + b)\,(A_j - A_0) + (c_j - c_0),

a two-layer network with the teacher's own hidden units, one output less, and output weights
relative to those of class 0.
"""

# %%
# A black box that returns probabilities
# --------------------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.inspection import RecoveryDisplay
from sklearn_nnrecover.metrics import recovery_error

X, y = load_wine(return_X_y=True)
scaler = StandardScaler().fit(X)
teacher = MLPClassifier(hidden_layer_sizes=(5,), max_iter=3000, random_state=0)
teacher.fit(scaler.transform(X), y)

queries = np.random.default_rng(0).standard_normal((1000, X.shape[1]))
probabilities = teacher.predict_proba(queries)

# %%
# Log-ratios are outputs
# ----------------------
#
# A probability is stored to a relative precision of about 1e-16, so that its logarithm is good to
# rounding even for classes that are nearly impossible. (A probability that is exactly 1 is not: one
# minus a tiny number is rounded. The ratio to *another* class keeps its precision where no class is
# rounded to 0.)

log_ratios = np.log(probabilities[:, 1:] / probabilities[:, [0]])
net = ReLUNetRecovery(random_state=0).fit(queries, log_ratios)
print(net.report_)

# %%
# The true network, in the same terms: output weights relative to class 0.

(W, A), (b, c) = teacher.coefs_, teacher.intercepts_
relative = [W, A[:, 1:] - A[:, [0]]], [b, c[1:] - c[0]]
print(f"largest error over all weights: {recovery_error(net, relative):.1e}")

RecoveryDisplay.from_estimator(net, relative)

# %%
# Weights in original units
# -------------------------
#
# The teacher works on standardised wines. ``unscale`` moves a scaler into the first layer: the same
# network, fed with the wines as they were measured.

coefs, intercepts = net.unscale(scaler)
logits = np.maximum(X @ coefs[0] + intercepts[0], 0) @ coefs[1] + intercepts[1]
recovered = np.column_stack([np.zeros(len(X)), logits])
recovered = np.exp(recovered - recovered.max(axis=1, keepdims=True))
recovered /= recovered.sum(axis=1, keepdims=True)
difference = np.abs(recovered - teacher.predict_proba(scaler.transform(X))).max()
print(f"largest difference of the probabilities of the 178 wines: {difference:.1e}")
plt.show()
