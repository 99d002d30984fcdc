"""
The kernels of a convolutional linear network
=============================================

A linear network of three convolutional layers maps signals to signals. Only its end-to-end map is
known. Which kernels are inside? The answer depends on the architecture alone, and in a surprising
way: with kernels of adjacent taps the network does *not* determine its kernels, although nothing is
free locally; with dilated kernels, as in WaveNet, it does.
"""

# %%
# Two architectures
# -----------------

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover.datasets import make_structured_product
from sklearn_nnrecover.metrics import factor_distance
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.identifiability import certify
from sklearn_nnrecover.products.structures import Convolution

n_layers, n_taps, length = 3, 4, 80
adjacent = [Convolution(length, n_taps) for _ in range(n_layers)]
dilated = [Convolution(length, n_taps, dilation=n_taps**layer) for layer in range(n_layers)]

verdicts = {
    name: certify(layers) for name, layers in (("adjacent", adjacent), ("dilated", dilated))
}
for name, certificate in verdicts.items():
    print(f"{name} taps: {certificate}")

# %%
# Two networks that are one
# -------------------------
#
# Convolving is multiplying polynomials. Three cubic polynomials have nine roots among them, and the
# roots can be dealt out differently: the product stays. `certify` finds such a pair.

witness = verdicts["adjacent"].witness


def end_to_end(layers, kernels):
    product = np.eye(length)
    for layer, kernel in zip(layers, kernels, strict=True):
        product = product @ layer.matrix(kernel)
    return product


one, other = (end_to_end(adjacent, kernels) for kernels in (witness.first, witness.second))
print(f"largest difference of the two maps: {np.abs(one - other).max():.0e}")

fig, axes = plt.subplots(2, 4, figsize=(11, 4.4), sharey="col", layout="constrained")
for row, (kernels, title) in enumerate(((witness.first, "one"), (witness.second, "other"))):
    for layer, kernel in enumerate(kernels):
        axes[row, layer].stem(kernel, linefmt=f"C{row}", markerfmt=f"C{row}o", basefmt="0.8")
        axes[row, layer].set(title=f"layer {layer + 1}" if row == 0 else "")
    axes[row, 0].set_ylabel(f"{title} network")
    impulse = (one, other)[row][:10, 0]
    axes[row, 3].stem(impulse, linefmt="0.3", markerfmt="k.", basefmt="0.8")
axes[0, 3].set_title("impulse response")
fig.suptitle("Adjacent taps: different kernels, the same network")

# %%
# Dilated kernels come back
# -------------------------
#
# With dilations 1, 4 and 16 every product of three taps lands in a place of its own.

X, truth = make_structured_product(dilated, random_state=0)
network = SparseDeepFactorizer(structure=dilated, certify=True, random_state=0).fit(X)
print(network.report_)
distance = factor_distance(network.parameters_, truth.parameters_)
print(f"distance of all kernels, modulo the scales of layers: {distance:.1e}")

fig, axes = plt.subplots(1, 4, figsize=(11, 2.8), width_ratios=[1.3, 1, 1, 1], layout="constrained")
axes[0].imshow(X[:40, :40], cmap="RdBu", vmin=-np.abs(X).max(), vmax=np.abs(X).max())
axes[0].set_title("end-to-end map (part)")
for layer, ax in enumerate(axes[1:]):
    kernel, found = truth.parameters_[layer], network.parameters_[layer]
    ax.stem(kernel, linefmt="0.75", markerfmt="o", basefmt="0.8", label="true")
    ax.plot(found * (kernel @ found) / (found @ found), "x", color="C0", label="recovered")
    ax.set_title(f"layer {layer + 1}, dilation {n_taps**layer}")
axes[1].legend()
plt.show()
