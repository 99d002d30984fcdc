"""The network as arrays, its activations, and the samples in an orthonormal design."""
