"""Tests that every command ends quietly when nobody reads its output, as in `t5x-lite models | head -1`."""

import os
import subprocess
import sys

import pytest

from t5x_lite import cli
from t5x_lite.commands.options import failure
from tests.paths import ROOT

MAIN = "import sys; from t5x_lite.cli import main; sys.exit(main())"
CONFIG = """
task: {source: FOLDER/a.csv, inputs: "{q}", targets: "{a}", tokenizer: {kind: bytes}, eval_percent: 30}
model: {emb_dim: 16, num_heads: 4, head_dim: 6, mlp_dim: 24, num_encoder_layers: 1, num_decoder_layers: 1}
train: {num_steps: 2, batch_size: 8, inputs_length: 11, targets_length: 7}
optimizer: {schedule: constant, warmup_steps: 0}
"""


def unread(*arguments, both=False):
    """Returns the status of a command whose output (and errors, if `both`) nobody reads, and what it says elsewhere."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            input=b"one\ntwo\n",
            stdout=writer,
            stderr=writer if both else subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"XLA_FLAGS": ""},
        )
    finally:
        os.close(writer)
    return done.returncode, (done.stderr or b"").decode()


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "models --help",
        "train --run_dir x --print_config",
        pytest.param("models --json", marks=pytest.mark.slow),
        pytest.param("models", marks=pytest.mark.slow),
    ],
)
def test_commands_without_a_model_do(command):
    status, error = unread(*command.split())
    assert (status in (0, failure.UNREAD), error) == (True, "")


def test_a_closed_standard_error_is_no_error_either():
    assert unread("models", "no_such_preset", both=True) == (failure.UNREAD, "")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed")
    (folder / "a.csv").write_text("q,a\n" + "".join(f"{n} plus 1,{n + 1}\n" for n in range(40)))
    (folder / "config.yaml").write_text(CONFIG.replace("FOLDER", str(folder)))
    assert cli.main(["train", "--config", str(folder / "config.yaml"), "--run_dir", str(folder / "run")]) == 0
    return str(folder / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "data inspect --config RUN/config.yaml",
        "data stats --config RUN/config.yaml --json",
        "infer --checkpoint RUN --max_new_tokens 2",
        "infer --checkpoint RUN --max_new_tokens 2 --output /dev/stdout",
        "embed --checkpoint RUN",
        "embed --checkpoint RUN --output /dev/stdout",
        "compile --config RUN/config.yaml --json",
        "tokenizer train --input RUN/../a.csv --text {q} --vocab_size 22 --num_sentinels 3 --output RUN/../a.model",
        "infer --checkpoint RUN --interactive",
        "eval --checkpoint RUN --json",
        "eval --checkpoint RUN --output -",
        "attention --checkpoint RUN --text one --output RUN/maps.html --json",
    ],
)
def test_commands_with_a_model_do(run_dir, command):
    status, error = unread(*command.replace("RUN", run_dir).split())
    assert status in (0, failure.UNREAD)
    assert "Error" not in error
    assert "Broken pipe" not in error
