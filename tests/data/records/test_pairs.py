"""Tests t5x_lite/data/records/pairs.py"""

import pytest

from t5x_lite.data.records.rows import LeftOut, Row, read_rows
from t5x_lite.data.sources import open_source
from t5x_lite.data.sources.base import BadRecord
from tests.data.records.test_rows import PAIRS, read, task, write


def test_a_supervised_task_has_inputs_and_targets(tmp_path):
    path = write(tmp_path / "a.jsonl", {"q": "one", "a": 1}, {"q": "two", "a": None}, {"q": "", "a": "3"})
    texts, _, skipped = read(task(path, bad_records="skip", **PAIRS), tmp_path)
    assert texts == [("q: one", "1"), ("q: ", "3")]
    assert "a.jsonl line 2 has a field 'a' that is null, but task.targets '{a}' needs its value" in skipped[0]


def test_json_numbers_and_truth_values_become_the_same_text(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"q": true, "a": false}\n{"q": 1.5, "a": NaN}\n{"q": 2, "a": null}\n')
    texts, _, skipped = read(task(str(tmp_path / "a.jsonl"), bad_records="skip", **PAIRS), tmp_path)
    assert texts == [("q: true", "false")]
    assert ["NaN" in skipped[0], "null" in skipped[1]] == [True, True]


@pytest.mark.parametrize("keys", [("True", "False"), ("true", "false")])
def test_choices_may_name_truth_values_as_yaml_or_json_does(tmp_path, keys):
    path = write(tmp_path / "a.jsonl", {"q": "one", "a": True}, {"q": "two", "a": False})
    choices = dict(zip(keys, ("yes", "no"), strict=True))
    assert read(task(path, choices=choices, **PAIRS), tmp_path)[0] == [("q: one", "yes"), ("q: two", "no")]


def test_choices_name_the_values_of_targets(tmp_path):
    path = write(tmp_path / "a.jsonl", {"q": "one", "a": 1}, {"q": "two", "a": 2})
    with pytest.raises(BadRecord, match=r"line 2 has the targets '2', but task.choices has only 0, 1: add it there"):
        read(task(path, choices={"0": "no", "1": "yes"}, **PAIRS), tmp_path)
    assert read(task(path, choices={"1": "yes", "2": "perhaps"}, **PAIRS), tmp_path)[0][1] == ("q: two", "perhaps")


def test_a_function_makes_several_pairs_of_a_record_and_their_references(tmp_path, monkeypatch):
    def each_answer(record):
        same = {"inputs": record["q"], "answers": record["a"], "group": record["q"]}
        return [{"targets": answer} | same for answer in record["a"]]

    monkeypatch.setattr("t5x_lite.tasks.OF_A_TEST", each_answer, raising=False)
    path = write(tmp_path / "a.jsonl", {"q": "one", "a": ["1", "I"]}, {"q": "none", "a": []})
    answers = task(path, inputs="{inputs}", targets="{targets}", preprocess="t5x_lite.tasks:OF_A_TEST")
    source, _ = open_source(answers, answers.source, tmp_path)
    assert list(read_rows(answers, source, [0, 1], LeftOut())) == [
        Row(("one", target), {"targets": target, "answers": ["1", "I"], "group": "one"}) for target in ("1", "I")
    ]


@pytest.mark.parametrize(
    ("made", "extra"),
    [
        ({"answers": None, "group": None}, {}),
        ({"answers": ["1", None, float("nan")], "group": float("nan")}, {"answers": ["1"]}),
        ({"answers": [], "group": "g"}, {"answers": [], "group": "g"}),
    ],
)
def test_references_have_no_missing_values(tmp_path, monkeypatch, made, extra):
    monkeypatch.setattr("t5x_lite.tasks.OF_A_TEST", lambda record: {"q": "one", "a": "1"} | made, raising=False)
    of_a_test = task(write(tmp_path / "a.jsonl", {"x": 1}), preprocess="t5x_lite.tasks:OF_A_TEST", **PAIRS)
    source, _ = open_source(of_a_test, of_a_test.source, tmp_path)
    (row,) = read_rows(of_a_test, source, [0], LeftOut())
    assert row.reference == {"targets": "1"} | extra


def test_targets_that_are_not_labels_are_bad_records(tmp_path):
    records = [{"q": "x", "a": answer} for answer in ("not O", "B O B", "B", "B X", "not")]
    path = write(tmp_path / "a.jsonl", *records)
    pairs = {"inputs": "{q}", "targets": "{a}", "labels": ("O", "B", "not O")}
    texts, _, skipped = read(task(path, **pairs, bad_records="skip"), tmp_path)
    assert [targets for _, targets in texts] == ["not O", "B O B", "B"]
    assert len(skipped) == 2
    with pytest.raises(BadRecord, match=r"a.jsonl line 4 has the targets 'B X', but task.labels lacks 'X': add it"):
        read(task(path, **pairs), tmp_path)
