"""Tests t5x_lite/commands/options/models.py"""

import pytest

from t5x_lite.commands.options import make_parser


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ("infer --checkpoint x --interactive --num_beams 3", "num_beams", 3),
        ("embed --checkpoint x --input a.txt", "input", "a.txt"),
        ("serve --checkpoint x --port 80", "port", 80),
        ("convert x y --format t5x", "format", "t5x"),
        ("convert #x [y]", "source", "#x"),
        ("models t5_1_1_small --targets_length 7", "targets_length", 7),
        ("attention --checkpoint x --text y --json", "json", True),
    ],
)
def test_each_command_has_its_own_options(arguments, name, value):
    command, *rest = arguments.split()
    options = make_parser(command).parse_args([command, *rest])[command]
    assert options[name] == value
    assert "seed" not in options or command == "infer"
