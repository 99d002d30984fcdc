"""Recover the parameters behind data, with a report that says whether they can be trusted."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn_nnrecover.base.report import RecoveryReport
    from sklearn_nnrecover.dictionaries import TiedAutoencoder
    from sklearn_nnrecover.networks import ReLUNetRecovery, SymmetricMomentNet, SymmetricMoments
    from sklearn_nnrecover.products import SparseDeepFactorizer, factorize_butterfly

__version__ = "0.1.0"

__all__ = [
    "ReLUNetRecovery",
    "RecoveryReport",
    "SparseDeepFactorizer",
    "SymmetricMomentNet",
    "SymmetricMoments",
    "TiedAutoencoder",
    "__version__",
    "factorize_butterfly",
]

# Wings are imported when first asked for: whoever uses one does not pay for the others.
_HOMES = {
    "ReLUNetRecovery": "networks",
    "RecoveryReport": "base",
    "SparseDeepFactorizer": "products",
    "SymmetricMomentNet": "networks",
    "SymmetricMoments": "networks",
    "TiedAutoencoder": "dictionaries",
    "factorize_butterfly": "products",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
