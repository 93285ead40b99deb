"""Tests t5x_lite/commands/options/data.py; tests/commands/options/test_init.py has the help of every command"""

from t5x_lite.commands.options import make_parser


def test_a_nested_command_has_its_own_options_and_the_fields_of_a_run():
    arguments = ["data", "inspect", "--run_dir", "runs/first", "--start", "5"]
    options = make_parser("data").parse_args(arguments).data
    assert (options.action, options.inspect.start, options.inspect.num_examples) == ("inspect", 5, 3)
    assert options.inspect.run_dir == "runs/first"


def test_the_texts_of_a_tokenizer_are_several():
    arguments = ["tokenizer", "train", "--input", "a.txt", "b.txt", "--output", "x.model", "--vocab_size", "99"]
    options = make_parser("tokenizer").parse_args(arguments).tokenizer
    assert (options.action, options.train.input) == ("train", ["a.txt", "b.txt"])
