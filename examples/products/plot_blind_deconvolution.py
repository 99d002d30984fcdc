r"""
Blind deconvolution of a signal
===============================

A signal passed an unknown filter: what was recorded is ``y = k * x``, and neither the kernel k nor
the signal x is known. Without knowledge there is nothing to recover. Here the kernel is short (five
taps) and the signal lies in a known space of dimension ten, as when a few pulses of known shape
arrive with unknown strengths. In the language of structured products,

.. math:: y = M_1(k)\, M_2(c), \qquad M_1(k) = \text{convolution with } k, \quad M_2(c) = B c.

The lifted problem is linear in the 50 products of a tap and a strength, and 60 recorded numbers
determine them.
"""

# %%
# An unknown signal through an unknown filter
# -------------------------------------------

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover.metrics import factor_distance
from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.identifiability import certify, stability_bound
from sklearn_nnrecover.products.structures import Convolution, Subspace

rng = np.random.default_rng(0)
time = np.arange(60)
arrivals = 3 + 5.5 * np.arange(10) + rng.uniform(-1, 1, 10)
width = rng.uniform(0.8, 1.6, 10)
pulses = np.exp(-(((time[:, None] - arrivals) / width) ** 2)) * np.cos(time[:, None] - arrivals)

kernel = np.array([0.2, 1.0, -0.6, 0.4, -0.15])
strengths = rng.standard_normal(10)
filtering, signal_space = Convolution(60, 5), Subspace(pulses)
signal = pulses @ strengths
recorded = filtering.matrix(kernel) @ signal

# %%
# Can it be recovered at all?
# ---------------------------
#
# Asked before any data are seen. The lifting operator has kernel {0}, so the answer is yes, up to
# one scale that kernel and signal share.

structures = [filtering, signal_space]
certificate = certify(structures)
print(certificate)

# %%
# Recover both
# ------------

factorizer = SparseDeepFactorizer(structure=structures, certify=True, random_state=0)
factorizer.fit(recorded[:, None])
print(factorizer.report_)

found_kernel, found_strengths = factorizer.parameters_
scale = kernel @ found_kernel / (found_kernel @ found_kernel)
distance = factor_distance(factorizer.parameters_, [kernel, strengths])
print(f"distance of the parameters, modulo the scale: {distance:.1e}")

fig, axes = plt.subplots(1, 3, figsize=(11, 3), width_ratios=[2, 2, 1], layout="constrained")
axes[0].plot(time, recorded, color="0.3")
axes[0].set(title="recorded", xlabel="time")
axes[1].plot(time, signal, color="0.75", lw=5, label="true")
axes[1].plot(time, pulses @ found_strengths / scale, color="C0", lw=1.2, label="recovered")
axes[1].set(title="signal", xlabel="time")
axes[1].legend()
axes[2].stem(kernel, linefmt="0.75", markerfmt="o", basefmt=" ", label="true")
axes[2].plot(scale * found_kernel, "x", color="C0", label="recovered")
axes[2].set(title="kernel", xlabel="tap")
fig.suptitle("Kernel and signal, from their convolution alone")

# %%
# How much noise does it bear?
# ----------------------------
#
# Theorem 1 of Malgouyres and Landsberg bounds the error by the noise over the smallest singular
# value. It holds for every noise of that size, the worst included: random noise does much better.

levels = np.geomspace(1e-8, 1e-3, 11)
measured, bounds = [], []
for level in levels:
    noise = level * np.linalg.norm(recorded) * rng.standard_normal(60) / np.sqrt(60)
    noisy = SparseDeepFactorizer(structure=structures, random_state=0)
    noisy.fit((recorded + noise)[:, None])
    error = stability_bound(
        certificate,
        noisy.parameters_,
        delta=np.linalg.norm(noise),
        eta=np.linalg.norm(noisy.inverse_transform(noisy.factors_[0])[:, 0] - recorded - noise),
        truth=[kernel, strengths],
    )
    measured.append((error.measured_tensor, error.measured_distance))
    bounds.append((error.tensor, error.distance))

fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharex=True, layout="constrained")
for ax, column, title in zip(axes, (0, 1), ("tensor P(h)", "parameters, $d_2$"), strict=True):
    ax.loglog(levels, np.array(bounds)[:, column], color="0.5", ls="--", label="bound")
    ax.loglog(levels, np.array(measured)[:, column], "o-", color="C0", ms=4, label="measured")
    ax.set(xlabel="noise, relative", title=title)
axes[0].set_ylabel("error")
axes[0].legend()
plt.show()
