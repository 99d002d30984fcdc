"""Sparse vectors of a row space: the factor at the end of a chain, however dense the rest."""
