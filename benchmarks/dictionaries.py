"""Dictionaries: recovery from any start, the noise floor, supports, means of mixtures."""

from __future__ import annotations

import time

import numpy as np
from sklearn.cluster import KMeans

from benchmarks.registry import case
from sklearn_nnrecover.datasets import make_sparse_codes, make_spherical_mixture
from sklearn_nnrecover.dictionaries import TiedAutoencoder
from sklearn_nnrecover.dictionaries.encoders import CodeRule, encode
from sklearn_nnrecover.metrics import match_components

SIZES = {"n64": (8000, 64, 128, 4), "n128": (15000, 128, 256, 5), "n256": (20000, 256, 512, 8)}
MEAN_SQUARE = 13 / 12  # of a code uniform on [.5, 1.5]


def share_found(D: np.ndarray, truth: np.ndarray) -> float:
    """Share of true atoms matched with a cosine above .99."""
    return float(np.mean(np.abs(match_components(D, truth).cosine) > 0.99))


def errors(D: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances of unit-norm atoms to the truth, and the signed assignment."""
    match = match_components(D, truth)
    sign = np.sign(match.cosine)
    return np.linalg.norm(D[match.permutation] * sign[:, None] - truth, axis=1), sign


def right_supports(codes: np.ndarray, D: np.ndarray, truth: object) -> float:
    """Share of samples whose support and signs are all right."""
    match = match_components(D, truth.components_)
    matched = np.sign(codes[:, match.permutation]) * np.sign(match.cosine)
    return float(np.mean(np.all(matched == np.sign(truth.codes.toarray()), axis=1)))


def recovery(seed: int, size: str, nonnegative: bool, noise: float, enough: float = 0.999) -> dict:
    """Nothing but ``n_components`` and the model are told; ``enough`` supports must be right."""
    n_samples, n, m, k = SIZES[size]
    X, truth = make_sparse_codes(
        n_samples,
        n,
        n_components=m,
        n_nonzero=k,
        nonnegative=nonnegative,
        noise=noise,
        random_state=seed,
    )
    model = "nonnegative" if nonnegative else "sparse"
    start = time.process_time()
    autoencoder = TiedAutoencoder(m, model=model, random_state=seed + 1000).fit(X)
    seconds = time.process_time() - start
    D = autoencoder.components_
    distance, _ = errors(D, truth.components_)
    found = share_found(D, truth.components_)
    supports = right_supports(autoencoder.transform(X), D, truth)
    oracle_rule = CodeRule("omp", k, nonnegative=nonnegative)
    oracle = encode(X, truth.components_, oracle_rule).toarray()
    oracle_supports = right_supports(oracle, truth.components_, truth)
    floor = noise * np.sqrt(n * m / (n_samples * k * MEAN_SQUARE))
    if noise:
        accurate = distance.mean() <= 1.1 * floor
        honest = autoencoder.report_.status == "approximate"
    else:
        accurate = np.median(distance) <= (1e-9 if n == 64 else 1e-11)
        honest = autoencoder.report_.status == "exact"
    return {
        "found": found,
        "median_error": float(np.median(distance)),
        "error_over_floor": float(distance.mean() / floor) if noise else 0.0,
        "right_supports": supports,
        "oracle_supports": oracle_supports,
        "n_nonzero": int(autoencoder.n_nonzero_coefs_),
        "status": autoencoder.report_.status,
        "seconds": seconds,
        "success": bool(
            found == 1 and accurate and honest and supports >= min(enough, oracle_supports)
        ),
    }


FIGURE = (
    "every atom, nothing but n_components given, in >= 95 % of seeds; error <= 1.1 noise floors "
    "(noise .05) or at rounding; supports >= .999 or the oracle's; honest status"
)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def signed_n64(seed: int) -> dict:
    return recovery(seed, "n64", False, 0.0)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def signed_n64_noisy(seed: int) -> dict:
    return recovery(seed, "n64", False, 0.05)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def nonnegative_n64(seed: int) -> dict:
    return recovery(seed, "n64", True, 0.0)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def nonnegative_n64_noisy(seed: int) -> dict:
    return recovery(seed, "n64", True, 0.05)


def independent_atoms(seed: int, noise: float) -> dict:
    """Every atom is active by itself, in one of 32 samples: a sample has from none to a dozen."""
    n_samples, n, m, k = SIZES["n64"]
    rng = np.random.RandomState(seed)
    _, truth = make_sparse_codes(n_samples, n, n_components=m, n_nonzero=k, random_state=rng)
    on = rng.rand(n_samples, m) < k / m
    size = rng.uniform(0.5, 1.5, on.shape) if seed % 2 else np.abs(rng.standard_normal(on.shape))
    codes = np.where(on, size * rng.choice([-1, 1], on.shape), 0)
    X = codes @ truth.components_ + noise * rng.standard_normal((n_samples, n))
    start = time.process_time()
    autoencoder = TiedAutoencoder(m, random_state=seed + 1000).fit(X)
    seconds = time.process_time() - start
    distance, _ = errors(autoencoder.components_, truth.components_)
    found = share_found(autoencoder.components_, truth.components_)
    status = autoencoder.report_.status
    return {
        "found": found,
        "median_error": float(np.median(distance)),
        "identified": float(np.mean(autoencoder.report_.identified)),
        "status": status,
        "seconds": seconds,
        "success": bool(found == 1 and status == ("approximate" if noise else "exact")),
    }


INDEPENDENT = "every atom where each is active by itself (uniform or normal codes); honest status"


@case(group="dictionaries", figure=INDEPENDENT, goal=0.9)
def independent_n64(seed: int) -> dict:
    return independent_atoms(seed, 0.0)


@case(group="dictionaries", figure=INDEPENDENT, goal=0.9)
def independent_n64_noisy(seed: int) -> dict:
    return independent_atoms(seed, 0.05)


MUCH_NOISE = (
    "noise .15, where many supports are wrong even with the true atoms and do not count: every "
    "atom in >= 95 % of seeds, error <= 1.1 noise floors, honest status"
)


@case(group="dictionaries", figure=MUCH_NOISE, goal=0.95)
def signed_n64_much_noise(seed: int) -> dict:
    return recovery(seed, "n64", False, 0.15, enough=0.0)


@case(group="dictionaries", figure=MUCH_NOISE, goal=0.95)
def nonnegative_n64_much_noise(seed: int) -> dict:
    return recovery(seed, "n64", True, 0.15, enough=0.0)


@case(group="dictionaries", figure="codes of signs: every atom to rounding, proven", goal=0.95)
def signs_n64(seed: int) -> dict:
    return repeated_values(seed, (1.0,))


@case(group="dictionaries", figure="codes 1, 2, 3 with signs: the same", goal=0.95)
def integers_n64(seed: int) -> dict:
    return repeated_values(seed, (1.0, 2.0, 3.0))


def repeated_values(seed: int, magnitudes: tuple[float, ...]) -> dict:
    n_samples, n, m, k = SIZES["n64"]
    _, truth = make_sparse_codes(n_samples, n, n_components=m, n_nonzero=k, random_state=seed)
    codes = truth.codes.copy()
    sizes = np.random.RandomState(seed + 3000).choice(magnitudes, len(codes.data))
    codes.data = np.sign(codes.data) * sizes
    start = time.process_time()
    autoencoder = TiedAutoencoder(m, random_state=seed + 1000).fit(codes @ truth.components_)
    seconds = time.process_time() - start
    distance, _ = errors(autoencoder.components_, truth.components_)
    return {
        "found": share_found(autoencoder.components_, truth.components_),
        "largest_error": float(distance.max()),
        "status": autoencoder.report_.status,
        "seconds": seconds,
        "success": bool(distance.max() <= 1e-9 and autoencoder.report_.status == "exact"),
    }


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def signed_n128(seed: int) -> dict:
    return recovery(seed, "n128", False, 0.0)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def signed_n128_noisy(seed: int) -> dict:
    return recovery(seed, "n128", False, 0.05)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def nonnegative_n128(seed: int) -> dict:
    return recovery(seed, "n128", True, 0.0)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def nonnegative_n128_noisy(seed: int) -> dict:
    return recovery(seed, "n128", True, 0.05)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def signed_n256(seed: int) -> dict:
    return recovery(seed, "n256", False, 0.0)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def nonnegative_n256_noisy(seed: int) -> dict:
    return recovery(seed, "n256", True, 0.05)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def signed_n256_noisy(seed: int) -> dict:
    return recovery(seed, "n256", False, 0.05)


@case(group="dictionaries", figure=FIGURE, goal=0.95)
def nonnegative_n256(seed: int) -> dict:
    return recovery(seed, "n256", True, 0.0)


@case(group="dictionaries", figure="8 dimensions, 10 atoms, 2 a sample: all proven", goal=0.95)
def few_dimensions(seed: int) -> dict:
    X, truth = make_sparse_codes(1500, 8, n_components=10, n_nonzero=2, random_state=seed)
    start = time.process_time()
    autoencoder = TiedAutoencoder(10, random_state=seed + 1000).fit(X)
    seconds = time.process_time() - start
    distance, _ = errors(autoencoder.components_, truth.components_)
    return {
        "largest_error": float(distance.max()),
        "status": autoencoder.report_.status,
        "seconds": seconds,
        "success": bool(distance.max() <= 1e-9 and autoencoder.report_.status == "exact"),
    }


@case(group="dictionaries", figure="every mean at noise .1, m = 50")
def mixture_50(seed: int) -> dict:
    X, y, truth = make_spherical_mixture(5000, 50, n_components=50, noise=0.1, random_state=seed)
    start = time.process_time()
    autoencoder = TiedAutoencoder(50, model="mixture", random_state=seed + 1000).fit(X)
    seconds = time.process_time() - start
    distance = mean_errors(autoencoder.components_, truth.components_)
    kmeans = KMeans(50, n_init=1, random_state=seed + 1000).fit(X)
    counts = np.bincount(y, minlength=50)
    return {
        "largest_error": float(distance.max()),
        "error_over_floor": float(np.mean(distance / (0.1 * np.sqrt(50 / counts)))),
        "kmeans_largest_error": float(
            mean_errors(kmeans.cluster_centers_, truth.components_).max()
        ),
        "status": autoencoder.report_.status,
        "seconds": seconds,
        "success": bool(distance.max() < 0.3),
    }


@case(group="dictionaries", figure="every mean at noise .3 where KMeans needs ten starts")
def mixture_noisy(seed: int) -> dict:
    X, _, truth = make_spherical_mixture(5000, 50, n_components=10, noise=0.3, random_state=seed)
    autoencoder = TiedAutoencoder(10, model="mixture", random_state=seed + 1000).fit(X)
    distance = mean_errors(autoencoder.components_, truth.components_)
    return {
        "largest_error": float(distance.max()),
        "status": autoencoder.report_.status,
        "success": bool(distance.max() < 0.3),
    }


def mean_errors(means: np.ndarray, truth: np.ndarray) -> np.ndarray:
    match = match_components(means, truth, signed=False)
    return np.linalg.norm(means[match.permutation] - truth, axis=1)
