"""Tests t5x_lite/commands/options/completion.py"""

import argparse
import shlex
import subprocess

import pytest

from t5x_lite.commands.options import make_parser


def complete(script: str, *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    lines = f'COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_t5x_lite; echo "${{COMPREPLY[@]}}"'
    answer = subprocess.run(["bash", "-c", f"{script}\n{lines}"], capture_output=True, text=True, check=True)
    return answer.stdout.split()


def test_a_shell_completes_commands_options_and_values(capsys):
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    with pytest.raises(SystemExit):
        make_parser().parse_args(["--print_completion", "bash"])
    script = capsys.readouterr().out
    assert complete(script, "t5x-lite", "tr") == ["train"]
    assert complete(script, "t5x-lite", "train", "--train.num_s") == ["--train.num_steps"]
    assert complete(script, "t5x-lite", "train", "--optimizer.name", "adamw_") == ["adamw_rms"]
    assert complete(script, "t5x-lite", "data", "ins") == ["inspect"]


def test_without_shtab_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    with pytest.raises(argparse.ArgumentError, match=r"pip install 't5x-lite\[completion\]'"):
        make_parser().parse_args(["--print_completion", "bash"])
