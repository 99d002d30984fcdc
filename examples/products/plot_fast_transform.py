"""
A scrambled matrix turned into a fast transform
===============================================

Shuffle the rows and columns of a Hadamard or Fourier matrix and flip some signs: to the eye the
result is noise, and every product with it costs n² multiplications. The fast algorithm is still
there. :func:`~sklearn_nnrecover.factorize_butterfly` finds it from the numbers alone.
"""

# %%
# Hidden structure
# ----------------

import time

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import hadamard

from sklearn_nnrecover import factorize_butterfly

rng = np.random.RandomState(0)


def scramble(A):
    n = len(A)
    A = A[rng.permutation(n)][:, rng.permutation(n)]
    return A * rng.choice([-1.0, 1.0], size=n)[:, None]


n = 64
A = scramble(hadamard(n).astype(float))
factors = factorize_butterfly(A)

product = factors[0]
for factor in factors[1:]:
    product = product @ factor
print(f"{len(factors)} factors, {sum(F.nnz for F in factors)} non-zeros instead of {A.size}")
print(f"largest error {abs(product.toarray() - A).max():.1e}")

# %%
# Each factor has two non-zeros in every row. The first ones carry the unknown permutation of the
# rows, the last one that of the columns.

fig, axes = plt.subplots(1, 1 + len(factors), figsize=(12, 2.4), layout="constrained")
axes[0].imshow(A, cmap="RdBu_r")
axes[0].set_title("scrambled Hadamard", fontsize=9)
for k, (ax, factor) in enumerate(zip(axes[1:], factors, strict=True), start=1):
    ax.spy(factor, markersize=1, color="tab:blue")
    ax.set_title(f"$F_{k}$: {factor.nnz} non-zeros", fontsize=9)
for ax in axes:
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
# Speed
# -----
#
# The same for Fourier matrices, complex and of mixed radix, and for growing sizes. A product with
# the factors is timed against a product with the dense matrix, for 16 vectors at a time; each time
# is the best of several.


def best_time(function, repeat=7):
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def apply(factors, V):
    for factor in reversed(factors):
        V = factor @ V
    return V


sizes = [64, 128, 256, 360, 512, 720, 1024]
curves = {"Hadamard": [], "Fourier": []}
for n in sizes:
    V = rng.normal(size=(n, 16))
    for name, times in curves.items():
        if name == "Hadamard" and n & (n - 1):
            continue
        A = scramble(hadamard(n).astype(float) if name == "Hadamard" else np.fft.fft(np.eye(n)))
        factors = factorize_butterfly(A)
        assert np.allclose(apply(factors, V), A @ V)
        W = V.astype(A.dtype)
        dense = best_time(lambda A=A, W=W: A @ W)
        fast = best_time(lambda factors=factors, W=W: apply(factors, W))
        times.append((n, dense, fast, sum(F.nnz for F in factors)))

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
styles = (
    ("tab:blue", 9),
    ("tab:orange", 4),
)  # both need as many non-zeros: one marker in the other
for (name, times), (color, size) in zip(curves.items(), styles, strict=True):
    n, dense, fast, nonzeros = np.array(times).T
    left.loglog(n, dense * 1e6, "--o", color=color, label=f"{name}, dense")
    left.loglog(n, fast * 1e6, "-o", color=color, label=f"{name}, factors")
    right.loglog(n, nonzeros, "-o", color=color, markersize=size, label=name)
    print(f"{name}, n = {int(n[-1])}: {dense[-1] / fast[-1]:.1f} times faster than dense")
right.loglog(sizes, np.square(sizes), ":", color="gray", label="$n^2$")
left.set(xlabel="n", ylabel="microseconds for 16 vectors", title="A product")
right.set(xlabel="n", ylabel="non-zeros", title="Size of the factors")
left.legend()
right.legend()
plt.show()

# %%
# Cosine transforms
# -----------------
#
# The DCT-IV has no half that is proportional to another one. It is a complex matrix in disguise:
# its columns pair up as real and imaginary parts, and the factorization goes through the complex
# plane and back.

from scipy.fft import dct

for n in (64, 256):
    A = scramble(dct(np.eye(n), axis=0, norm="ortho"))
    factors = factorize_butterfly(A)
    share = sum(F.nnz for F in factors) / A.size
    print(f"scrambled DCT-II, n = {n}: {len(factors)} real factors, {share:.2f} n² non-zeros")

# %%
# No structure, no factors
# ------------------------
#
# A random matrix has no fast algorithm, and is not given one.

try:
    factorize_butterfly(rng.normal(size=(64, 64)))
except ValueError as error:
    print(error)
