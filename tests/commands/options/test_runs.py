"""Tests t5x_lite/commands/options/runs.py"""

import pytest

from t5x_lite.commands.options import make_parser


@pytest.mark.parametrize("command", ["train", "compile"])
def test_a_run_has_a_config_and_its_fields(command):
    given = {"train": ["--profile"], "compile": ["--topology", "v5e:4x4", "--json"]}[command]
    options = make_parser(command).parse_args([command, "--config", "{seed: 5}", "--run_dir", "x", *given])[command]
    assert (options.seed, options.run_dir) == (5, "x")
    assert options.profile if command == "train" else options.json
