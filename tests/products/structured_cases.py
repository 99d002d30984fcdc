"""Structured products with a known verdict, shared by several test modules."""

from __future__ import annotations

import numpy as np

from sklearn_nnrecover.products.structures import (
    Basis,
    Convolution,
    Diagonal,
    Subspace,
    butterfly_levels,
)


def product_of(structures, parameters):
    """The product of the matrices with these parameters, dense."""
    product = None
    for structure, h in zip(structures, parameters, strict=True):
        matrix = structure.matrix(h)
        matrix = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
        product = matrix if product is None else product @ matrix
    return product


def gaussian(rng, n_factors, n_parameters, order):
    return [Basis(rng.standard_normal((n_parameters, order, order))) for _ in range(n_factors)]


def dilated_convolutions(n_factors, n_parameters, n=80):
    return [
        Convolution(n, n_parameters, dilation=n_parameters**k, boundary="full")
        if k == n_factors - 1
        else Convolution(
            n + sum((n_parameters - 1) * n_parameters**j for j in range(k + 1, n_factors)),
            n_parameters,
            dilation=n_parameters**k,
            boundary="full",
        )
        for k in range(n_factors)
    ]


def contiguous_convolutions(n_factors, n_parameters, n=40):
    return [Convolution(n, n_parameters) for _ in range(n_factors)]


def blind_deconvolution(rng, n=60, kernel=5, dimension=10):
    return [Convolution(n, kernel), Subspace(rng.standard_normal((n, dimension)))]


def self_calibration(rng, n=12, dimension=6, n_snapshots=8):
    return [Diagonal(n), Basis(rng.standard_normal((dimension, n, n_snapshots)))]


# name -> (structures of a random generator, columns, kernel, gauge dimension)
IDENTIFIABLE = {
    "dilated 2 x 5": (lambda rng: dilated_convolutions(2, 5), 25, 1),
    "dilated 3 x 4": (lambda rng: dilated_convolutions(3, 4), 64, 2),
    "blind deconvolution": (blind_deconvolution, 50, 1),
    "self-calibration": (self_calibration, 72, 1),
    "Gaussian K=3 S=6": (lambda rng: gaussian(rng, 3, 6, 16), 216, 2),
    "Gaussian K=4 S=5": (lambda rng: gaussian(rng, 4, 5, 26), 625, 3),
    "butterfly 4": (lambda rng: butterfly_levels(4), 16, 1 + 3),
    "butterfly 8": (lambda rng: butterfly_levels(8), 64, 2 + 14),
    "butterfly 16": (lambda rng: butterfly_levels(16), 256, 3 + 45),
}
AMBIGUOUS = {
    "contiguous 2 x 5": (lambda rng: contiguous_convolutions(2, 5), 25, 16),
    "contiguous 3 x 4": (lambda rng: contiguous_convolutions(3, 4), 64, 54),
}
