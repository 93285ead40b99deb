"""Tests t5x_lite/commands/options/asked_task.py"""

import pathlib

import pytest
from jsonargparse import Namespace

from t5x_lite.cli import main
from t5x_lite.commands.options.asked_task import check_evaluated, data_options

PAIRS = ["--task.inputs", "{q}", "--task.targets", "{a}", "--task.tokenizer.kind", "bytes"]


def test_a_model_that_is_no_run_is_not_evaluated_without_a_task(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert main(["eval", "--checkpoint", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"t5x-lite eval: --checkpoint {tmp_path} is not a run directory, so it has no task of its")


def test_a_config_without_a_task_does_not_replace_that_of_a_run(tmp_path):
    with pytest.raises(ValueError, match="--config names no task: add a section task"):
        check_evaluated(Namespace(checkpoint=str(tmp_path), config=[None], train=Namespace(batch_size=2)))


@pytest.mark.parametrize("given", [Namespace(), Namespace(task=Namespace(tokenizer=Namespace(kind="bytes")))])
def test_data_commands_do_not_read_the_default_text(given):
    with pytest.raises(ValueError, match="no task is named"), data_options(Namespace(run_dir="run"), given):
        pass


def test_data_commands_need_no_run_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = "".join(f'{{"q": "what is {i}", "a": "{i}"}}\n' for i in range(60))
    pathlib.Path("questions.jsonl").write_text(lines)
    options = ["--task.source", "questions.jsonl", *PAIRS, "--train.targets_length", "8", "--num_examples", "1"]
    assert main(["data", "inspect", *options]) == 0
    assert "inputs   what is" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["questions.jsonl"]


def test_errors_name_the_action_of_a_command(tmp_path, capsys):
    options = ["--output", str(tmp_path / "out"), "--task.source", str(tmp_path / "none.txt")]
    assert main(["data", "prepare", *options]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("t5x-lite data prepare: task.source ")
