"""
Compressing graph Fourier bases
===============================

Signal processing on graphs needs the eigenvectors of the graph's Laplacian: a dense orthogonal
matrix, the *graph Fourier basis*. Some graphs have a fast transform. This example looks for one on
two graphs that come with scikit-learn's data: the pixel grid of a photograph, and the neighbours
among the handwritten digits. The first has a fast algorithm, though nothing tells us; the second
has none, and the answer is a refusal, not a poor factorization.
"""

# %%
# The pixel grid
# --------------
#
# The Laplacian of a grid of pixels, with the pixels numbered in an arbitrary order and the
# eigenvectors in the order (and with the signs) in which ``eigh`` returns them.

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse.csgraph import laplacian
from sklearn.datasets import load_digits, load_sample_image
from sklearn.feature_extraction.image import grid_to_graph
from sklearn.neighbors import kneighbors_graph

from sklearn_nnrecover import SparseDeepFactorizer, factorize_butterfly

height, width = 32, 24
rng = np.random.RandomState(0)
order = rng.permutation(height * width)
grid = grid_to_graph(height, width, dtype=float).tocsr()[order][:, order]
grid.setdiag(0)
# Weights of vertical and horizontal edges differ, or eigenvalues would coincide.
rows, columns = grid.nonzero()
vertical = abs(order[rows] - order[columns]) == width
grid[rows, columns] = np.where(vertical, 1.0, np.sqrt(2) / 1.2)
frequencies, basis = np.linalg.eigh(laplacian(grid).toarray())
print(f"smallest gap between eigenvalues: {np.diff(frequencies).min():.1e}")

# %%
# Eigenvectors of close eigenvalues carry rounding, so the tolerance is a little above it.

factors = factorize_butterfly(basis.T, tol=1e-6)
nonzeros = sum(F.nnz for F in factors)
product = np.eye(height * width)
for factor in reversed(factors):
    product = factor @ product
error = np.linalg.norm(product - basis.T) / np.linalg.norm(basis)
print(
    f"{len(factors)} factors, {nonzeros} non-zeros: {nonzeros / basis.size:.3f} of the dense basis"
)
print(f"relative error {error:.1e}")

# %%
# The factors serve like the matrix. Here they take a piece of a photograph to the spectral domain,
# where the lowest tenth of the frequencies is kept, and back.

photograph = load_sample_image("china.jpg").mean(axis=2)
patch = photograph[60 : 60 + 8 * height : 8, 240 : 240 + 8 * width : 8]
signal = patch.ravel()[order]
spectrum = signal
for factor in reversed(factors):
    spectrum = factor @ spectrum
smooth = np.where(np.arange(len(spectrum)) < len(spectrum) // 10, spectrum, 0.0)
for factor in factors:
    smooth = factor.T @ smooth
print(f"difference to the dense basis: {abs(spectrum - basis.T @ signal).max():.1e}")

image = np.empty(height * width)
image[order] = smooth
fig, axes = plt.subplots(1, 4, figsize=(11, 3.6), layout="constrained")
axes[0].imshow(patch, cmap="gray")
axes[0].set_title("patch")
axes[1].imshow(image.reshape(height, width), cmap="gray")
axes[1].set_title("lowest tenth of the spectrum")
axes[2].imshow(basis.T, cmap="RdBu_r", vmin=-0.08, vmax=0.08)
axes[2].set_title(f"basis: {basis.size} entries")
per_factor = [F.nnz for F in factors]
axes[3].bar(np.arange(1, 1 + len(factors)), per_factor, color="tab:blue")
axes[3].set(title=f"factors: {nonzeros} non-zeros", xlabel="factor", ylabel="non-zeros")
for ax in axes[:3]:
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
# What is recovered here is *a* fast algorithm for the basis, with the numbering of pixels and
# frequencies undone along the way. It is not unique, and the estimator says so in its report.

# %%
# A graph of digits
# -----------------
#
# The nearest neighbours among 256 handwritten digits make an irregular graph.

digits = load_digits().data[:256]
neighbours = kneighbors_graph(digits, n_neighbors=8)
irregular = neighbours.maximum(neighbours.T)
_, digit_basis = np.linalg.eigh(laplacian(irregular).toarray())

for tol in (1e-6, 0.1):
    try:
        factorize_butterfly(digit_basis.T, tol=tol)
    except ValueError as refusal:
        print(refusal)

# %%
# The same question to the estimator ends with a warning and a report, so that a pipeline goes on.

import warnings

from sklearn_nnrecover.exceptions import RecoveryWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", RecoveryWarning)
    model = SparseDeepFactorizer(method="butterfly").fit(digit_basis.T)
print(model.report_.status, "-", model.report_.reason)
