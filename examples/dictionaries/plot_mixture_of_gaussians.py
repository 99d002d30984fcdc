"""
All means of a mixture, and how sure they are
=============================================

Fifty spherical Gaussians in thirty dimensions. KMeans from one start and a GaussianMixture miss
means and do not say so; the autoencoder's mixture model finds all of them and says how accurate
they are, and it says when there are more components than it was told.
"""

# %%
# Data, and three methods
# -----------------------

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from sklearn_nnrecover.datasets import make_spherical_mixture
from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.metrics import match_components

X, y, truth = make_spherical_mixture(5000, 30, n_components=50, norm=2.0, noise=0.2, random_state=0)
autoencoder = TiedAutoencoder(50, model="mixture", random_state=1).fit(X)
kmeans = KMeans(50, n_init=1, random_state=1).fit(X)
gaussians = GaussianMixture(50, covariance_type="spherical", random_state=1).fit(X)


def errors(means):
    match = match_components(means, truth.components_, signed=False)
    return np.linalg.norm(means[match.permutation] - truth.components_, axis=1)


found = {
    "TiedAutoencoder": errors(autoencoder.components_),
    "KMeans, one start": errors(kmeans.cluster_centers_),
    "GaussianMixture": errors(gaussians.means_),
}
for name, error in found.items():
    print(f"{name:18s} means found: {np.sum(error < 0.5)} of 50")
print(autoencoder.report_.status, "-", autoencoder.report_.reason)

# %%
# Errors, and standard errors
# ---------------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for (name, error), line in zip(found.items(), ["-", "-", "--"], strict=True):
    left.semilogy(np.sort(error), line, label=name)
left.set(xlabel="means, by error", ylabel="distance from the true mean")
left.legend()
match = match_components(autoencoder.components_, truth.components_, signed=False)
deviation = autoencoder.components_[match.permutation] - truth.components_
scaled = (deviation / autoencoder.components_std_[match.permutation]).ravel()
right.hist(scaled, bins=50, density=True, color="0.8")
grid = np.linspace(-4, 4, 200)
right.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), color="tab:blue")
right.set(xlabel="error in standard errors", title="as the normal law says")

# %%
# Told too few
# ------------
#
# With forty components some clusters hold two means: longer in one direction than a sphere allows.

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    fewer = TiedAutoencoder(40, model="mixture", random_state=1).fit(X)
print(fewer.report_.status, "-", fewer.report_.reason)
plt.show()
