"""Tests t5x_lite/config/checks.py"""

import types

import pytest

from t5x_lite.config.checks import require, require_at_least_zero, require_positive

OWNER = types.SimpleNamespace(none=None, zero=0, one=1, below=-1)


def test_a_condition_that_does_not_hold_is_an_error():
    require(True, "unused")
    with pytest.raises(ValueError, match="the message"):
        require(False, "the message")


def test_a_number_above_zero_is_positive_and_none_is_not_checked():
    require_positive("part", OWNER, "one", "none")
    with pytest.raises(ValueError, match=r"part.zero is 0: use a number above 0"):
        require_positive("part", OWNER, "one", "zero")


def test_zero_is_at_least_zero():
    require_at_least_zero("part", OWNER, "zero", "none")
    with pytest.raises(ValueError, match=r"part.below is -1: use 0 or more"):
        require_at_least_zero("part", OWNER, "below")
