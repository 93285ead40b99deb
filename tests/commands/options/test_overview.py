"""Tests t5x_lite/commands/options/overview.py; test_init.py has what each command shows"""

from t5x_lite.commands.options import TRAIN, make_parser
from t5x_lite.commands.options.overview import COMMANDS


def test_every_command_but_training_is_known_with_all_others():
    assert COMMANDS["train"] is TRAIN
    assert list(make_parser("eval")._subcommands_action.choices) == list(COMMANDS)
    assert list(make_parser("train")._subcommands_action.choices) == ["train"]
