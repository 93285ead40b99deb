"""Tests t5x_lite/inference.py."""

import dataclasses
import io
import json

import pytest

from t5x_lite import inference
from t5x_lite.config import GenerationConfig, InferConfig
from t5x_lite.data.tokenizer import ByteTokenizer
from t5x_lite.inference import answer_lines, fill_in
from t5x_lite.pretrained import Pretrained
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
LINES = ["The <extra_id_0> fox", "", "no blank, but ümlauts", "x " * 50 + "<extra_id_1>"]


@pytest.fixture(scope="module")
def pretrained():
    return Pretrained(tiny.model(CFG), ByteTokenizer(100), CFG, 1)


def options(**fields):
    return InferConfig(**{"checkpoint": "run", "batch_size": 3} | fields)


def rows_of(pretrained, lines, fields=None, **settings):
    config = GenerationConfig(**{"max_new_tokens": 5} | settings)
    return list(answer_lines(pretrained, lines, options(**fields or {}), config))


def test_each_blank_gets_the_words_after_its_sentinel():
    prediction = "<extra_id_0> quick brown <extra_id_1> over<extra_id_2>"
    text = "The <extra_id_0> fox jumps <extra_id_1> the <extra_id_3> dog<extra_id_2>."
    assert fill_in(text, prediction) == "The quick brown fox jumps over the <extra_id_3> dog."


def test_a_sentinel_that_is_predicted_twice_counts_once():
    assert fill_in("a <extra_id_0> b", "<extra_id_0> one <extra_id_0> two") == "a one b"


def test_a_prediction_without_sentinels_changes_nothing():
    assert fill_in("a <extra_id_0> b", "words alone") == "a <extra_id_0> b"


def test_every_line_gets_its_row_in_order(pretrained):
    rows = rows_of(pretrained, LINES)
    assert [row["inputs"] for row in rows] == LINES
    for row in rows:
        assert row["filled"] == fill_in(row["inputs"], row["prediction"])


def test_a_row_does_not_depend_on_the_lines_beside_it(pretrained):
    together = rows_of(pretrained, LINES)
    alone = [rows_of(pretrained, [line])[0] for line in LINES]
    assert together == alone


def test_files_are_read_and_written(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "load", lambda checkpoint: pretrained)
    (tmp_path / "in.txt").write_text("\n".join(LINES), encoding="utf-8")
    inference.run(options(input=str(tmp_path / "in.txt"), output=str(tmp_path / "out.jsonl")))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["inputs"] for row in rows] == LINES
    assert rows[0].keys() == {"inputs", "prediction", "filled"}


def test_a_pipe_is_read_and_written(pretrained, monkeypatch, capsys):
    monkeypatch.setattr(inference, "load", lambda checkpoint: pretrained)
    monkeypatch.setattr("sys.stdin", io.StringIO("one <extra_id_0>\n"))
    inference.run(options())
    assert json.loads(capsys.readouterr().out)["inputs"] == "one <extra_id_0>"


def test_an_input_that_is_not_there_is_named_before_anything_is_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"--input .*nowhere.txt is not a file"):
        inference.run(options(input=str(tmp_path / "nowhere.txt")))


def test_an_output_in_no_directory_is_named(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "load", lambda checkpoint: pretrained)
    (tmp_path / "in.txt").write_text("x")
    with pytest.raises(ValueError, match=r"--output .* is in a directory that does not exist"):
        inference.run(options(input=str(tmp_path / "in.txt"), output=str(tmp_path / "no" / "out.jsonl")))
