"""
Symmetric inputs: more samples than memory, on joblib and Dask
==============================================================

The moment estimate needs sums only. They are additive, so samples may lie in files, be read by many
workers, and never be in memory at once. Refinement streams too. Here the files are memory maps
larger than the memory that is granted, the workers are joblib's, and Dask's where it is installed.
"""

# %%
# Samples in files
# ----------------
#
# 200,000 samples of a network with 12 inputs, 8 units and 8 outputs: 32 MB in .npy files, against a
# grant of 4 MB of temporary memory (scikit-learn's `working_memory`).

import importlib.util
import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import sklearn

from sklearn_nnrecover import SymmetricMomentNet, SymmetricMoments
from sklearn_nnrecover.metrics import recovery_error

GRANTED = 4.0
folder = tempfile.TemporaryDirectory()
rng = np.random.default_rng(0)
n_samples, n_chunks = 200_000, 20
W = np.linalg.qr(rng.standard_normal((12, 8)))[0]
A = np.linalg.qr(rng.standard_normal((8, 8)))[0]
truth = ([W, A], [np.zeros(8), np.zeros(8)])

files = [str(Path(folder.name, name)) for name in ("inputs.npy", "outputs.npy")]
inputs = np.lib.format.open_memmap(files[0], "w+", np.float64, (n_samples, 12))
outputs = np.lib.format.open_memmap(files[1], "w+", np.float64, (n_samples, 8))
chunks = [slice(start, start + n_samples // n_chunks) for start in range(0, n_samples, 10_000)]
for rows in chunks:
    inputs[rows] = rng.standard_normal((10_000, 12))
    noise = 0.1 * rng.standard_normal((10_000, 8))
    outputs[rows] = np.maximum(inputs[rows] @ W, 0) @ A + noise
inputs.flush()
outputs.flush()
size = (inputs.nbytes + outputs.nbytes) / 2**20
del inputs, outputs
print(f"{size:.0f} MiB of samples, {GRANTED:.0f} MiB granted")


def moments_of(rows):
    """What a worker does: open the files, read one chunk, return sums."""
    X, y = (np.load(name, mmap_mode="r") for name in files)
    with sklearn.config_context(working_memory=GRANTED):
        return SymmetricMoments().update(X[rows], y[rows])


# %%
# joblib
# ------

parts = joblib.Parallel(n_jobs=2, prefer="threads")(joblib.delayed(moments_of)(r) for r in chunks)
moments = sum(parts)
print(moments)
net = SymmetricMomentNet(random_state=0).fit_moments(moments)
print(f"error of the moment estimate: {recovery_error(net, truth):.4f}")

# %%
# Dask
# ----
#
# The same function on a `LocalCluster`; sums of sums are computed where they are. Dask is optional:
# `pip install "sklearn-nnrecover[dask]"`.

if importlib.util.find_spec("distributed"):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        futures = client.map(moments_of, chunks)
        pairs = [client.submit(sum, futures[i : i + 4]) for i in range(0, n_chunks, 4)]
        on_dask = client.submit(sum, pairs).result()
    again = SymmetricMomentNet(random_state=0).fit_moments(on_dask)
    print(f"difference to joblib: {np.abs(again.coefs_[0] - net.coefs_[0]).max():.1e}")
else:
    print("Dask is not installed: skipped.")

# %%
# Streamed refinement
# -------------------
#
# Each pass over the files is one Gauss-Newton step. When the next one would change nothing, the
# network is judged.

X, y = (np.load(name, mmap_mode="r") for name in files)
errors = [recovery_error(net, truth)]
with sklearn.config_context(working_memory=GRANTED):
    for _ in range(8):
        for rows in chunks:
            net.refine_partial(X[rows], y[rows])
        net.refine_step()
        errors.append(recovery_error(net, truth))
        if net.report_.status != "not_recovered":
            break
print(net.report_)

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.semilogy(errors, "o-")
largest = max(spread.max() for spread in net.coefs_std_)
ax.axhline(3 * largest, color="0.6", linestyle=":", label="three of the largest standard errors")
ax.set(
    xlabel="passes after the first",
    ylabel="largest error over all weights",
    title=f"200,000 samples in chunks of 10,000: {net.report_.status}",
    xticks=range(len(errors)),
    ylim=(largest, 2 * max(errors)),
)
ax.legend()
plt.show()
del X, y
folder.cleanup()
