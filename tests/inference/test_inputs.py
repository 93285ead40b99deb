"""Tests t5x_lite/inference/inputs.py; errors in files are tested in commands/test_infer.py."""

import gzip
import io
import json

import pyarrow
import pyarrow.parquet
import pytest

import t5x_lite
from t5x_lite.config.commands import InferConfig
from t5x_lite.data.records.rows import is_held_out
from t5x_lite.data.sources import open_source
from t5x_lite.inference.inputs import open_inputs

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


def test_the_source_of_a_task_is_not_overwritten(task, tmp_path):
    name = task()
    with pytest.raises(ValueError, match=r"train.jsonl, which is read: name another file"):
        read(task=name, split="eval", output=str(tmp_path / "train.jsonl"))
    (tmp_path / "old.jsonl").write_text("replaced")
    assert read(task=name, split="train", output=str(tmp_path / "old.jsonl"))[0]


def test_lines_of_text_are_counted(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    assert read(input=str(tmp_path / "a.txt")) == (["one", "", "two"], 3)


RECORDS = [{"inputs": "Is 3 odd?", "n": 1}, {"inputs": "Is 4 odd?", "n": 2}]
ARRAY = json.dumps(RECORDS)
OBJECTS = "\n".join(map(json.dumps, RECORDS)) + "\n"
TABLE = "inputs,n\nIs 3 odd?,1\nIs 4 odd?,2\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", ARRAY),
        ("a.json", json.dumps(RECORDS, indent=2)),
        ("a.JSON", OBJECTS),
        ("a.ndjson", OBJECTS),
        ("a.NDJSON", "\ufeff" + OBJECTS),
        ("a.JSONL", OBJECTS),
        ("a.jsonl", "\n" + OBJECTS.replace("\n", "\r\n \r\n\r\n")),
        ("a.jsonl-00000-of-00001", OBJECTS),
        ("a.CSV", TABLE),
        ("a.Tsv", TABLE.replace(",", "\t")),
        ("a.csv", "\ufeff\n" + TABLE.replace("\n", "\r\n\r\n")),
    ],
)
@pytest.mark.parametrize("compression", ["", ".gz", ".GZ"])
def test_a_file_has_the_records_that_task_source_reads(tmp_path, name, content, compression):
    path = tmp_path / f"{name}{compression}"
    path.write_bytes(gzip.compress(content.encode()) if compression else content.encode())
    source, _ = open_source(t5x_lite.Task(), str(path), tmp_path / "cache")
    assert len(source) == 2
    assert read(input=str(path)) == (["Is 3 odd?", "Is 4 odd?"], 2)
    assert read(input=str(path), template="{n}: {inputs}") == (["1: Is 3 odd?", "2: Is 4 odd?"], 2)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "questions", "a.log", "a.txt.gz", "v1.2", "questions.gz"])
def test_a_file_without_a_known_ending_is_plain_lines(tmp_path, name):
    content = "\ufeff10%\r20%\n\n{not json}\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read(input=str(tmp_path / name)) == (["10%\r20%", "", "{not json}"], 3)


@pytest.mark.parametrize("template", ["# {inputs}", "# {text}", "# {q}", "# {any thing?}"])
def test_a_line_of_text_is_the_only_field_of_a_template(tmp_path, monkeypatch, template):
    content = "why\n\n{not json}\n"
    (tmp_path / "a.txt").write_text(content)
    assert read(input=str(tmp_path / "a.txt"), template=template) == (["# why", "# ", "# {not json}"], 3)
    monkeypatch.setattr("sys.stdin", io.StringIO(content))
    assert read(template=template) == (["# why", "# ", "# {not json}"], None)


def test_a_line_of_text_is_not_several_fields(tmp_path):
    (tmp_path / "a.txt").write_text("why\n")
    assert read(input=str(tmp_path / "a.txt"), template="{file}: {inputs}") == (["a.txt: why"], 1)
    with pytest.raises(ValueError, match=r"^--input .*a.txt line 1 has no field 'q', which --template '{q} {a}' uses"):
        read(input=str(tmp_path / "a.txt"), template="{q} {a}")


@pytest.mark.parametrize("name", ["a.parquet.gz", "a.array_record.zst"])
def test_what_task_source_refuses_is_not_plain_lines(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"--input names .*, whose type is unknown"):
        read(input=str(tmp_path / name))


@pytest.mark.parametrize("content", ['{"n": ' + "9" * 5_000 + "}", '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_number_or_nesting_without_end_is_named_by_its_line(tmp_path, name, content):
    (tmp_path / name).write_text('{"inputs": "fine"}\n' + content)
    with pytest.raises(ValueError, match=rf"^--input .*{name} line 2 is not valid JSON .*: fix or remove the record$"):
        read(input=str(tmp_path / name))


def test_a_preprocessor_leaves_the_number_of_inputs_open(tmp_path, task, monkeypatch):
    monkeypatch.setattr("t5x_lite.tasks.TWICE", lambda record: [record, record], raising=False)
    (tmp_path / "a.jsonl").write_text('{"q": "x"}\n')
    asked = {"input": str(tmp_path / "a.jsonl"), "task": task(preprocess="t5x_lite.tasks:TWICE")}
    assert read(**asked) == (["question: x"] * 2, None)


def test_a_pipe_with_a_template_may_have_objects(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('\n{"q": "one"}\n\n{"q": "two"}\n'))
    assert read(template="Q: {q}") == (["Q: one", "Q: two"], None)
    monkeypatch.setattr("sys.stdin", io.StringIO('{"q": null}\n'))
    with pytest.raises(ValueError, match=r"^line 1 of standard input has a field 'q' that is null, but --template"):
        read(template="Q: {q}")


@pytest.fixture
def run(tmp_path):
    """Makes a run directory that was trained with templates."""

    def make(**task):
        (tmp_path / "run").mkdir()
        fields = {"inputs": "question: {q}", "targets": "{a}", "preprocess": None, "columns": None} | task
        (tmp_path / "run" / "config.yaml").write_text(json.dumps({"task": fields}))
        return str(tmp_path / "run")

    return make


def test_records_become_inputs_as_they_did_in_training(tmp_path, run, capsys):
    (tmp_path / "a.jsonl").write_text('{"q": "one"}\n{"inputs": "as it stands"}\n{"q": "two", "inputs": "unread"}\n')
    asked = {"checkpoint": run(), "input": str(tmp_path / "a.jsonl")}
    assert read(**asked) == (["question: one", "as it stands", "question: two"], 3)
    assert capsys.readouterr().err.count("as in training, by task.inputs 'question: {q}'") == 1
    assert read(**asked | {"template": "{q?}"}) == (["one", "", "two"], 3)
    (tmp_path / "a.jsonl").write_text('{"x": "one"}\n')
    with pytest.raises(ValueError, match=r"a.jsonl line 1 has no field 'q', which the run's task.inputs '.*' uses"):
        read(**asked)


def test_a_run_with_the_field_inputs_reads_it_as_in_training_except_in_lines_of_text(tmp_path, run, monkeypatch):
    asked = {"checkpoint": run(inputs="say: {inputs}")}
    for name, content, expected in (
        ("a.csv", "inputs\none\n", ["say: one"]),
        ("a.txt", "one\n", ["one"]),
        ("a", '{"inputs": "one"}\n', ['{"inputs": "one"}']),
    ):
        (tmp_path / name).write_text(content)
        assert read(**asked, input=str(tmp_path / name)) == (expected, 1)
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n"))
    assert read(**asked) == (["one"], None)


def test_the_optional_fields_of_a_run_are_not_all_missing_where_inputs_are_given(tmp_path, run):
    (tmp_path / "a.jsonl").write_text(
        '{"inputs": "one"}\n{"a": {"b": "two"}}\n{"q": "three", "inputs": "unread"}\n{}\n'
    )
    asked = {"checkpoint": run(inputs="{q?}{a.b?}!"), "input": str(tmp_path / "a.jsonl")}
    assert read(**asked) == (["one", "two!", "three!", "!"], 4)


def test_a_run_reads_records_by_its_own_columns_and_function(tmp_path, run, monkeypatch):
    monkeypatch.setattr("t5x_lite.tasks.TWICE", lambda record: [record, record], raising=False)
    checkpoint = run(columns=["q", "a"], preprocess="t5x_lite.tasks:TWICE")
    (tmp_path / "a.tsv").write_text("one\t1\ntwo\t2\n")
    texts = [f"question: {q}" for q in ("one", "one", "two", "two")]
    assert read(checkpoint=checkpoint, input=str(tmp_path / "a.tsv")) == (texts, None)


def test_the_inputs_of_a_run_whose_function_is_gone_are_read(tmp_path, run):
    asked = {"checkpoint": run(preprocess="no.where:F"), "input": str(tmp_path / "a.jsonl")}
    (tmp_path / "a.jsonl").write_text('{"inputs": "one"}\n')
    assert read(**asked)[0] == ["one"]
    (tmp_path / "a.jsonl").write_text('{"q": "one"}\n')
    with pytest.raises(ValueError, match=r"task.preprocess .*no.where"):
        read(**asked)


@pytest.mark.parametrize("record", ['{"q": "one"}', '{"q": "one", "inputs": "unread"}'])
def test_the_function_of_a_run_is_imported_only_if_the_run_is_trusted(tmp_path, run, record):
    asked = {"checkpoint": run(preprocess="builtins:dict"), "input": str(tmp_path / "a.jsonl")}
    (tmp_path / "a.jsonl").write_text(record)
    with pytest.raises(ValueError, match=r"has task.preprocess builtins:dict, .* add --trust .*run; or .* --template$"):
        read(**asked)
    assert read(**asked, trust=asked["checkpoint"])[0] == ["question: one"]
    (tmp_path / "a.txt").write_text("lines need no function")
    assert read(**asked | {"input": str(tmp_path / "a.txt")})[0] == ["lines need no function"]


@pytest.mark.parametrize("task", [{"inputs": 3}, {"columns": "q"}, {"columns": [1]}, {"preprocess": ["a:b"]}])
def test_a_damaged_task_of_a_run_is_named(tmp_path, run, task):
    (tmp_path / "a.jsonl").write_text('{"q": "one"}')
    with pytest.raises(ValueError, match=rf"run has task.{min(task)} .* in its config.yaml, which is damaged"):
        read(checkpoint=run(**task), input=str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("task", [{"inputs": None, "targets": None}, {"targets": None}])
def test_a_run_on_text_has_no_template(tmp_path, run, task):
    (tmp_path / "a.jsonl").write_text('{"q": "one", "inputs": "two"}\n')
    assert read(checkpoint=run(**task), input=str(tmp_path / "a.jsonl")) == (["two"], 1)


def test_a_corrupt_config_of_a_run_is_named(tmp_path, run):
    (tmp_path / "a.jsonl").write_text('{"inputs": "one"}\n')
    checkpoint = run()
    (tmp_path / "run" / "config.yaml").write_text("task: [")
    with pytest.raises(ValueError, match=r"config.yaml is corrupt: restore it"):
        read(checkpoint=checkpoint, input=str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a"])
def test_an_empty_file_is_named_without_a_task_to_set(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"^--input .*{name} is empty: fill or remove it$"):
        read(input=str(tmp_path / name))


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


def test_a_bad_record_of_a_split_is_an_error_or_is_skipped(task, tmp_path, capsys):
    (tmp_path / "bad.jsonl").write_text('{"q": "fine"}\n{"x": 1}\n{"q": "too"}\n')
    with pytest.raises(ValueError, match=r"bad.jsonl line 2 .*q"):
        read(split="eval", task=task(eval_source=str(tmp_path / "bad.jsonl")))
    name = task(eval_source=str(tmp_path / "bad.jsonl"), bad_records="skip")
    assert read(split="eval", task=name) == (["question: fine", "question: too"], None)
    assert "Skipped 1 bad records or files; the first: " in capsys.readouterr().err


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
