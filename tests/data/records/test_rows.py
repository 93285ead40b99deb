"""Tests t5x_lite/data/records/rows.py"""

import json

import numpy as np
import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.rows import LeftOut, is_held_out, read_rows
from t5x_lite.data.sources import open_source
from t5x_lite.data.sources.base import BadRecord


def task(source, **fields):
    return TaskConfig(source=source, **{"min_characters": 0, **fields})


def read(task, cache):
    """The texts of all rows, and what was left out."""
    source, skipped = open_source(task, task.source, cache)
    left_out = LeftOut(skipped=skipped)
    rows = list(read_rows(task, source, range(len(source)), left_out))
    return [row.texts for row in rows], left_out.num_short, left_out.skipped


def write(path, *records):
    path.write_text("".join(record if isinstance(record, str) else json.dumps(record) + "\n" for record in records))
    return str(path)


def test_documents_are_the_template_filled_in_over_all_files(tmp_path):
    first = write(tmp_path / "b.jsonl", {"title": "B", "text": "bee"})
    second = write(tmp_path / "a.csv", "title,text\nA,ay\n")
    documents = read(task((first, second), text="{title}: {text}"), tmp_path / "cache")
    assert documents == ([("B: bee",), ("A: ay",)], 0, [])


def test_short_documents_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "12345"}, {"text": "1234"}, {"text": "  1234  "}, {"text": ""})
    assert read(task(path, min_characters=5), tmp_path) == ([("12345",)], 3, [])
    assert read(task(path), tmp_path)[:2] == ([("12345",), ("1234",), ("  1234  ",)], 1)


BAD = ('{"text": "good"}\n', "{broken\n", '{"title": "no text"}\n', '["list"]\n', '{"text": "\\ud800"}\n')


def test_the_first_bad_record_ends_the_run_with_its_line_and_the_remedy(tmp_path):
    path = write(tmp_path / "a.jsonl", *BAD)
    with pytest.raises(BadRecord, match=r"a.jsonl line 2 is not valid JSON .*; or set task.bad_records to skip"):
        read(task(path), tmp_path)


def test_bad_records_and_empty_files_are_skipped_and_reported_on_request(tmp_path):
    path, empty = write(tmp_path / "a.jsonl", *BAD), write(tmp_path / "empty.csv")
    texts, _, skipped = read(task((path, empty), bad_records="skip"), tmp_path)
    assert texts == [("good",)]
    wheres = [reason.split("a.jsonl ")[-1].split(" ")[1] for reason in skipped[1:]]
    assert "empty.csv is empty" in skipped[0]
    assert wheres == ["2", "3", "4", "5"]


PAIRS = {"inputs": "q: {q}", "targets": "{a}"}


def test_only_the_records_asked_for_are_read(tmp_path):
    path = write(tmp_path / "a.jsonl", *({"text": str(i)} for i in range(9)))
    source, _ = open_source(task(path), path, tmp_path)
    assert [row.texts[0] for row in read_rows(task(path), source, [7, 2], LeftOut())] == ["7", "2"]


def test_the_held_out_share_is_eval_percent():
    share = np.mean([is_held_out(f"document {i}", 5.0) for i in range(10_000)])
    np.testing.assert_allclose(share, 0.05, atol=4 * np.sqrt(0.05 * 0.95 / 10_000))


def test_a_larger_share_holds_out_the_same_documents_and_more():
    small, large = ({i for i in range(2_000) if is_held_out(f"document {i}", share)} for share in (10.0, 20.0))
    assert small < large


def test_the_split_never_changes():
    """Another hash would move held-out documents into the training text of old runs."""
    assert [i for i in range(9) if is_held_out(f"document {i}", 40.0)] == [6, 7, 8]
