"""Tests t5x_lite/data/corpus/first_records.py"""

import json

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.first_records import check_first_records
from t5x_lite.data.sources import glimpse

PAIR = {"inputs": "say {word}", "targets": "{word}"}


def write(path, words):
    path.write_text("".join(json.dumps({"word": word}) + "\n" for word in words))
    return str(path)


def test_the_references_of_a_small_source_are_its_held_out_ones(tmp_path):
    source = write(tmp_path / "all.jsonl", "abcdefghijklmnopqrstuvwxyz")
    found = check_first_records(TaskConfig(source=source, eval_percent=30.0, **PAIR))
    assert found.is_whole
    assert 0 < len(found.references) < 26
    assert set(found.references[0]) == {"targets"}


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({"inputs": "say {wort}"}, r"all\.jsonl line 1 has no field 'wort', which task\.inputs"),
        ({"targets": "{word"}, r"task\.targets '{word' is not a valid template"),
        ({"choices": {"b": "c"}}, r"has the targets 'a', but task\.choices has only b"),
        ({"preprocess": "nosuch.module:f"}, r"task\.preprocess 'nosuch\.module:f' cannot be imported"),
        ({"eval_percent": 1e-9}, r"splits 26 documents into 26 for training and 0 held out"),
        ({"eval_source": "none.jsonl"}, r"task\.eval_source 'none\.jsonl' matches no file"),
    ],
)
def test_mistakes_in_a_task_show_in_its_first_records(tmp_path, task, problem):
    source = write(tmp_path / "all.jsonl", "abcdefghijklmnopqrstuvwxyz")
    with pytest.raises(ValueError, match=problem):
        check_first_records(TaskConfig(**{"source": source} | PAIR | task))


def test_a_split_of_a_large_source_is_not_called_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(glimpse, "WHOLE_BYTES", 64)
    source = write(tmp_path / "all.jsonl", "abcdefghijklmnopqrstuvwxyz")
    assert check_first_records(TaskConfig(source=source, eval_percent=1e-9, **PAIR)) == ([], False)


def test_templates_are_checked_even_if_no_record_can_be_read():
    task = TaskConfig(source="hf:owner/name@train", inputs="{a", targets="{b}")
    with pytest.raises(ValueError, match=r"task\.inputs '{a' is not a valid template"):
        check_first_records(task)
