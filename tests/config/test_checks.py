"""Tests t5x_lite/config/checks.py"""

import types

import pytest

from t5x_lite.config.checks import NON_NEGATIVE, POSITIVE, between, check_fields, not_empty, require

CONFIG = types.SimpleNamespace(
    none=None, zero=0, one=1, below=-1, nan=float("nan"), text="x", empty="", hole=("a", ""), nothing=()
)


def test_a_condition_that_does_not_hold_is_an_error():
    require(True, "unused")
    with pytest.raises(ValueError, match="the message"):
        require(False, "the message")


def test_values_that_satisfy_their_rules_and_none_are_accepted():
    rules = {POSITIVE: "one none", NON_NEGATIVE: "zero one none", between(-1, 1): "below one", not_empty("x"): "text"}
    check_fields(CONFIG, "part.", rules)


@pytest.mark.parametrize(
    ("rule", "fields", "message"),
    [
        (POSITIVE, "one zero", "part.zero is 0: use a number above 0"),
        (POSITIVE, "nan", "part.nan is nan: use a number above 0"),
        (NON_NEGATIVE, "below", "part.below is -1: use 0 or more"),
        (between(0, 9), "below", "part.below is -1: use a number from 0 to 9"),
        (not_empty("name one"), "empty", "part.empty is empty: name one"),
        (not_empty("name one"), "hole", r"part.hole is \['a', ''\]: name one"),
        (not_empty("name one"), "nothing", r"part.nothing is \[\]: name one"),
    ],
)
def test_a_violated_rule_names_the_field_the_value_and_the_remedy(rule, fields, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_fields(CONFIG, "part.", {rule: fields})
