"""Dictionaries: samples that are sparse combinations of atoms, or noisy copies of one."""

from sklearn_nnrecover.dictionaries._tied_autoencoder import TiedAutoencoder

__all__ = ["TiedAutoencoder"]
