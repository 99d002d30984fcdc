"""Dense products: information sets, independent components and fast transforms, beside peers."""

from __future__ import annotations

import time
from functools import reduce

import numpy as np
import scipy.sparse as sp
from scipy.fft import dct
from scipy.linalg import hadamard

from benchmarks.registry import case
from sklearn_nnrecover.datasets import make_sparse_product
from sklearn_nnrecover.linalg.steps import run_to_end
from sklearn_nnrecover.products.factor_gauge import row_gauge
from sklearn_nnrecover.products.fast_transforms.butterflies import factorize_butterfly
from sklearn_nnrecover.products.fast_transforms.natural_order import natural_order_butterfly
from sklearn_nnrecover.products.row_spaces.information_sets import (
    information_set_factor,
    sparsest_basis,
)
from sklearn_nnrecover.products.row_spaces.last_factor_ica import last_factor_by_ica
from sklearn_nnrecover.products.row_spaces.systematic_bases import row_space

GROUP = "products"


def row_keys(A: sp.csr_array) -> list[bytes]:
    A = row_gauge(sp.csr_array(A))[0]
    A.sort_indices()
    indices, values = A.indices.astype(np.int64), np.round(A.data, 5)
    ends = zip(A.indptr[:-1], A.indptr[1:], strict=True)
    return [indices[a:b].tobytes() + values[a:b].tobytes() for a, b in ends]


def share_found(planted: sp.csr_array, found: sp.csr_array) -> float:
    known = set(row_keys(found))
    return float(np.mean([key in known for key in row_keys(planted)]))


# --- sparsest vectors of a row space ---------------------------------------------------------


def spanned_by_lighter(planted: sp.csr_array, others: sp.csr_array) -> np.ndarray:
    """Whether each planted row is a combination of lighter vectors, planted or found.

    Such a row is in no lightest basis, and its sparsity does not tell it from another.
    """
    vectors = sp.csr_array(sp.vstack([planted, others]))
    weights, mine = np.diff(vectors.indptr), np.diff(planted.indptr)
    result = mine == 0
    for weight in np.unique(mine[mine > 0]):
        lighter = vectors[(weights < weight) & (weights > 0)].toarray()
        if not len(lighter):
            continue
        _, singular, right = np.linalg.svd(lighter, full_matrices=False)
        frame = right[singular > 1e-9 * singular[0]]
        rows = np.flatnonzero(mine == weight)
        unit = planted[rows].toarray()
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        outside = np.linalg.norm(unit - (unit @ frame.T) @ frame, axis=1)
        result[rows] = outside < 1e-6
    return result


def information_sets(seed: int, rank: int, ratio: float, d: int) -> dict:
    """A sparse right factor behind a dense Gaussian remainder; no proof, no remainder."""
    rng = np.random.RandomState(seed)
    n = int(rank * ratio)
    _, truth = make_sparse_product(2, n, n_hidden=[rank], n_nonzero=d, random_state=rng)
    F = truth.factors_[-1]
    Y = rng.normal(size=(rank, rank)) @ F
    start = time.process_time()
    space = row_space(Y)
    search = run_to_end(
        sparsest_basis(space, max_weight=(n - space.rank) // 2, n_rows=rank, rng=rng)
    )
    seconds = time.process_time() - start
    observable = F[np.flatnonzero(~spanned_by_lighter(F, search.pool))]
    found = share_found(observable, search.vectors)
    return {
        "rank": space.rank,
        "planted_rows_exact": share_found(F, search.vectors),
        "spanned_by_lighter": rank - observable.shape[0],
        "observable_rows_exact": found,
        "lighter_than_planted": float(F.nnz - search.vectors.nnz),
        "systematic_forms": search.n_forms,
        "seconds": seconds,
        "success": found == 1.0 and seconds <= 40,
    }


@case(group=GROUP, figure="n/rank 1.25, d = 3: every observable row in 40 s", goal=0.9)
def range_500_ratio125_d3(seed: int) -> dict:
    return information_sets(seed, 500, 1.25, 3)


@case(group=GROUP, figure="n/rank 1.25, d = 4: every observable row in 40 s", goal=0.9)
def range_500_ratio125_d4(seed: int) -> dict:
    return information_sets(seed, 500, 1.25, 4)


@case(group=GROUP, figure="n/rank 1.25, d = 6: every observable row in 40 s", goal=0.9)
def range_500_ratio125_d6(seed: int) -> dict:
    return information_sets(seed, 500, 1.25, 6)


@case(group=GROUP, figure="n/rank 1.25, d = 8: every observable row in 40 s", goal=0.9)
def range_500_ratio125_d8(seed: int) -> dict:
    return information_sets(seed, 500, 1.25, 8)


@case(group=GROUP, figure="n/rank 2, d = 4: every observable row in 40 s", goal=0.9)
def range_1000_ratio2_d4(seed: int) -> dict:
    return information_sets(seed, 1000, 2, 4)


@case(group=GROUP, figure="n/rank 2, d = 8: every observable row in 40 s", goal=0.9)
def range_1000_ratio2_d8(seed: int) -> dict:
    return information_sets(seed, 1000, 2, 8)


@case(group=GROUP, figure="8 factors, remainder dense: every row of the last one", goal=0.9)
def range_depth_8(seed: int) -> dict:
    # The chain of widening layers of the paper's orientation: 1000-500-650-...-1600 samples.
    rng = np.random.RandomState(seed)
    widths = [1600, 1400, 1200, 1000, 850, 750, 650, 500]
    X, truth = make_sparse_product(1600, 1000, n_hidden=widths[1:], n_nonzero=4, random_state=rng)
    start = time.process_time()
    peel = run_to_end(information_set_factor(X, rng=rng))
    seconds = time.process_time() - start
    found = 0.0 if peel is None else share_found(truth.factors_[-1], peel.factor)
    # Rows that no node of the layer before uses leave no trace in X.
    rank = int(np.linalg.matrix_rank(X))
    return {
        "planted_rows_exact": found,
        "rank": rank,
        "seconds": seconds,
        "success": round(found * 500) >= rank,
    }


# --- the factor next to the samples ----------------------------------------------------------


def independent_components(seed: int, n: int, multiple: int, d: int, depth: int) -> dict:
    """Square layers, ``multiple * n`` samples; the factor of the samples is a peel of X'."""
    rng = np.random.RandomState(seed)
    n_samples = multiple * n
    # Codes with d signed unit vectors a sample, as in the paper.
    X, truth = make_sparse_product(
        n_samples, n, n_hidden=[n] * (depth - 1), n_nonzero=d, random_state=rng
    )
    start = time.process_time()
    peel = run_to_end(last_factor_by_ica(X.T, rng=rng))
    seconds = time.process_time() - start
    codes = sp.csr_array(truth.factors_[0].T)
    found = 0.0 if peel is None else share_found(codes, peel.factor)
    rank = int(np.linalg.matrix_rank(X))
    return {
        "planted_rows_exact": found,
        "rank": rank,
        "seconds": seconds,
        "success": found == 1.0,
    }


@case(
    group=GROUP,
    figure="200 features, 2000 samples, d = 8, 3 factors: every row",
    goal=0.9,
)
def codes_200_d8_depth3(seed: int) -> dict:
    return independent_components(seed, 200, 10, 8, 3)


@case(group=GROUP, figure="200 features, 2000 samples, d = 16, 3 factors: every row", goal=0.9)
def codes_200_d16_depth3(seed: int) -> dict:
    return independent_components(seed, 200, 10, 16, 3)


@case(group=GROUP, figure="500 features, 5000 samples, d = 8, 2 factors: every row", goal=0.9)
def codes_500_d8_depth2(seed: int) -> dict:
    return independent_components(seed, 500, 10, 8, 2)


@case(
    group=GROUP,
    figure="100 features, 2000 samples, d = 8, 2 factors, beside spams.trainDL (4 penalties)",
    requires=("spams",),
)
def codes_100_d8_beside_spams(seed: int) -> dict:
    import spams

    rng = np.random.RandomState(seed)
    X, truth = make_sparse_product(2000, 100, n_hidden=[100], n_nonzero=8, random_state=rng)
    start = time.process_time()
    peel = run_to_end(last_factor_by_ica(X.T, rng=rng))
    seconds = time.process_time() - start
    codes = sp.csr_array(truth.factors_[0].T)
    # An atom of the dictionary is found when it is parallel to a row of the features' factor.
    atoms = truth.factors_[1].toarray()
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    samples = np.asfortranarray(X.T / np.linalg.norm(X, axis=1).mean())
    best, peer_start = 0.0, time.process_time()
    for penalty in (0.02, 0.05, 0.1, 0.2):
        D = spams.trainDL(samples, K=100, lambda1=penalty, iter=300, numThreads=1, verbose=False)
        D = D / np.maximum(np.linalg.norm(D, axis=0), 1e-12)
        best = max(best, float(np.mean(np.abs(atoms @ D).max(axis=1) > 0.99)))
    return {
        "planted_rows_exact": 0.0 if peel is None else share_found(codes, peel.factor),
        "seconds": seconds,
        "spams_atoms_within_8_degrees": best,
        "spams_seconds_of_one_penalty": (time.process_time() - peer_start) / 4,
        "success": peel is not None,
    }


# --- fast transforms ---------------------------------------------------------------------------


def scrambled(A: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    n = len(A)
    A = A[rng.permutation(n)][:, rng.permutation(n)]
    return A * rng.choice([-1.0, 1.0], n)[:, None] * rng.choice([-1.0, 1.0], n)


def relative_error(A: np.ndarray, factors: list) -> float:
    product = reduce(lambda right, left: left @ right, factors[::-1], np.eye(len(A)))
    return float(np.linalg.norm(A - product) / np.linalg.norm(A))


def transform(
    A: np.ndarray, seed: int, *, error: float, nonzeros: float, seconds: float, noise: float = 0.0
) -> dict:
    rng = np.random.RandomState(seed)
    A = scrambled(A, rng)
    observed = A + noise * np.sqrt(np.mean(np.abs(A) ** 2)) * rng.normal(size=A.shape)
    start = time.process_time()
    factors = factorize_butterfly(observed, tol=max(1e-9, 4 * noise))
    took = time.process_time() - start
    reached = relative_error(A, factors)
    count = sum(factor.nnz for factor in factors)
    return {
        "relative_error": reached,
        "nonzeros": count,
        "share_of_dense": count / A.size,
        "n_factors": len(factors),
        "seconds": took,
        "success": reached <= error and count <= nonzeros and took <= seconds,
    }


def random_rotations(n: int, rng: np.random.RandomState) -> np.ndarray:
    """Butterfly of random plane rotations."""
    A, half = np.eye(n), 1
    while half < n:
        level = np.zeros((n, n))
        first = np.flatnonzero(np.arange(n) // half % 2 == 0)
        angle = rng.uniform(0, 2 * np.pi, len(first))
        level[first, first] = level[first + half, first + half] = np.cos(angle)
        level[first, first + half], level[first + half, first] = -np.sin(angle), np.sin(angle)
        A, half = level @ A, 2 * half
    return A


@case(group=GROUP, figure="scrambled Hadamard 1024: 1e-14 at 2 n log2 n non-zeros, 2 s")
def hadamard_1024(seed: int) -> dict:
    A = hadamard(1024).astype(float)
    return transform(A, seed, error=1e-14, nonzeros=20480, seconds=2)


@case(group=GROUP, figure="scrambled DFT 1024: 1e-14 at 2 n log2 n non-zeros, 2 s")
def fourier_1024(seed: int) -> dict:
    A = np.fft.fft(np.eye(1024))
    return transform(A, seed, error=1e-14, nonzeros=20480, seconds=2)


@case(group=GROUP, figure="scrambled DFT 720, mixed radix: 1e-14, n (2+2+2+2+3+3+5) non-zeros")
def fourier_720(seed: int) -> dict:
    A = np.fft.fft(np.eye(720))
    return transform(A, seed, error=1e-14, nonzeros=720 * 19, seconds=2)


@case(group=GROUP, figure="scrambled DCT-II 1024: below .05 n^2 non-zeros")
def cosine_1024(seed: int) -> dict:
    A = dct(np.eye(1024), axis=0, norm="ortho")
    return transform(A, seed, error=1e-14, nonzeros=0.05 * 1024**2, seconds=4)


@case(group=GROUP, figure="noise 1e-2 carried through a scrambled Hadamard 256")
def hadamard_256_noisy(seed: int) -> dict:
    A = hadamard(256).astype(float)
    return transform(A, seed, error=1e-2, nonzeros=4096, seconds=2, noise=1e-2)


@case(group=GROUP, figure="noise 1e-2 carried through a scrambled butterfly of 256 rotations")
def rotations_256_noisy(seed: int) -> dict:
    A = random_rotations(256, np.random.RandomState(seed))
    return transform(A, seed, error=1e-2, nonzeros=2 * 4096, seconds=4, noise=1e-2)


@case(group=GROUP, figure="a dense Gaussian matrix ends with an error, 2 s")
def gaussian_1024_refused(seed: int) -> dict:
    A = np.random.RandomState(seed).normal(size=(1024, 1024))
    start = time.process_time()
    try:
        factorize_butterfly(A)
        refused = False
    except ValueError:
        refused = True
    seconds = time.process_time() - start
    return {"seconds": seconds, "success": refused and seconds <= 2}


@case(
    group=GROUP,
    figure="pyfaust's butterfly on a scrambled Hadamard 256, and both in natural order",
    requires=("pyfaust",),
)
def hadamard_256_beside_pyfaust(seed: int) -> dict:
    from pyfaust.fact import butterfly

    rng = np.random.RandomState(seed)
    A = hadamard(256).astype(float)
    hidden = scrambled(A, rng)
    start = time.process_time()
    ours = relative_error(hidden, factorize_butterfly(hidden))
    seconds = time.process_time() - start
    start = time.process_time()
    found = butterfly(hidden, type="bbtree")
    peer_seconds = time.process_time() - start
    peer = float(np.linalg.norm(hidden - found.toarray()) / np.linalg.norm(hidden))
    start = time.process_time()
    natural_order_butterfly(A, 1e-7)
    known = time.process_time() - start
    start = time.process_time()
    butterfly(A, type="bbtree")
    return {
        "relative_error": ours,
        "seconds": seconds,
        "pyfaust_relative_error": peer,
        "pyfaust_seconds": peer_seconds,
        "natural_order_seconds": known,
        "pyfaust_natural_order_seconds": time.process_time() - start,
        "success": ours < 1e-14,
    }
