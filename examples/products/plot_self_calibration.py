r"""
Sensors that calibrate themselves
=================================

Twelve sensors record six moving sources several times. How perfect sensors would see each source is
known from the geometry; the sensors' gains are not, and neither are the strengths of the sources.
The recorded matrix is

.. math:: X = \mathrm{diag}(g) \sum_j s_j B_j,

a product of two structured factors. Calibration and measurement come out of the same data, if there
are enough of them: how many recordings are needed can be asked beforehand.
"""

# %%
# How many recordings are enough?
# -------------------------------

import matplotlib.pyplot as plt
import numpy as np

from sklearn_nnrecover.products import SparseDeepFactorizer
from sklearn_nnrecover.products.identifiability import certify
from sklearn_nnrecover.products.structures import Basis, Diagonal

rng = np.random.default_rng(3)
n_sensors, n_sources = 12, 6
sensors = rng.uniform(0, 10, (n_sensors, 2))


def responses(n_recordings):
    """What a perfect sensor would record of each source, at places drawn at random."""
    places = rng.uniform(0, 10, (n_sources, 1, n_recordings, 2))
    distance = np.linalg.norm(places - sensors[:, None], axis=-1)
    return np.cos(3 * distance) / (1 + distance)


recordings = responses(10)
counts = range(1, 11)
certificates = [certify([Diagonal(n_sensors), Basis(recordings[..., :n])]) for n in counts]
for n, certificate in zip(counts, certificates, strict=True):
    print(f"{n:2d} recordings: {certificate.verdict}, kernel {certificate.kernel_dimension}")

# %%
# Two recordings leave nothing free locally, but a certificate needs six: only then has the lifting
# operator no kernel. A single recording is ambiguous, and `certify` holds the proof, two different
# calibrations with the same data.

witness = certificates[0].witness
print(f"{certificates[0].verdict}: {certificates[0].reason}")
print(f"products differ by {witness.residual:.0e}, parameters by {witness.distance:.2f}")

colors = {"identifiable": "C2", "locally identifiable": "C1", "not identifiable": "C3"}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for n, certificate in zip(counts, certificates, strict=True):
    color = colors[certificate.verdict]
    axes[0].bar(n, certificate.kernel_dimension, color=color)
    if certificate.kernel_dimension == 0:
        axes[0].plot(n, 0.8, "v", color=color)
        axes[1].bar(n, certificate.sigma_min, color=color)
for verdict, color in colors.items():
    axes[0].bar(1, 0, color=color, label=verdict)
axes[0].legend()
axes[0].set(xlabel="recordings", ylabel="dimension of the kernel")
axes[1].set(xlabel="recordings", ylabel="smallest singular value", xlim=axes[0].get_xlim())
fig.suptitle("More recordings remove the kernel, then make the calibration robust")

# %%
# Calibrate from noisy recordings
# -------------------------------
#
# Gains are compared with the truth after one common scale is fixed; the report says that the
# residual is noise.

structures = [Diagonal(n_sensors), Basis(recordings[..., :8])]
gains = np.exp(0.4 * rng.standard_normal(n_sensors))
strengths = rng.standard_normal(n_sources)
perfect = structures[1].matrix(strengths)
X = gains[:, None] * perfect
X += 0.02 * np.sqrt(np.mean(X**2)) * rng.standard_normal(X.shape)

calibration = SparseDeepFactorizer(structure=structures, certify=True, random_state=0).fit(X)
print(calibration.report_)
found = calibration.parameters_[0]
found = found * (gains @ found) / (found @ found)

fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
limit = np.abs(X).max()
for ax, image, title in zip(
    axes, (X, X / found[:, None]), ("recorded", "calibrated"), strict=False
):
    ax.imshow(image, vmin=-limit, vmax=limit, cmap="RdBu", aspect="auto")
    ax.set(title=title, xlabel="recording", ylabel="sensor")
axes[2].plot(gains, gains, color="0.7")
axes[2].plot(gains, found, "o", color="C0")
axes[2].set(title="gains", xlabel="true", ylabel="recovered")
plt.show()
