"""Tests t5x_lite/config/task.py; what a field alone refuses is in test_run.py."""

import pytest

from t5x_lite.config import MixtureConfig, TaskConfig, TokenizerConfig

ONE = TaskConfig(source="a.txt")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixtureConfig(tasks={}), r"task.mixture.tasks is empty: name at least one task"),
        (lambda: MixtureConfig(tasks={"a/b": ONE}), r"task.mixture.tasks has the name 'a/b': use only letters"),
        (lambda: MixtureConfig(tasks={"../x": ONE}), r"task.mixture.tasks has the name '../x'"),
        (
            lambda: MixtureConfig(tasks={"a": TaskConfig(tokenizer=TokenizerConfig(kind="bytes"))}),
            r"task.mixture.tasks.a has its own tokenizer: set task.tokenizer",
        ),
        (lambda: MixtureConfig(tasks={"a": ONE}, cap=0), r"task.mixture.cap is 0: use a number above 0"),
        (lambda: MixtureConfig(tasks={"a": ONE}, temperature=0), r"task.mixture.temperature is 0: "),
        (
            lambda: MixtureConfig(tasks={"a": ONE, "b": ONE}, rates={"a": 1}),
            r"task.mixture.rates is for a, but the tasks are a, b: give each task a rate",
        ),
        (lambda: MixtureConfig(tasks={"a": ONE}, rates={"a": 0}), r"task.mixture.rates.a is 0: use a number above 0"),
        (
            lambda: MixtureConfig(tasks={"a": ONE}, rates={"a": 1}, cap=5),
            r"task.mixture.rates is given together with cap or temperature",
        ),
        (
            lambda: TaskConfig(mixture=MixtureConfig(tasks={"a": ONE}), text="{t}"),
            r"task.text is '{t}' and task.mixture is given: set the field of a task, task.mixture.tasks.a.text",
        ),
    ],
)
def test_a_wrong_mixture_is_refused_with_its_field_and_a_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_mixture_shares_a_tokenizer():
    task = TaskConfig(mixture=MixtureConfig(tasks={"a": ONE}), tokenizer=TokenizerConfig(kind="bytes"))
    assert task.tokenizer.kind == "bytes"


def test_the_fields_given_are_those_not_at_their_defaults():
    assert TaskConfig(source="a.txt", min_characters=9).given() == {"source": "a.txt", "min_characters": 9}
    assert TaskConfig().given() == {}


def test_a_base_supplies_what_is_left_out():
    assert TaskConfig(base="own:TASK", inputs="{q}").targets is None
    assert TaskConfig(base="own:TASK", choices={"0": "no"}).choices == {"0": "no"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ("a", "b")}, r"task.labels is given without task.targets, whose classes they are: give both"),
        ({"inputs": "{q}", "targets": "{a}", "labels": ("a",)}, r"task.labels is \['a'\]: use two or more different"),
        ({"inputs": "{q}", "targets": "{a}", "labels": ("a", "a")}, r"task.labels is \['a', 'a'\]: use two or more"),
        ({"inputs": "{q}", "targets": "{a}", "labels": ("a", " ")}, r"task.labels is \['a', ' '\]"),
    ],
)
def test_labels_are_two_or_more_different_ones_of_targets(fields, message):
    with pytest.raises(ValueError, match=message):
        TaskConfig(**fields)
