"""Random networks that their samples determine."""

import numpy as np
import pytest

from sklearn_nnrecover.datasets import make_relu_network


@pytest.fixture
def well_seen_network(seed):
    """Draw networks until every unit is active on a good share of the samples, and inactive too.

    A random unit may be active on fewer rows than it has weights; no method can recover it then.
    """

    def draw(n_samples, n_features, **kwargs):
        for attempt in range(500):
            X, y, truth = make_relu_network(
                n_samples, n_features, random_state=(seed + attempt) % 2**32, **kwargs
            )
            active = np.mean(X @ truth.coefs_[0] + truth.intercepts_[0] > 0, axis=0)
            if np.all((active > 0.15) & (active < 0.85)):
                return X, y, truth
        raise AssertionError("no network with well seen units was drawn")

    return draw
