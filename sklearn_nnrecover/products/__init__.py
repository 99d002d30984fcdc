"""Products of sparse or structured matrices: ``X = scale * F[0] @ F[1] @ ... @ F[L-1]``."""

from sklearn_nnrecover.products._sparse_deep_factorizer import SparseDeepFactorizer
from sklearn_nnrecover.products.fast_transforms.butterflies import factorize_butterfly

__all__ = ["SparseDeepFactorizer", "factorize_butterfly"]
