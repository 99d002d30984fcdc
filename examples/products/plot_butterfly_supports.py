"""
A fast transform on given butterfly supports
============================================

A matrix of order n takes n² multiplications to apply. If it is a product of log₂ n *butterflies*
(each row of each factor has two non-zeros, in known places) 2 n log₂ n are enough. With the places
given, the values are parameters of structured factors: here they are recovered from the matrix, and
the report says what no data can determine.
"""

# %%
# A random fast transform, and what is known of it
# ------------------------------------------------

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover.datasets import make_structured_product
from sklearn_nnrecover.metrics import factor_distance
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.identifiability import certify
from sklearn_nnrecover.products.structures import butterfly_levels

order = 32
levels = butterfly_levels(order)
X, truth = make_structured_product(levels, random_state=0)

# %%
# Every entry of the matrix is one product of parameters along one path: the lifting operator has
# kernel {0}. The gauge is larger than the scales of layers, because each inner node may be
# rescaled on its own, its incoming weights up and its outgoing ones down.

for n in (4, 8, 16, 32):
    certificate = certify(butterfly_levels(n))
    print(
        f"order {n:2d}: {certificate.verdict}, {certificate.extra_gauge_dimension} rescalings "
        "beyond the scales of layers"
    )

# %%
# Recover the factors
# -------------------

transform = SparseDeepFactorizer(structure=levels, certify=True, random_state=0).fit(X)
print(transform.report_)
distance = factor_distance(transform.parameters_, truth.parameters_, gauge=certificate.rescalings)
print(f"distance of all parameters, modulo rescaling of nodes: {distance:.1e}")
print(f"non-zeros: {sum(F.nnz for F in transform.factors_)} instead of {order**2}")

fig, axes = plt.subplots(1, 6, figsize=(12, 2.4), layout="constrained")
images = [X, *(F.toarray() for F in transform.factors_)]
titles = ["transform", *(f"factor {k + 1}" for k in range(len(levels)))]
for ax, image, title in zip(axes, images, titles, strict=True):
    limit = np.quantile(np.abs(image[image != 0]), 0.95)
    ax.imshow(np.where(image == 0, np.nan, image), cmap="RdBu", vmin=-limit, vmax=limit)
    ax.set(title=title, xticks=[], yticks=[])
for ax, sign in zip(axes, ["=", *"·····"], strict=False):
    ax.text(1.06, 0.5, sign if ax is not axes[-1] else "", transform=ax.transAxes, fontsize=14)

# %%
# With noise
# ----------
#
# The same supports on a noisy matrix: the product of the fitted factors is closer to the true
# transform than the data are, since far fewer numbers are fitted than measured.

levels = butterfly_levels(16)
levels_of_noise = np.geomspace(1e-4, 1e-1, 7)
before, after = [], []
for noise in levels_of_noise:
    measured, clean = make_structured_product(levels, noise=noise, random_state=1)
    exact = clean.factors_[0].toarray()
    for F in clean.factors_[1:]:
        exact = exact @ F
    fitted = SparseDeepFactorizer(structure=levels, n_init=3, random_state=0)
    fitted.fit(measured)
    approximation = fitted.inverse_transform(fitted.factors_[0])
    before.append(np.linalg.norm(measured - exact) / np.linalg.norm(exact))
    after.append(np.linalg.norm(approximation - exact) / np.linalg.norm(exact))

fig, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
ax.loglog(levels_of_noise, before, "s-", color="0.6", label="data")
ax.loglog(levels_of_noise, after, "o-", color="C0", label="fitted product")
ax.set(xlabel="noise, relative", ylabel="distance from the true transform")
ax.legend()
plt.show()
