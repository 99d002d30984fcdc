"""scikit-learn's own checks, with nothing expected to fail and the number that ran asserted."""

from __future__ import annotations

from unittest import SkipTest

import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import estimator_checks_generator

from tests.common.estimators import ENTRIES

# Useful checks of scikit-learn that check_estimator leaves out.
EXTRA_CHECKS = (
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_dataframe_column_names_consistency",
    "check_inplace_ensure_writeable",
    "check_get_feature_names_out_error",
)

SILENCING_TAGS = ("non_deterministic", "no_validation", "_skip_test")


def check_name(check):
    """Name of a check beneath its partials and decorators."""
    while hasattr(check, "__wrapped__") or hasattr(check, "func"):
        check = getattr(check, "__wrapped__", None) or check.func
    return check.__name__


def every_check():
    for entry in ENTRIES:
        for estimator, check in estimator_checks_generator(entry.estimator):
            name = check_name(check)
            yield pytest.param(entry, estimator, check, id=f"{entry.name}-{name}")


@pytest.mark.parametrize(("entry", "estimator", "check"), list(every_check()))
def test_check_estimator(entry, estimator, check):
    try:
        check(estimator)
    except SkipTest as skipped:
        assert check_name(check) in entry.allowed_skips, f"skipped: {skipped}"
        pytest.skip(str(skipped))


def test_number_of_checks(entry):
    checks = [check_name(check) for _, check in estimator_checks_generator(entry.estimator)]
    assert len(checks) >= entry.min_checks


def test_no_tag_silences_a_check(entry):
    tags = entry.estimator.__sklearn_tags__()
    assert not [tag for tag in SILENCING_TAGS if getattr(tags, tag)]
    assert tags.regressor_tags is None or not tags.regressor_tags.poor_score


# Some of these checks mix data frames and bare arrays on purpose.
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.parametrize("name", EXTRA_CHECKS)
def test_extra_checks(entry, name):
    getattr(estimator_checks, name)(entry.name, clone(entry.estimator))
