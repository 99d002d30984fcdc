"""Fixtures of the common tests; `RecoveryWarning` is the only warning that they ignore."""

import pytest
from sklearn.base import clone

from tests.common.estimators import ENTRIES


def pytest_collection_modifyitems(items):
    folder = __file__.rpartition("conftest")[0]
    for item in items:
        if str(item.path).startswith(folder):
            item.add_marker(
                pytest.mark.filterwarnings("ignore::sklearn_nnrecover.exceptions.RecoveryWarning")
            )


@pytest.fixture(params=ENTRIES, ids=lambda entry: entry.name)
def entry(request):
    return request.param


@pytest.fixture
def estimator(entry):
    """A clone with a fixed seed."""
    estimator = clone(entry.estimator)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    return estimator


@pytest.fixture
def data(entry, rng):
    """Fresh ``(X, y)`` that the estimator's model generated; ``y`` may be None."""
    return entry.make_data(rng)
