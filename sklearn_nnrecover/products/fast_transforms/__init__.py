"""Chains of butterfly factors behind a dense matrix, rows and columns permuted or not."""
