"""What every estimator of the library promises beyond scikit-learn's own checks."""

from __future__ import annotations

import json
import numbers
import pickle
from io import StringIO

import joblib
import numpy as np
import pytest
import rich
import scipy.sparse as sp
import skops.io
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from sklearn_nnrecover import RecoveryReport

OUTPUTS = ("transform", "predict")


def outputs(estimator, X):
    """Everything that the fitted estimator computes from X, by method."""
    return {name: getattr(estimator, name)(X) for name in OUTPUTS if hasattr(estimator, name)}


def assert_same_outputs(first, second, X, X_second=None, **tolerance):
    computed = outputs(first, X)
    expected = outputs(second, X if X_second is None else X_second)
    assert computed.keys() == expected.keys()
    assert computed
    for name, values in computed.items():
        compare = np.testing.assert_allclose if tolerance else np.testing.assert_array_equal
        compare(_dense(values), _dense(expected[name]), err_msg=name, **tolerance)


def _dense(values):
    return values.toarray() if sp.issparse(values) else np.asarray(values)


def fitted_attributes(estimator):
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_")
    }


def is_plain(value):
    """Whether a value is an array, a number, text, or a collection of these."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(is_plain, value.values()))
    if isinstance(value, np.ndarray):
        return value.dtype != object or all(isinstance(item, str) for item in value.ravel())
    return (
        value is None
        or sp.issparse(value)
        or isinstance(value, str | numbers.Number | np.bool_ | RecoveryReport)
    )


class TestFit:
    def test_a_clone_fits_the_same_bits(self, estimator, data):
        X, y = data
        assert_same_outputs(estimator.fit(X, y), clone(estimator).fit(X, y), X)

    def test_the_caller_is_left_alone(self, estimator, data):
        X, y = data
        before, parameters = X.copy(), estimator.get_params()
        state = np.random.get_state()[1].copy()
        outputs(estimator.fit(X, y), X)
        np.testing.assert_array_equal(X, before)
        assert estimator.get_params() == parameters
        np.testing.assert_array_equal(np.random.get_state()[1], state)

    def test_fitted_attributes_are_plain_and_finite(self, estimator, data):
        attributes = fitted_attributes(estimator.fit(*data))
        assert [name for name, value in attributes.items() if not is_plain(value)] == []
        for name, value in attributes.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and "std" not in name:
                assert np.isfinite(value).all(), name

    def test_at_least_one_iteration(self, estimator, data):
        n_iter = estimator.fit(*data).n_iter_
        assert isinstance(n_iter, numbers.Integral)
        assert n_iter >= 1

    def test_float32_in_float32_out(self, entry, estimator, data):
        X, y = data
        X = X.astype(np.float32)
        y = None if y is None else y.astype(np.float32)
        estimator.fit(X, y)
        if hasattr(estimator, "transform"):
            assert estimator.transform(X).dtype == np.float32
        if entry.supervised:
            assert estimator.predict(X).dtype == np.float32

    def test_read_only_memory_map(self, estimator, data, tmp_path):
        joblib.dump(data, tmp_path / "data.joblib")
        X, y = joblib.load(tmp_path / "data.joblib", mmap_mode="r")
        assert not X.flags.writeable
        assert_same_outputs(estimator.fit(X, y), clone(estimator).fit(*data), X)

    def test_memory_order_does_not_matter(self, estimator, data):
        X, y = data
        fortran = clone(estimator).fit(np.asfortranarray(X), None if y is None else y.copy("F"))
        assert_same_outputs(fortran, estimator.fit(X, y), X, rtol=1e-6, atol=1e-8)


class TestStored:
    def test_pickle(self, estimator, data):
        X, y = data
        restored = pickle.loads(pickle.dumps(estimator.fit(X, y)))
        assert_same_outputs(restored, estimator, X)
        assert restored.report_ == estimator.report_

    def test_skops_trusts_all_but_our_own_names(self, estimator, data):
        X, y = data
        stored = skops.io.dumps(estimator.fit(X, y))
        untrusted = skops.io.get_untrusted_types(data=stored)
        # skops trusts scipy's sparse matrices, not yet its sparse arrays.
        known = ("sklearn_nnrecover.", "scipy.sparse._csr.csr_array")
        assert [name for name in untrusted if not name.startswith(known)] == []
        restored = skops.io.loads(stored, trusted=untrusted)
        assert_same_outputs(restored, estimator, X)
        assert restored.report_ == estimator.report_


class TestReport:
    def test_report_is_plain_data(self, estimator, data):
        report = estimator.fit(*data).report_
        assert isinstance(report, RecoveryReport)
        restored = json.loads(json.dumps(report.to_dict()))
        assert RecoveryReport.from_dict(restored) == report
        assert report.reason
        assert report.conditions

    def test_report_is_shown(self, estimator, data):
        report = estimator.fit(*data).report_
        assert report.status in str(report)
        assert report.status in report._repr_html_()


class TestTools:
    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_data_frames(self, library, estimator, data):
        frames = pytest.importorskip(library)
        X, y = data
        names = [f"column {j}" for j in range(X.shape[1])]
        frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
        estimator.set_output(transform=library).fit(frame, y)
        assert list(estimator.feature_names_in_) == names
        transformed = estimator.transform(frame)
        assert isinstance(transformed, frames.DataFrame)
        assert list(transformed.columns) == list(estimator.get_feature_names_out())
        expected = clone(estimator).set_output(transform="default").fit(X, y).transform(X)
        np.testing.assert_allclose(transformed.to_numpy(), expected, rtol=1e-6, atol=1e-8)

    def test_pipeline(self, estimator, data):
        X, y = data
        pipeline = make_pipeline(StandardScaler(), estimator).fit(X, y)
        scaled = StandardScaler().fit_transform(X)
        direct = clone(estimator).fit(scaled, y)
        assert_same_outputs(pipeline, direct, X, scaled, rtol=1e-6, atol=1e-8)

    def test_cross_validation(self, estimator, data):
        X, y = data
        results = cross_validate(estimator, X, y, cv=3, error_score="raise")
        assert np.isfinite(results["test_score"]).all()

    def test_sample_weight_is_routed(self, estimator, data):
        if not has_fit_parameter(estimator, "sample_weight"):
            pytest.skip("takes no sample_weight")
        X, y = data
        weight = np.arange(len(X)) % 3
        with config_context(enable_metadata_routing=True):
            pipeline = make_pipeline(estimator.set_fit_request(sample_weight=True))
            pipeline.fit(X, y, sample_weight=weight)
        direct = clone(estimator).fit(X, y, sample_weight=weight)
        assert_same_outputs(pipeline, direct, X)
        repeated = clone(estimator).fit(X.repeat(weight, axis=0), y.repeat(weight, axis=0))
        assert_same_outputs(direct, repeated, X, rtol=1e-6, atol=1e-8)

    def test_representations(self, estimator, data):
        estimator.fit(*data)
        assert type(estimator).__name__ in repr(estimator)
        assert "report_" in estimator._repr_html_()


class Counting:
    """Callback that counts finished tasks."""

    def __init__(self):
        self.begun = self.ended = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun += 1

    def on_fit_task_end(self, estimator, context):
        self.ended += 1


class TestCallbacks:
    def test_tasks_are_counted_and_change_nothing(self, estimator, data):
        X, y = data
        counting = Counting()
        watched = clone(estimator).set_callbacks(counting).fit(X, y)
        assert counting.ended >= 1
        assert counting.begun == counting.ended
        assert_same_outputs(watched, estimator.fit(X, y), X)

    def test_progress_bar(self, estimator, data, monkeypatch):
        shown = StringIO()
        monkeypatch.setattr(rich, "_console", rich.console.Console(file=shown, force_terminal=True))
        estimator.set_callbacks(ProgressBar()).fit(*data)
        assert type(estimator).__name__ in shown.getvalue()
