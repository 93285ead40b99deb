"""Tests t5x_lite/config/task_checks.py"""

import pytest

from t5x_lite.config import MixtureConfig, TaskConfig, TokenizerConfig

TEXT = TaskConfig(source="a.txt")


@pytest.mark.parametrize(
    ("mixture", "problem"),
    [
        ({"tasks": {}}, r"task\.mixture\.tasks is empty"),
        ({"tasks": {"a b": TEXT}}, r"has the name 'a b': use only letters, digits, _ and -"),
        ({"tasks": {"a": TEXT}, "rates": {"b": 1}}, r"task\.mixture\.rates is for b, but the tasks are a"),
        ({"tasks": {"a": TEXT}, "rates": {"a": 0}}, r"task\.mixture\.rates\.a is 0: use a number above 0"),
        ({"tasks": {"a": TEXT}, "rates": {"a": 1}, "cap": 3}, r"given together with cap or temperature"),
        ({"tasks": {"a": TEXT}, "temperature": 0}, r"task\.mixture\.temperature is 0"),
        ({"tasks": {"a": TaskConfig(tokenizer=TokenizerConfig(kind="bytes"))}}, r"tasks\.a has its own tokenizer"),
    ],
)
def test_a_mixture_names_what_is_wrong_with_its_tasks_or_rates(mixture, problem):
    with pytest.raises(ValueError, match=problem):
        MixtureConfig(**mixture)


def test_a_mixture_does_not_set_fields_of_its_tasks():
    with pytest.raises(ValueError, match=r"set the field of a task, task\.mixture\.tasks\.a\.source"):
        TaskConfig(source="b.txt", mixture=MixtureConfig(tasks={"a": TEXT}))


@pytest.mark.parametrize("labels", [("yes",), ("yes", "yes"), ("yes", " ")])
def test_labels_are_two_or_more_that_differ(labels):
    with pytest.raises(ValueError, match=r"task\.labels is \['yes'.*: use two or more different labels"):
        TaskConfig(source="a.csv", inputs="{a}", targets="{b}", labels=labels)


def test_labels_are_those_of_targets():
    with pytest.raises(ValueError, match=r"task\.labels is given without task\.targets"):
        TaskConfig(source="a.csv", labels=("yes", "no"))
