"""Estimates from moments of the inputs and outputs, of samples or of sums over them."""
