"""Structured products: liftings, certificates, and least squares over their parameters."""
