"""Tests t5x_lite/commands/options/__init__.py"""

import shlex

import pytest

from t5x_lite.commands.options.data import DATA_COMMANDS, TOKENIZER_COMMANDS
from t5x_lite.commands.options.overview import COMMANDS
from tests.commands.options.parsers import shared_parser

NESTED = {"data": DATA_COMMANDS, "tokenizer": TOKENIZER_COMMANDS}
PATHS = [(name,) for name in COMMANDS] + [(name, action) for name in NESTED for action in NESTED[name]]


def help_of(*path, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        shared_parser().parse_args([*path, "--help"])
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
    assert shared_parser().parse_args([*arguments, *extra]).subcommand == path[0]


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
    assert "(default: 512)" in text.partition("--train.inputs_length N")[2][:200]
    assert "(required)" in text.partition("--run_dir RUN_DIR")[2][:200]
