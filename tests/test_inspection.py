"""The Display classes: matching, marks of identification, matplotlib only when asked for."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.utils import Bunch

from sklearn_nnrecover import RecoveryReport
from sklearn_nnrecover.datasets import make_relu_network
from sklearn_nnrecover.inspection import RecoveryDisplay, UnitsDisplay
from sklearn_nnrecover.inspection._axes import IDENTIFIED, NOT_IDENTIFIED


@pytest.fixture
def ax():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    return figure.add_subplot()


def random_network(seed, n_hidden=4, n_outputs=2):
    return make_relu_network(10, 5, n_hidden=n_hidden, n_outputs=n_outputs, random_state=seed)[2]


def shuffled(network, rng):
    """The same function: units permuted, their scale moved between the layers."""
    (W, A), (b, c) = network.coefs_, network.intercepts_
    order, scale = rng.permutation(W.shape[1]), rng.uniform(0.1, 10, W.shape[1])
    return Bunch(
        coefs_=[(W * scale)[:, order], (A / scale[:, None])[order]],
        intercepts_=[(b * scale)[order], c],
    ), order


def test_weights_are_matched_unit_by_unit(seed, rng, ax):
    truth = random_network(seed)
    network, order = shuffled(truth, rng)
    display = RecoveryDisplay.from_weights(network, truth, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.n_missed == 0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["4 units"]
    np.testing.assert_allclose(display.recovered, display.true, atol=1e-13)
    # One unit off by .25: its error shows, and only its.
    network.intercepts_[0] = network.intercepts_[0] + 0.25 * (order == 2) * np.linalg.norm(
        network.coefs_[0], axis=0
    )
    errors = RecoveryDisplay.from_weights(network, truth, ax=ax).errors
    assert errors[2] == pytest.approx(0.25)
    assert np.delete(errors, 2).max() < 1e-12


def test_identification_follows_the_units(seed, rng, ax):
    truth = random_network(seed)
    network, order = shuffled(truth, rng)
    network.report_ = RecoveryReport(
        "partial",
        "one is not seen",
        units=[{"unit": j, "identified": order[j] != 1} for j in range(4)],
    )
    display = RecoveryDisplay.from_estimator(network, truth, ax=ax)
    assert display.identified.tolist() == [True, False, True, True]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["3 units identified", "1 unit not pinned down"]


def test_missing_units_are_counted(seed, rng, ax):
    truth = random_network(seed)
    (W, A), (b, c) = truth.coefs_, truth.intercepts_
    fewer = [W[:, 1:], A[1:]], [b[1:], c]
    display = RecoveryDisplay.from_weights(fewer, truth, ax=ax)
    assert display.n_missed == 1
    assert "1 not found" in ax.get_title()
    np.testing.assert_allclose(display.recovered, display.true, atol=1e-13)


def test_scatter_options_and_no_inset(seed, ax):
    truth = random_network(seed)
    display = RecoveryDisplay.from_weights(truth, truth, ax=ax)
    assert len(ax.child_axes) == 1
    ax.clear()
    display.plot(ax, inset=False, color="black")
    assert ax.child_axes == []
    assert ax.collections[0].get_facecolor()[0, :3].tolist() == [0, 0, 0]


UNITS = [
    {"unit": 0, "identified": True, "n_active": 30, "n_inactive": 10, "active_rank": 6},
    {"unit": 1, "identified": False, "problem": "never active", "n_active": 0, "n_inactive": 40},
    {"unit": 2, "identified": False},
]


def test_units_are_named_with_their_problem(ax):
    from matplotlib.colors import to_rgba

    display = UnitsDisplay.from_report(RecoveryReport("partial", "as named", units=UNITS), ax=ax)
    np.testing.assert_array_equal(display.active, [0.75, 0, np.nan])
    assert [text.get_text() for text in ax.texts] == display.notes()
    assert display.notes() == [
        "active rows span all 6 dimensions",
        "never active",
        "not pinned down",
    ]
    assert [bar.get_facecolor()[:3] for bar in ax.patches] == [
        to_rgba(color)[:3] for color in (IDENTIFIED, NOT_IDENTIFIED, NOT_IDENTIFIED)
    ]
    assert ax.get_title() == "1 of 3 units identified"


def test_standard_errors_are_shown(ax):
    estimator = Bunch(
        report_=RecoveryReport("partial", "as named", units=UNITS),
        coefs_std_=[np.full((5, 3), 0.02), np.zeros((3, 1))],
        intercepts_std_=[np.array([0.05, np.inf, np.inf]), np.zeros(1)],
    )
    display = UnitsDisplay.from_estimator(estimator, ax=ax)
    assert display.notes()[0] == "standard errors up to 0.05"
    assert display.notes()[1] == "never active"


def test_a_figure_is_made_when_no_axes_are_given(monkeypatch, seed):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    truth = random_network(seed)
    display = RecoveryDisplay.from_weights(truth, truth)
    assert plt.fignum_exists(display.figure_.number)
    plt.close(display.figure_)


def test_missing_matplotlib_names_the_extra(monkeypatch, seed):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    truth = random_network(seed)
    with pytest.raises(ImportError, match=r"sklearn-nnrecover\[plots\]"):
        RecoveryDisplay.from_weights(truth, truth)
    with pytest.raises(ImportError, match=r"sklearn-nnrecover\[plots\]"):
        UnitsDisplay(UNITS).plot()
