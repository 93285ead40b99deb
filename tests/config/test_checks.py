"""Tests t5x_lite/config/checks.py"""

import types

import pytest

from t5x_lite.config import ModelConfig, TaskConfig
from t5x_lite.config.checks import NON_NEGATIVE, POSITIVE, between, check_fields, not_empty, require
from t5x_lite.config.generation import GenerationConfig

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


@pytest.mark.parametrize("field", ["text", "source", "min_characters", "bad_records", "metrics", "tokenizer"])
def test_none_is_refused_where_the_type_does_not_have_it(field):
    with pytest.raises(ValueError, match=f"^task.{field} is null: give it a value, or leave it out"):
        TaskConfig(**{field: None})
    TaskConfig(mixture=None, inputs=None, columns=None, eval_source=None)


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


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: TaskConfig(targets="{y}", inputs="{x}", labels="yes"), "task.labels"),
        (lambda: TaskConfig(metrics="f1"), "task.metrics"),
        (lambda: TaskConfig(columns=b"ab"), "task.columns"),
        (lambda: ModelConfig(mlp_activations="gelu"), "mlp_activations"),
        (lambda: GenerationConfig(banned_tokens="12"), "banned_tokens"),
    ],
)
def test_a_text_for_a_field_of_several_values_is_refused_not_split_into_letters(make, field):
    with pytest.raises(TypeError, match=rf"{field} is the text b?'\w+': give a list, such as \["):
        make()


def test_a_field_of_one_or_several_values_takes_a_text():
    assert TaskConfig(source="a.txt").source == "a.txt"
