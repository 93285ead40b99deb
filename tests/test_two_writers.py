"""Tests that no command writes what another process is writing, and that it says so before it has done any work."""

import dataclasses

import pytest

from t5x_lite import cli
from t5x_lite.checkpoints.load import save_hf
from t5x_lite.commands.options.failure import USER_ERROR
from t5x_lite.data.tokenizers.bytes import ByteTokenizer
from t5x_lite.files.lock import LOCK, locked
from t5x_lite.files.one_writer import one_writer
from tests import tiny

CFG = dataclasses.replace(tiny.T5_1_1, vocab_size=384)
TEXT = "--task.source {0}/lines.txt --task.text_unit line --task.min_characters 1 --task.tokenizer.kind bytes"
TASK = f"--run_dir {{0}}/run {TEXT}"
COMMANDS = {  # the output, and what writes it
    "infer": ("out.jsonl", "infer --checkpoint {0}/model --input {0}/lines.txt --output {1}"),
    "embed": ("out.jsonl", "embed --checkpoint {0}/model --input {0}/lines.txt --output {1}"),
    "embed, as an array": ("out.npy", "embed --checkpoint {0}/model --input {0}/lines.txt --output {1}"),
    "eval": ("out.jsonl", f"eval --checkpoint {{0}}/model {TASK} --output {{1}}"),
    "attention": ("out.html", "attention --checkpoint {0}/model --text a --output {1}"),
    "attention, page and picture": ("out.png", "attention --checkpoint {0}/model --text a --output {0}/out"),
    "tokenizer train": ("a.model", "tokenizer train --input {0}/lines.txt --vocab_size 40 --output {1}"),
    "tokenizer train, pieces": ("a.vocab", "tokenizer train --input {0}/lines.txt --vocab_size 40 --output {0}/a.bin"),
    "convert": ("out", "convert {0}/model {1}"),
    "convert to t5x_lite": ("out", "convert {0}/model {1} --format t5x-lite"),
    "convert to T5X": ("out", "convert {0}/model {1} --format t5x"),
    "data stats": ("out.svg", f"data stats {TASK} --output {{1}}"),
}
FILLED = {  # directories that are filled file by file
    "data prepare": f"data prepare {TASK} --output {{1}}",
    "compile": f"compile {TASK} --output {{1}}",
    "train": f"train {TASK}",
}


@pytest.fixture
def folder(tmp_path):
    save_hf(tiny.drawn(tiny.T5, CFG), ByteTokenizer(), tmp_path / "model")
    (tmp_path / "lines.txt").write_text("\n".join(map(str, range(99))))
    return tmp_path


def run(command, folder, output, capsys):
    """Runs a command line and returns its exit status and the last line of standard error."""
    status = cli.main(command.format(folder, output).split())
    return status, capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_or_new_directory_has_one_writer(name, folder, capsys):
    file, command = COMMANDS[name]
    if "svg" in file or "png" in file:
        pytest.importorskip("matplotlib")
    with one_writer(folder / file):
        before = sorted(folder.iterdir())
        status, message = run(command, folder, folder / file, capsys)
        assert status == USER_ERROR
        assert f"{folder / file} is in use by process" in message
        assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("name", FILLED)
def test_a_directory_that_is_filled_has_one_writer(name, folder, capsys):
    (folder / "run").mkdir()
    with locked(folder / "run" / LOCK, "it", "go away"):
        status, message = run(FILLED[name], folder, folder / "run", capsys)
        assert status == USER_ERROR
        assert f"{folder / 'run'} is in use by process" in message
        assert [path.name for path in (folder / "run").iterdir()] == [LOCK]
