"""Numerical ground floor: NumPy and SciPy only, no estimator machinery."""
