"""Solvers of noiseless data: linear algebra and enumeration, no descent."""
