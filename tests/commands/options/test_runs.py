"""Tests t5x_lite/commands/options/runs.py"""

from t5x_lite.commands.options import make_parser


def test_compile_has_a_config_and_its_fields():
    given = ["--topology", "v5e:4x4", "--json"]
    options = make_parser("compile").parse_args(["compile", "--config", "{seed: 5}", "--run_dir", "x", *given]).compile
    assert (options.seed, options.run_dir, options.json) == (5, "x", True)
