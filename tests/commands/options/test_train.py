"""Tests t5x_lite/commands/options/train.py"""

from t5x_lite.commands.options import make_parser


def test_training_has_a_config_its_fields_and_options_of_its_own():
    arguments = ["train", "--config", "{seed: 5}", "--run_dir", "x", "--profile", "--from_step", "7"]
    options = make_parser("train").parse_args(arguments).train
    assert (options.seed, options.run_dir, options.profile, options.from_step) == (5, "x", True, 7)
    assert not options.check
    assert not options.allow_changes
