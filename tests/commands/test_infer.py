"""Tests t5x_lite/commands/infer.py"""

import dataclasses
import io
import json
import os
import socket
import subprocess
import sys

import jax
import pytest

from t5x_lite.checkpoints.load import Pretrained, save_hf
from t5x_lite.commands import infer
from t5x_lite.config import MeshConfig
from t5x_lite.config.commands import InferConfig
from t5x_lite.config.generation import GenerationConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference import api
from t5x_lite.inference.engine import Request, fill_in
from t5x_lite.inference.loop import devices_of
from t5x_lite.parallel.mesh import make_mesh, replicated
from tests import tiny
from tests.paths import ROOT

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
ONE_OF_SEVERAL = """
import sys, jax
if sys.argv[1]:
    jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from t5x_lite.cli import main
sys.exit(main(sys.argv[3:]))
"""
LINES = ["The <extra_id_0> fox", "", "no blank, but ümlauts", "x " * 50 + "<extra_id_1>"]


@pytest.fixture(scope="module")
def pretrained():
    return Pretrained(tiny.model(CFG), ByteTokenizer(100), CFG, 1)


def options(**fields):
    return InferConfig(**{"checkpoint": "run", "batch_size": 3} | fields)


def loaded(pretrained):
    """Returns what takes the place of `load`."""

    def load(checkpoint, mesh, step):
        assert checkpoint == "run"
        return pretrained._replace(model=jax.device_put(pretrained.model, replicated(mesh)))

    return load


def rows_of(pretrained, lines, *, log_probs=False, batch_size=3, **settings):
    config = GenerationConfig(**{"max_new_tokens": 5} | settings)
    requests = [Request(line, config, number) for number, line in enumerate(lines)]
    scores = log_probs or config.temperature > 0
    answers = api.answer_all(pretrained, requests, batch_size=batch_size, scores=scores)
    return [
        infer.make_row(line, answer, pretrained, log_probs=log_probs)
        for line, answer in zip(lines, answers, strict=True)
    ]


def test_every_line_gets_its_row_in_order(pretrained):
    rows = rows_of(pretrained, LINES)
    assert [row["inputs"] for row in rows] == LINES
    for row in rows:
        filled = {"filled": fill_in(row["inputs"], row["prediction"])} if "<extra_id_" in row["inputs"] else {}
        assert row == {"inputs": row["inputs"], "prediction": row["prediction"]} | filled


def test_a_row_does_not_depend_on_the_lines_beside_it(pretrained):
    together = rows_of(pretrained, LINES)
    alone = [rows_of(pretrained, [line])[0] for line in LINES]
    assert together == alone


def test_files_are_read_and_written(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(infer, "load", loaded(pretrained))
    (tmp_path / "in.txt").write_text("\n".join(LINES), encoding="utf-8")
    infer.run(options(input=str(tmp_path / "in.txt"), output=str(tmp_path / "out.jsonl")))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["inputs"] for row in rows] == LINES
    assert rows[0].keys() == {"inputs", "prediction", "filled"}


def test_a_pipe_is_read_and_written(pretrained, monkeypatch, capsys):
    monkeypatch.setattr(infer, "load", loaded(pretrained))
    monkeypatch.setattr("sys.stdin", io.StringIO("one <extra_id_0>\n"))
    infer.run(options())
    assert json.loads(capsys.readouterr().out)["inputs"] == "one <extra_id_0>"


def test_a_missing_input_is_named_before_the_model_is_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"--input .*nowhere.txt' matches no file"):
        infer.run(options(input=str(tmp_path / "nowhere.txt")))


def test_an_output_in_no_directory_is_named_before_the_model_is_loaded(tmp_path):
    (tmp_path / "in.txt").write_text("x")
    with pytest.raises(ValueError, match=r"--output .* is in a directory that does not exist"):
        infer.run(options(input=str(tmp_path / "in.txt"), output=str(tmp_path / "no" / "out.jsonl")))


def test_rows_do_not_depend_on_where_lines_are_in_the_file(pretrained):
    lines = [f"line {'x' * (7 * number % 40)} {number}" for number in range(20)]
    expected = [row["prediction"] for line in lines for row in rows_of(pretrained, [line])]
    assert [row["prediction"] for row in rows_of(pretrained, lines)] == expected


def test_a_resumed_run_samples_the_same(pretrained):
    config = GenerationConfig(max_new_tokens=5, temperature=1.0)
    requests = [Request(line, config, number) for number, line in enumerate(LINES * 3)]
    whole = [answer.sequences[0].text for answer in api.answer_all(pretrained, requests, batch_size=3)]
    rest = [answer.sequences[0].text for answer in api.answer_all(pretrained, requests[5:], batch_size=3)]
    assert whole[5:] == rest
    assert whole[0] != whole[4]  # the same text on another line


def test_rows_have_scores_and_tokens_on_request(pretrained):
    (row,) = rows_of(pretrained, LINES[:1], log_probs=True)
    assert row["score"] == pytest.approx(sum(row["log_probs"]), rel=1e-5)
    assert "".join(row["tokens"]) == row["prediction"]
    (row,) = rows_of(pretrained, LINES[:1], num_beams=3, num_return_sequences=2)
    assert row["predictions"][0] == row["prediction"]
    assert row["scores"] == sorted(row["scores"], reverse=True)


def test_records_are_read_with_a_template(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(infer, "load", loaded(pretrained))
    (tmp_path / "in.jsonl").write_text('{"q": "why", "inputs": "i"}\n{"q": "how", "inputs": "j"}\n')
    for template, expected in ((None, ["i", "j"]), ("question: {q}", ["question: why", "question: how"])):
        asked = options(input=str(tmp_path / "in.jsonl"), output=str(tmp_path / "out.jsonl"), template=template)
        infer.run(asked, {"max_new_tokens": 2})
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [row["inputs"] for row in rows] == expected


@pytest.mark.parametrize("line", ["no json", "[1]", '{"q": 1}', '{"q": "\\ud800"}', '{"inputs": null}'])
def test_a_record_that_cannot_be_read_is_named(line, tmp_path, pretrained, monkeypatch):
    monkeypatch.setattr(infer, "load", loaded(pretrained))
    (tmp_path / "in.jsonl").write_text('{"inputs": "fine"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"^--input .*in.jsonl line 2 .*(?<!skip)$"):
        infer.run(options(input=str(tmp_path / "in.jsonl"), output=str(tmp_path / "out.jsonl")))


def test_a_file_that_is_not_text_is_named(tmp_path, pretrained, monkeypatch):
    monkeypatch.setattr(infer, "load", loaded(pretrained))
    (tmp_path / "in.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match=r"in.txt line 1 is not UTF-8"):
        infer.run(options(input=str(tmp_path / "in.txt"), output=str(tmp_path / "out.jsonl")))


def test_an_interrupted_run_resumes_where_it_stopped(tmp_path, pretrained, monkeypatch):
    monkeypatch.setattr(infer, "load", loaded(pretrained))
    (tmp_path / "in.txt").write_text("\n".join(LINES * 6), encoding="utf-8")
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    infer.run(options(input=str(tmp_path / "in.txt"), output=str(whole)), {"max_new_tokens": 3})
    calls = []

    def dies(*arguments, **keywords):
        calls.append(len(calls))
        if len(calls) > 2:
            raise KeyboardInterrupt
        return answer_batch(*arguments, **keywords)

    answer_batch = api.answer_batch
    asked = options(input=str(tmp_path / "in.txt"), output=str(cut), batch_size=1)
    monkeypatch.setattr(api, "WINDOW_BATCHES", 1)
    monkeypatch.setattr(api, "answer_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        infer.run(asked, {"max_new_tokens": 3})
    assert not cut.exists()
    monkeypatch.setattr(api, "answer_batch", answer_batch)
    infer.run(asked, {"max_new_tokens": 3})
    assert cut.read_text() == whole.read_text()
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.slow
def test_two_processes_write_what_one_writes(pretrained, tmp_path):
    (tmp_path / "in.txt").write_text("\n".join(f"line {'x' * (number % 9)} {number}" for number in range(50)))
    save_hf(pretrained.model, pretrained.tokenizer, tmp_path / "model")
    asked = ["infer", "--checkpoint", str(tmp_path / "model"), "--input", str(tmp_path / "in.txt"), "--batch_size", "1"]
    asked += ["--max_new_tokens", "4", "--temperature", "1", "--output"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    where = {"cwd": ROOT, "env": {**os.environ, "XLA_FLAGS": ""}}  # a device each
    start = [sys.executable, "-c", ONE_OF_SEVERAL]
    processes = [
        subprocess.Popen([*start, address, str(index), *asked, str(tmp_path / "both.jsonl")], **where)
        for index in range(2)
    ]
    processes.append(subprocess.Popen([*start, "", "0", *asked, str(tmp_path / "one.jsonl")], **where))
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    assert (tmp_path / "both.jsonl").read_text() == (tmp_path / "one.jsonl").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.jsonl", "in.txt", "model", "one.jsonl"]


def test_a_mesh_rounds_the_batch_size_up_and_gives_the_same_rows(pretrained):
    mesh = make_mesh(MeshConfig(data=2, fsdp=4))
    on_mesh = pretrained._replace(model=jax.device_put(pretrained.model, replicated(mesh)))
    assert devices_of(on_mesh.model).rounded(9) == 16
    assert rows_of(on_mesh, LINES, batch_size=9) == rows_of(pretrained, LINES)


def test_what_the_first_version_started_is_resumed(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(infer, "load", loaded(pretrained))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    state = os.stat("in.txt")
    began = {"checkpoint": str(tmp_path / "run"), "step": 1, "input": str(tmp_path / "in.txt")}
    began |= {"bytes of it": state.st_size, "time of it": state.st_mtime_ns}
    unset = ("template", "task", "split", "examples", "targets_template", "inputs_length")
    began |= dict.fromkeys(unset) | {"shots": 0, "balanced": False, "log_probs": False}
    began |= {"shot_template": "{inputs}\n{targets}", "shot_separator": "\n\n", "max_new_tokens": 3, "num_beams": 1}
    began |= {"top_p": 1.0, "length_penalty": 0.6, "beam_rules": "t5x", "num_return_sequences": 1}
    began |= {"repetition_penalty": 1.0}
    (tmp_path / "out.jsonl.partial").write_text(f'{json.dumps(began)}\n{{"inputs": "one"}}\n')
    infer.run(options(input="in.txt", output="out.jsonl"), {"max_new_tokens": 3})
    first, second = (tmp_path / "out.jsonl").read_text().splitlines()
    assert first == '{"inputs": "one"}'
    assert json.loads(second)["inputs"] == "two"


def test_nothing_that_is_read_is_overwritten(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(infer, "load", lambda *_, **how: pytest.fail("refused too late"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    for name in ("in.jsonl", "x.jsonl.partial", "shots.jsonl", "model/config.json", "y.jsonl.whole-00000-of-00002"):
        (tmp_path / name).write_text('{"inputs": "mine", "targets": "too"}\n')
    os.link("in.jsonl", "hard.jsonl")
    os.symlink("in.jsonl", "soft.jsonl")
    for fields in (
        {"input": "in.jsonl", "output": "in.jsonl"},
        {"input": "in.jsonl", "output": f"{tmp_path}/in.jsonl"},
        {"input": "in.jsonl", "output": "hard.jsonl"},
        {"input": "in.jsonl", "output": "soft.jsonl"},
        {"input": "soft.jsonl", "output": "hard.jsonl"},
        {"input": "*.jsonl", "output": "in.jsonl"},
        {"input": ".", "output": "in.jsonl"},
        {"input": "x.jsonl.partial", "output": "x.jsonl"},
        {"input": "y.jsonl.whole-00000-of-00002", "output": "y.jsonl"},
        {"input": "in.jsonl", "output": "shots.jsonl", "examples": "shots.jsonl", "shots": 1},
        {"input": "in.jsonl", "output": "model/config.json", "checkpoint": "model"},
    ):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(ValueError, match=r"^--output .* is .*, which is read: name another file"):
            infer.run(options(**fields))
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_input_that_is_standard_input_is_not_overwritten_either(tmp_path, monkeypatch):
    (tmp_path / "in.txt").write_text("mine\n")
    with open(tmp_path / "in.txt") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(ValueError, match="is standard input"):
            infer.run(options(output=str(tmp_path / "in.txt")))
