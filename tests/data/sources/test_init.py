"""Tests t5x_lite/data/sources/__init__.py."""

import json

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources import open_source, read_documents
from t5x_lite.data.sources.records import BadRecord


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_source.py").write_text(
        "def records():\n    return [{'title': 'T', 'text': 'one'}, 'two']\n\n\ndef endless():\n    yield 'one'\n\n\n"
        "CONSTANT = ['three']\n\n\ndef of(name):\n    return [name]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def task(source, **fields):
    return TaskConfig(source=source, **{"min_characters": 0, **fields})


def read(task, cache):
    return read_documents(task, task.source, cache)


def write(path, *records):
    path.write_text("".join(record if isinstance(record, str) else json.dumps(record) + "\n" for record in records))
    return str(path)


def test_documents_are_the_template_filled_in_over_all_files(tmp_path, module):
    first = write(tmp_path / "b.jsonl", {"title": "B", "text": "bee"})
    second = write(tmp_path / "a.csv", "title,text\nA,ay\n")
    documents = read(task((first, second), text="{title}: {text}"), tmp_path / "cache")
    assert documents == ([("B: bee",), ("A: ay",)], 0, [])


def test_a_python_function_or_a_constant_is_a_source(tmp_path, module):
    documents = read(task(("own_source:records", "own_source:CONSTANT")), tmp_path)
    assert documents.rows == [("one",), ("two",), ("three",)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "own_source:absent",
            r"'own_source:absent' cannot be imported \(.*has no attribute 'absent'\): name a function",
        ),
        ("no_such_module:records", r"cannot be imported \(No module named 'no_such_module'\)"),
        ("own_source:of", r"'own_source:of' needs arguments \(missing a required argument: 'name'\): name a function"),
        ("own_source:endless", r"'own_source:endless' gave a generator: make it return a list"),
    ],
)
def test_a_function_that_does_not_serve_is_refused(tmp_path, module, source, message):
    with pytest.raises(ValueError, match=message):
        read(task(source), tmp_path)


def test_short_documents_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "12345"}, {"text": "1234"}, {"text": "  1234  "}, {"text": ""})
    assert read(task(path, min_characters=5), tmp_path) == ([("12345",)], 3, [])
    assert read(task(path), tmp_path)[:2] == ([("12345",), ("1234",), ("  1234  ",)], 1)


BAD = ('{"text": "good"}\n', "{broken\n", '{"title": "no text"}\n', '["list"]\n', '{"text": "\\ud800"}\n')


def test_the_first_bad_record_ends_the_run_with_its_line_and_the_remedy(tmp_path):
    path = write(tmp_path / "a.jsonl", *BAD)
    with pytest.raises(BadRecord, match=r"a.jsonl line 2 is not valid JSON .*; or set task.bad_records to skip"):
        read(task(path), tmp_path)


def test_bad_records_and_empty_files_are_skipped_and_told_where_asked(tmp_path):
    path, empty = write(tmp_path / "a.jsonl", *BAD), write(tmp_path / "empty.csv")
    documents = read(task((path, empty), bad_records="skip"), tmp_path)
    assert documents.rows == [("good",)]
    wheres = [reason.split("a.jsonl ")[-1].split(" ")[1] for reason in documents.skipped[1:]]
    assert "empty.csv is empty" in documents.skipped[0]
    assert wheres == ["2", "3", "4", "5"]


def test_an_empty_file_ends_the_run(tmp_path):
    with pytest.raises(BadRecord, match=r"empty.txt is empty: fill or remove it; or set task.bad_records to skip"):
        read(task(write(tmp_path / "empty.txt")), tmp_path)


def test_a_source_with_nothing_to_learn_from_says_why(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "short"}, {"title": "no text"})
    message = r"has nothing to learn from: 1 are shorter than task.min_characters 9, and 1 were skipped, the first"
    with pytest.raises(ValueError, match=message):
        read(task(path, min_characters=9, bad_records="skip"), tmp_path)
    with pytest.raises(ValueError, match="has nothing to learn from: its files are empty"):
        open_source(task("unused", bad_records="skip"), write(tmp_path / "empty.txt"), tmp_path)


PAIRS = {"inputs": "q: {q}", "targets": "{a}"}


def test_a_supervised_task_has_inputs_and_targets(tmp_path):
    path = write(tmp_path / "a.jsonl", {"q": "one", "a": 1}, {"q": "two", "a": None}, {"q": "", "a": "3"})
    documents = read(task(path, bad_records="skip", **PAIRS), tmp_path)
    assert documents.rows == [("q: one", "1"), ("q: ", "3")]
    assert "a.jsonl line 2 has no field 'a', which task.targets '{a}' asks for; it has q, a" in documents.skipped[0]


def test_choices_name_the_values_of_targets(tmp_path):
    path = write(tmp_path / "a.jsonl", {"q": "one", "a": 1}, {"q": "two", "a": 2})
    with pytest.raises(BadRecord, match=r"line 2 has the targets '2', and task.choices names 0, 1: add it there"):
        read(task(path, choices={"0": "no", "1": "yes"}, **PAIRS), tmp_path)
    assert read(task(path, choices={"1": "yes", "2": "perhaps"}, **PAIRS), tmp_path).rows[1] == ("q: two", "perhaps")
