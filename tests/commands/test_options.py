"""Tests t5x_lite/commands/options.py"""

import argparse
import shlex
import subprocess

import pytest

from t5x_lite.commands.options import COMMANDS, DATA_COMMANDS, TOKENIZER_COMMANDS, as_yaml, make_parser

NESTED = {"data": DATA_COMMANDS, "tokenizer": TOKENIZER_COMMANDS}
PATHS = [(name,) for name in COMMANDS] + [(name, action) for name in NESTED for action in NESTED[name]]


def help_of(*path, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        make_parser().parse_args([*path, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_the_help_of_a_command_starts_with_an_example_and_has_no_python_types(path, capsys):
    text = help_of(*path, capsys=capsys)
    usage, example, *_ = text.split("\n\n")
    assert usage.startswith(f"usage: t5x-lite {' '.join(path)} ")
    assert example.startswith(f"example:\n  t5x-lite {path[0]} ")
    for python in ("<class", "Union[", "Optional[", "typing", "NestedArg", "(type:", "None", "jsonargparse", "False"):
        assert python not in text


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_examples_are_valid_command_lines(path):
    command = NESTED[path[0]][path[1]] if len(path) > 1 else COMMANDS[path[0]]
    name, *arguments = shlex.split(command.example)
    assert (name, arguments[0]) == ("t5x-lite", path[0])
    extra = ["--run_dir", "runs/first"] if path == ("eval",) else []
    assert make_parser().parse_args([*arguments, *extra]).subcommand == path[0]


def test_the_overview_describes_every_command(capsys):
    text = help_of(capsys=capsys)
    for name, command in COMMANDS.items():
        first_words = " ".join(command.description.split()[:3]).rstrip(".,")
        (line,) = [line for line in text.splitlines() if line.startswith(f"    {name} ")]
        assert first_words in line


def test_options_are_grouped_by_section_with_their_defaults(capsys):
    text = help_of("train", capsys=capsys)
    titles = ["task: text and objective:", "train: training loop:", "mesh: device mesh:"]
    places = [text.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    assert "(default: 128)" in text.partition("--train.batch_size N")[2][:200]
    assert "(required)" in text.partition("--run_dir RUN_DIR")[2][:200]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (("a", None), "[a, null]"),
        ((), "[]"),
        ("", "''"),
        ("a\nb", r"'a\nb'"),
        (0.5, "0.5"),
    ],
)
def test_defaults_are_shown_as_yaml(value, text):
    assert as_yaml(value) == text


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
