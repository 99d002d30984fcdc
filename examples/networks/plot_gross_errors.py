"""
Exact weights behind outputs of which a third is wrong
======================================================

A network is recovered from outputs of which 30 % were replaced by anything. With more outputs than
hidden units the others determine them, and the network.
"""

# %%
# Sixty outputs of a network of five units. Errors are a hundred times larger than the outputs.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover import ReLUNetRecovery
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.inspection import RecoveryDisplay
from sklearn_nnrecover.metrics import recovery_error

rng = np.random.default_rng(0)
X, y, truth = make_relu_network(1000, 8, n_hidden=5, n_outputs=60, random_state=0)
wrong = rng.random(y.shape) < 0.3
given = y + wrong * 100 * y.std() * rng.standard_normal(y.shape)

net = ReLUNetRecovery(noise="sparse", random_state=0).fit(X, given)
print(net.report_.status, net.report_.proof)
print(net.report_.reason)
print(f"largest error of all weights: {recovery_error(net, truth):.1e}")
print(f"entries masked wrongly: {np.sum(net.outlier_mask_ != wrong)} of {wrong.size}")

# %%
# The mask that was found against the true one, on the first eighty samples, and all weights.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
for axis, mask, title in (
    (axes[0], wrong, "true errors"),
    (axes[1], net.outlier_mask_, "errors found"),
):
    axis.imshow(mask[:80], aspect="auto", cmap="Greys", interpolation="nearest")
    axis.set(title=title, xlabel="output", ylabel="sample")
RecoveryDisplay.from_estimator(net, truth, ax=axes[2])

# %%
# Noise with heavy tails is another matter: every entry is off, and nothing can be exact. Least
# squares is at the mercy of the largest errors; ``noise="arbitrary"`` is not.

X, y, truth = make_relu_network(3000, 5, n_hidden=3, n_outputs=4, random_state=1)
given = y + 0.3 * y.std() * rng.standard_cauchy(y.shape)
for noise in ("gaussian", "arbitrary"):
    net = ReLUNetRecovery(3, noise=noise, random_state=0).fit(X, given)
    cosines = np.abs(net.components_ @ truth.coefs_[0]).max(axis=0)
    print(f"{noise}: {net.report_.status}, cosines of the units {np.round(cosines, 4)}")

plt.show()
