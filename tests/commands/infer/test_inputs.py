"""Tests t5x_lite/commands/infer/inputs.py; errors in files are tested in test_init.py."""

import io
import json

import pyarrow
import pyarrow.parquet
import pytest

import t5x_lite
from t5x_lite.commands.infer.inputs import open_inputs
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.records.rows import is_held_out

NUM_RECORDS, PERCENT = 40, 30.0


def options(**fields):
    return InferConfig(**{"checkpoint": "run"} | fields)


def read(**fields):
    with open_inputs(options(**fields)) as inputs:
        return list(inputs.texts), inputs.number


def write_records(path, name):
    path.write_text("\n".join(json.dumps({"q": f"{name} {number}"}) for number in range(NUM_RECORDS)))
    return str(path)


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Makes a Task of this module."""

    def make(**fields):
        fields = {"source": write_records(tmp_path / "train.jsonl", "train"), "eval_percent": PERCENT} | fields
        made = t5x_lite.Task(inputs="question: {q}", targets="{a}", **fields)
        monkeypatch.setattr("t5x_lite.tasks.OF_A_TEST", made, raising=False)
        return "t5x_lite.tasks:OF_A_TEST"

    return make


def test_a_pipe_is_read_as_it_comes(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo"))
    assert read() == (["one", "", "two"], None)


def test_lines_of_text_are_counted(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    assert read(input=str(tmp_path / "a.txt")) == (["one", "", "two"], 3)


def test_a_table_is_filled_into_the_template(tmp_path):
    (tmp_path / "a.csv").write_text('q,inputs\n"why, so",i\nhow,j\n')
    assert read(input=str(tmp_path / "a.csv")) == (["i", "j"], 2)
    assert read(input=str(tmp_path / "a.csv"), template="Q: {q}") == (["Q: why, so", "Q: how"], 2)


def test_parquet_folders_and_patterns_are_read(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"inputs": ["a", "b", "c"]}), tmp_path / "1.parquet")
    write_records(tmp_path / "2.jsonl", "more")
    assert read(input=str(tmp_path / "*.parquet")) == (["a", "b", "c"], 3)
    texts, number = read(input=str(tmp_path / "2*"), template="{q}")
    assert number == len(texts) == NUM_RECORDS
    assert texts[-1] == f"more {NUM_RECORDS - 1}"


def test_the_held_out_split_and_the_rest_are_a_tasks_source(task):
    asked = {"task": task()}
    held_out, rest = (read(split=split, **asked)[0] for split in ("eval", "train"))
    assert all(is_held_out(text, PERCENT) for text in held_out)
    assert not any(is_held_out(text, PERCENT) for text in rest)
    assert sorted(held_out + rest) == sorted(f"question: train {number}" for number in range(NUM_RECORDS))
    assert len(held_out) > 3


def test_an_eval_source_is_the_whole_held_out_split(task, tmp_path):
    asked = {"task": task(eval_source=write_records(tmp_path / "held.jsonl", "held"))}
    for split, name in (("eval", "held"), ("train", "train")):
        texts, number = read(split=split, **asked)
        assert texts == [f"question: {name} {n}" for n in range(NUM_RECORDS)]
        assert number == NUM_RECORDS


def test_a_bad_record_of_a_split_is_an_error_or_is_skipped(task, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"q": "fine"}\n{"x": 1}\n{"q": "too"}\n')
    with pytest.raises(ValueError, match=r"bad.jsonl line 2 .*q"):
        read(split="eval", task=task(eval_source=str(tmp_path / "bad.jsonl")))
    name = task(eval_source=str(tmp_path / "bad.jsonl"), bad_records="skip")
    assert read(split="eval", task=name) == (["question: fine", "question: too"], None)


def test_a_split_without_its_task_or_beside_an_input_is_refused():
    for fields in ({"split": "eval"}, {"split": "eval", "task": "a.b:C", "input": "x.txt"}):
        with pytest.raises(ValueError, match="give --split with --task and"):
            options(**fields)


def test_different_inputs_have_different_identities(tmp_path, task):
    path = tmp_path / "a.txt"
    path.write_text("one")
    found = []
    for content in ("one", "other"):
        path.write_text(content)
        with open_inputs(options(input=str(path))) as inputs:
            found.append(inputs.identity)
    name = task()
    for split in ("train", "eval"):
        with open_inputs(options(split=split, task=name)) as inputs:
            found.append(inputs.identity)
    assert all(one != other for n, one in enumerate(found) for other in found[:n])
