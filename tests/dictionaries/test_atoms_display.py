"""The mosaic: every atom in its tile, frames around those that are not identified."""

import numpy as np
import pytest
from sklearn.utils import Bunch

from sklearn_nnrecover import RecoveryReport
from sklearn_nnrecover.inspection import AtomsDisplay


@pytest.fixture
def ax():
    return pytest.importorskip("matplotlib.figure").Figure().add_subplot()


def fitted(rng, identified, n_features=12):
    units = [{"atom": j, "identified": known} for j, known in enumerate(identified)]
    return Bunch(
        components_=rng.standard_normal((len(identified), n_features)),
        report_=RecoveryReport("partial", "for a test", units=units),
    )


def test_every_atom_in_its_tile(rng, ax):
    estimator = fitted(rng, [True, False, True, True, False])
    display = AtomsDisplay.from_estimator(estimator, image_shape=(3, 4), ax=ax)
    assert display.ax_ is ax
    mosaic = np.asarray(ax.images[0].get_array().filled(np.nan))
    assert mosaic.shape == (2 * 4 + 1, 3 * 5 + 1)
    for j, atom in enumerate(estimator.components_):
        top, left = j // 3 * 4 + 1, j % 3 * 5 + 1
        expected = atom.reshape(3, 4) / np.abs(atom).max()
        np.testing.assert_allclose(mosaic[top : top + 3, left : left + 4], expected)
    assert len(ax.lines) == 2


def test_square_by_default_and_limited(rng, ax):
    display = AtomsDisplay.from_estimator(fitted(rng, [True] * 9, 16), max_atoms=4, ax=ax)
    assert display.atoms.shape == (4, 4, 4)
    assert not ax.lines


def test_shape_must_fit(rng, ax):
    with pytest.raises(ValueError, match="12 entries"):
        AtomsDisplay.from_estimator(fitted(rng, [True]), image_shape=(5, 2), ax=ax)
