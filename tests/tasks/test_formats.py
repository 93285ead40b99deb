"""Tests t5x_lite/tasks/formats.py"""

import pytest

from t5x_lite.data.sources.base import BadRecord
from t5x_lite.tasks.formats import Classification, class_word, from_tfds, take, take_texts

RECORD = {"text": "a", "number": 2, "idx": {"query": 7}, "answers": {"text": ["b", "c"]}, "mixed": ["b", 1]}


def test_a_task_reads_two_splits_and_is_filled_in_by_its_function():
    task = from_tfds("x/y:1.2.0", preprocess="a.b:c", metrics=("rouge",), splits=("first", "second"))
    assert (task.source, task.eval_source) == ("tfds:x/y:1.2.0@first", "tfds:x/y:1.2.0@second")
    assert (task.preprocess, task.inputs, task.targets, task.metrics) == ("a.b:c", "{inputs}", "{targets}", ("rouge",))


def test_templates_alone_make_a_task():
    task = from_tfds("x:1.2.0", inputs="say {a}", targets="{b}")
    assert (task.preprocess, task.inputs, task.targets, task.metrics) == (None, "say {a}", "{b}", ())
    assert (task.source, task.eval_source) == ("tfds:x:1.2.0@train", "tfds:x:1.2.0@validation")


def test_nested_fields_are_taken():
    assert take(RECORD, "text", str) == "a"
    assert take(RECORD, "number", float, int) == 2
    assert take(RECORD, "idx.query", int) == 7
    assert take_texts(RECORD, "answers.text") == ["b", "c"]


@pytest.mark.parametrize(
    ("read", "name", "found"),
    [
        (lambda name: take(RECORD, name, str), "title", "nothing in 'title', but T5's format needs str"),
        (lambda name: take(RECORD, name, str), "idx", "dict in 'idx', but T5's format needs str"),
        (lambda name: take(RECORD, name, int), "text.query", "nothing in 'text.query', but T5's format needs int"),
        (lambda name: take_texts(RECORD, name), "text", "str in 'text', but T5's format needs list"),
        (lambda name: take_texts(RECORD, name), "mixed", "a list with int in 'mixed', .* needs a list of str"),
    ],
)
def test_the_error_of_a_missing_field_or_wrong_type_lists_the_fields(read, name, found):
    with pytest.raises(BadRecord, match=f"a record has {found}.*; its fields are text, number, idx, .*: read the"):
        read(name)


@pytest.mark.parametrize(("label", "word"), [(0, "no"), (1, "yes"), (2, "so so"), (-1, "<unk>")])
def test_a_label_becomes_its_word(label, word):
    assert class_word({"label": label}, ["no", "yes", "so so"]) == word


@pytest.mark.parametrize("label", [3, -2])
def test_the_error_of_an_unknown_label_lists_the_classes(label):
    message = rf"a record has {label} in 'label', .* are 0 to 2 \(no, yes, so so\), or -1 if unknown: fix"
    with pytest.raises(BadRecord, match=message):
        class_word({"label": label}, ["no", "yes", "so so"])


def test_a_classification_is_its_template_and_its_words():
    assert Classification("set b: {b} a: {a}", ("no", "yes"))({"a": "x", "b": "y", "label": 1, "idx": 3}) == {
        "inputs": "set b: y a: x",
        "targets": "yes",
    }
