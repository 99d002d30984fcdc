"""Measured claims: ``python -m benchmarks --group networks --seeds 0-9 --out results.json``.

One module per wing registers its cases (see `benchmarks.registry`); `benchmarks.run` runs them,
seed by seed, and writes what was measured, with which versions, as JSON.
"""
