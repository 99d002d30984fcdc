"""Pictures of what was recovered, in the style of scikit-learn's Display objects.

Matplotlib is imported when a picture is drawn, never before.
"""

from sklearn_nnrecover.inspection._atoms_display import AtomsDisplay
from sklearn_nnrecover.inspection._recovery_display import RecoveryDisplay
from sklearn_nnrecover.inspection._units_display import UnitsDisplay

__all__ = ["AtomsDisplay", "RecoveryDisplay", "UnitsDisplay"]
