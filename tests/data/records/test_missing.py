"""Tests t5x_lite/data/records/missing.py"""

import math

import numpy as np
import pytest

from t5x_lite.data.records.missing import is_missing, without_missing


@pytest.mark.parametrize("value", [None, math.nan, np.float32("nan"), np.float64("nan"), np.float16("nan")])
def test_null_and_nan_are_missing(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, 0.0, math.inf, False, "", "nan", "None", "null", [], {}, [math.nan], np.int64(0)])
def test_other_values_are_not(value):
    assert not is_missing(value)


@pytest.mark.parametrize("name", ["NA", "NaT", "NaN"])
def test_the_missing_values_of_pandas_are(name):
    pandas = pytest.importorskip("pandas")
    assert is_missing(getattr(pandas, name, math.nan))


def test_lists_lose_their_missing_items():
    assert without_missing(["a", None, math.nan, ""]) == ["a", ""]
    assert without_missing(math.nan) is None
    assert without_missing("a") == "a"
