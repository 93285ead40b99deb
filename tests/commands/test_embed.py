"""Tests t5x_lite/commands/embed.py"""

import dataclasses
import io
import itertools
import json
import sys

import numpy as np
import pytest

from t5x_lite import cli
from t5x_lite.checkpoints.load import save_hf
from t5x_lite.commands import embed
from t5x_lite.config import MeshConfig
from t5x_lite.config.commands import EmbedConfig
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.inference.encode import encode
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
LINES = ["one", "", "zwölf äü", "x " * 50, "last"]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "encoder"
    save_hf(tiny.drawn_by_name("encoder", CFG), ByteTokenizer(), path)
    return path


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


def options(model_dir, lines, output, **fields):
    return EmbedConfig(**{"checkpoint": str(model_dir), "input": str(lines), "output": str(output)} | fields)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_line_has_a_row_with_its_vector(model_dir, lines, tmp_path):
    embed.run(options(model_dir, lines, tmp_path / "out.jsonl"))
    rows = rows_of(tmp_path / "out.jsonl")
    assert [row["inputs"] for row in rows] == LINES
    found_NE = np.asarray([row["embedding"] for row in rows], np.float32)
    np.testing.assert_allclose(found_NE, encode(model_dir, LINES), atol=1e-6)


def test_an_array_has_the_vectors_alone(model_dir, lines, tmp_path, capsys):
    embed.run(options(model_dir, lines, tmp_path / "out.npy", dimensions=7, max_tokens=9, pooling="first"))
    expected_NE = encode(model_dir, LINES, dimensions=7, max_tokens=9, pooling="first")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected_NE, atol=1e-6)
    assert capsys.readouterr().err.splitlines()[0] == "2 of 5 texts were cut to max_tokens 9"


@pytest.mark.parametrize("name", ["out.npy", "OUT.NPY"])
def test_an_array_is_written_whatever_the_case_of_its_ending(model_dir, lines, tmp_path, name):
    embed.run(options(model_dir, lines, tmp_path / name))
    assert np.load(tmp_path / name).shape == (len(LINES), CFG.emb_dim)


@pytest.mark.parametrize(
    ("name", "message"), [("no/x.npy", "is in a directory that does not exist"), ("x.npy", "is a")]
)
def test_an_array_that_cannot_be_written_is_named_before_the_model_is_loaded(lines, tmp_path, name, message):
    (tmp_path / "x.npy").mkdir()
    with pytest.raises(ValueError, match=rf"--output .*{name} {message}"):
        embed.run(options(tmp_path / "nowhere", lines, tmp_path / name))
    assert not (tmp_path / "no").exists()


def test_every_token_can_have_a_vector_and_a_cut_text_is_marked(model_dir, lines, tmp_path):
    embed.run(options(model_dir, lines, tmp_path / "out.jsonl", pooling="none", max_tokens=9))
    rows = rows_of(tmp_path / "out.jsonl")
    assert [len(row["embeddings"]) for row in rows] == [4, 1, 9, 9, 5]
    assert [row.get("truncated", False) for row in rows] == [False, False, True, True, False]
    hidden = encode(model_dir, LINES[:1], pooling="none")[0]
    np.testing.assert_allclose(rows[0]["embeddings"], hidden, atol=1e-5)


def test_numbers_come_back_exactly(model_dir, lines, tmp_path):
    embed.run(options(model_dir, lines, tmp_path / "out.jsonl"))
    embed.run(options(model_dir, lines, tmp_path / "out.npy"))
    found_NE = np.asarray([row["embedding"] for row in rows_of(tmp_path / "out.jsonl")], np.float32)
    np.testing.assert_array_equal(found_NE, np.load(tmp_path / "out.npy"))


def test_an_interrupted_job_is_resumed_by_the_same_command_alone(model_dir, lines, tmp_path, monkeypatch):
    out, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    embed.run(options(model_dir, lines, whole))
    embed_all = embed.embed_all

    def interrupted(*arguments, **more):
        yield from itertools.islice(embed_all(*arguments, **more), 3)
        raise KeyboardInterrupt

    monkeypatch.setattr(embed, "embed_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed.run(options(model_dir, lines, out))
    monkeypatch.setattr(embed, "embed_all", embed_all)
    with pytest.raises(ValueError, match=r"was started by another command .*dimensions None instead of 3"):
        embed.run(options(model_dir, lines, out, dimensions=3))
    embed.run(options(model_dir, lines, out))
    for again, row in zip(rows_of(out), rows_of(whole), strict=True):
        assert again["inputs"] == row["inputs"]
        np.testing.assert_allclose(again["embedding"], row["embedding"], atol=1e-6)


def test_records_go_through_a_template_and_a_pipe_is_read(model_dir, tmp_path, monkeypatch, capsys):
    (tmp_path / "table.csv").write_text("title,body\nA,b c\nD,e\n")
    embed.run(options(model_dir, tmp_path / "table.csv", tmp_path / "out.jsonl", template="{title}: {body}"))
    assert [row["inputs"] for row in rows_of(tmp_path / "out.jsonl")] == ["A: b c", "D: e"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("one\nzwölf\n".encode())))
    embed.run(options(model_dir, "-", "-"))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["inputs"] for row in rows] == ["one", "zwölf"]


def test_the_parameters_may_be_sharded(model_dir, lines, tmp_path):
    embed.run(options(model_dir, lines, tmp_path / "out.npy", mesh=MeshConfig(data=4, fsdp=2), batch_size=3))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), encode(model_dir, LINES), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "none", "output": "x.npy"}, "--pooling is none and --output is x.npy"),
        ({"batch_size": 0}, "--batch_size is 0: use a number above 0"),
        ({"dimensions": 0}, "--dimensions is 0: use a number above 0"),
        ({"split": "eval"}, "--split is eval, --task is None"),
    ],
)
def test_wrong_options_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        EmbedConfig(checkpoint="x", **fields)


@pytest.mark.parametrize("suffix", [".jsonl", ".npy"])
def test_the_input_is_not_overwritten(model_dir, lines, tmp_path, suffix):
    (tmp_path / f"out{suffix}").symlink_to(lines)
    with pytest.raises(ValueError, match=r"--output .* is .*lines.txt, which is read: name another file"):
        embed.run(options(model_dir, lines, tmp_path / f"out{suffix}"))
    assert lines.read_text().splitlines() == LINES


def test_a_model_without_an_encoder_or_with_too_few_dimensions_is_refused(model_dir, lines, tmp_path, capsys):
    arguments = [
        "embed",
        "--checkpoint",
        str(model_dir),
        "--input",
        str(lines),
        "--output",
        str(tmp_path / "out.jsonl"),
    ]
    assert cli.main([*arguments, "--dimensions", "21"]) == 2
    assert capsys.readouterr().err == "t5x-lite embed: dimensions is 21, but the model has 20: use at most that\n"
    assert not list(tmp_path.glob("out*"))
    assert cli.main([*arguments, "--dimensions", "3"]) == 0
    assert len(rows_of(tmp_path / "out.jsonl")) == len(LINES)


def test_infer_eval_and_attention_refuse_an_encoder_alone(model_dir, lines, tmp_path, capsys):
    for command in (
        ["infer", "--checkpoint", str(model_dir), "--input", str(lines), "--output", str(tmp_path / "out.jsonl")],
        ["attention", "--checkpoint", str(model_dir), "--text", "a", "--output", str(tmp_path / "page")],
        ["eval", "--checkpoint", str(model_dir), "--task.source", str(lines), "--task.eval_source", str(lines)],
    ):
        assert cli.main(command) == 2
        message = "the model is an encoder alone, which predicts nothing: use t5x-lite embed"
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == [lines.name]
