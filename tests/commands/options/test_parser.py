"""Tests t5x_lite/commands/options/parser.py"""

import argparse
import codecs
import sys

import pytest
import yaml

from t5x_lite.commands.options.errors import explain
from tests.commands.options.parsers import shared_parser
from tests.paths import ROOT

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
WITH_CONFIG = ("train", "eval --checkpoint c", "data inspect", "data prepare --output o", "data stats", "compile")


def train(*arguments):
    return shared_parser("train").parse_args(["train", "--run_dir", "r", *arguments]).train


def error_of(command, file):
    arguments = [*command.split(), "--config", str(file)]
    parser = shared_parser(arguments[0])
    with pytest.raises(argparse.ArgumentError) as caught:
        parser.parse_args([*arguments, "--run_dir", "r"])
    error, _ = explain(str(caught.value), parser, arguments).split("\n")
    return error.partition(": ")[2]


def assert_read(read, written):
    """Asserts that all fields of a config, read by PyYAML, have the values that the parser read."""
    for name, value in written.items():
        if name == "choices":
            assert read[name] == {str(key): word for key, word in value.items()}
        elif isinstance(value, dict):
            assert_read(read[name], value)
        else:
            value = tuple(value) if isinstance(value, list) else value
            # PyYAML takes 1e-3 for text.
            assert read[name] == (float(value) if isinstance(read[name], float) else value)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_shipped_config_is_read_as_it_is_written(file):
    read = train("--config", str(file))
    written = yaml.safe_load(file.read_text())
    written.pop("run_dir", None)
    if "mixture" in written["task"]:
        assert read.task.mixture.tasks.keys() == written["task"].pop("mixture")["tasks"].keys()
    assert_read(read, written)


@pytest.mark.parametrize("command", WITH_CONFIG)
def test_a_misspelt_field_is_named_in_every_command(command, tmp_path):
    file, other = tmp_path / "c.yaml", tmp_path / "other.yaml"
    for text, message in {
        "task: {inptus: x}": "task.inptus is not a field; did you mean task.inputs?",
        "trian: {num_steps: 3}": "trian.num_steps is not a field; did you mean train.num_steps?",
        "train: {optimiser: {name: adamw}}": "train.optimiser.name is not a field; did you mean optimizer.name?",
        "sede: 3": "sede is not a field; did you mean seed?",
    }.items():
        file.write_text(text)
        other.write_text("seed: 3")
        assert error_of(f"{command} --config {file}", other) == f"{file}: {message}"


@pytest.mark.parametrize("command", WITH_CONFIG)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            codecs.BOM_UTF16_LE + "seed: 3".encode("utf-16-le"),
            " is not UTF-8 (byte 0xff in position 0): save it as UTF-8",
        ),
        (b"seed: 3\n# r\xe9glages", " is not UTF-8 (byte 0xe9 in position 11): save it as UTF-8"),
        (b"", " has no fields such as `run_dir: runs/first`"),
        (b"# nothing\n", " has no fields such as `run_dir: runs/first`"),
        (b"- seed", " has no fields such as `run_dir: runs/first`"),
        (b"seed: 3\ntask: {}\nseed: 4", ", line 3: seed is given twice, first in line 1: leave out one of them"),
        (
            b"train: {num_steps: 3}\ntrain: {batch_size: 4}",
            ", line 2: train is given twice, first in line 1: leave out one of them",
        ),
        (
            b"train:\n  num_steps: 3\n  num_steps: 4",
            ", line 3: train.num_steps is given twice, first in line 2: leave out one of them",
        ),
    ],
)
def test_a_config_that_cannot_be_read_ends_in_one_line(command, content, message, tmp_path):
    (tmp_path / "c.yaml").write_bytes(content)
    assert error_of(command, tmp_path / "c.yaml") == f"{tmp_path / 'c.yaml'}{message}"


def test_the_file_with_the_error_is_named_when_others_follow(tmp_path):
    first, last = tmp_path / "first.yaml", tmp_path / "last.yaml"
    first.write_text("seed: many")
    last.write_text("seed: 3")
    assert error_of(f"train --config {first}", last) == f"{first}: seed is 'many': use a whole number"


@pytest.mark.parametrize("field", ["task: {text: null}", "seed: ~", "data: {packing: null}", "eval: {every_steps: }"])
def test_null_is_refused_where_it_is_no_value(field, tmp_path):
    (tmp_path / "c.yaml").write_text(field)
    assert " is 'null': use " in error_of("train", tmp_path / "c.yaml")


@pytest.mark.parametrize("number", ["12:30", '"12:30"', '"#5"', "'# 5'", '" "', '""'])
@pytest.mark.parametrize("field", ["train.num_steps", "train.targets_length", "optimizer.clip_norm"])
def test_a_time_or_a_comment_is_no_number(field, number, tmp_path):
    section, name = field.split(".")
    (tmp_path / "c.yaml").write_text(f"{section}: {{{name}: {number}}}")
    assert f"{field} is " in error_of("train", tmp_path / "c.yaml")
    with pytest.raises(argparse.ArgumentError, match="Expected a"):
        train(f"--{field}", number.strip("'\""))


@pytest.mark.parametrize("body", ["min_characters: 12:30", 'eval_percent: "#5"', "tokenizer: {vocab_size: 12:30}"])
def test_a_time_or_a_comment_is_no_number_in_a_task_of_a_mixture(body, tmp_path):
    (tmp_path / "c.yaml").write_text(f"task: {{mixture: {{tasks: {{a: {{{body}}}}}}}}}")
    assert "task.mixture" in error_of("train", tmp_path / "c.yaml")


def test_text_options_do_not_need_the_source_of_the_package(monkeypatch):
    def fail(_):
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", fail)
    arguments = ["serve", "--checkpoint", "x", "--api_key", "#s3cret"]
    assert shared_parser("serve").parse_args(arguments).serve.api_key == "#s3cret"


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "c.yaml").write_bytes(codecs.BOM_UTF8 + b"seed: 3")
    assert train("--config", str(tmp_path / "c.yaml")).seed == 3


def test_yes_is_true_for_fields_that_are_true_or_false(tmp_path):
    (tmp_path / "c.yaml").write_text("model: {tie_embeddings: yes, scale_logits: off}")
    model = train("--config", str(tmp_path / "c.yaml")).model
    assert (model.tie_embeddings, model.scale_logits) == (True, False)


def test_a_number_is_the_same_on_the_command_line_and_in_a_file(tmp_path):
    for number, value in {"010": 10, "1_000": 1000, "0x10": 16}.items():
        (tmp_path / "c.yaml").write_text(f"seed: {number}")
        for given in (["--seed", number], ["--config", str(tmp_path / "c.yaml")]):
            assert train(*given).seed == value


def test_the_printed_config_is_read_again_as_the_same(tmp_path):
    labels = ["yes", "1e3", "0o17", "~", "#a", "12:30", "\x85", "é"]
    parser = shared_parser("train")
    options = ["--run_dir", "r", "--task.inputs", "1e3", "--task.text", "a\u2028b"]
    first = parser.parse_args(["train", *options, f"--task.labels={labels}", "--task.choices", "{01: x, 1e3: y}"])
    (tmp_path / "c.yaml").write_text(yaml_of(parser, first))
    again = parser.parse_args(["train", "--config", str(tmp_path / "c.yaml")])
    assert again.train.task == first.train.task


def yaml_of(parser, options):
    train = parser._subcommands_action._name_parser_map["train"]
    return train.dump(options.train)


@pytest.mark.parametrize("command", WITH_CONFIG)
@pytest.mark.parametrize(
    "text",
    [
        "task: antigravity.geohash",
        "task: {class_path: antigravity.geohash}",
        "task: {tokenizer: antigravity.geohash}",
        "task: {mixture: {class_path: antigravity.geohash}}",
        "task: {class_path: antigravity.geohash, init_args: {source: a.txt}}",
    ],
)
def test_a_config_names_no_classes(command, text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    assert "antigravity.geohash" in error_of(command, tmp_path / "c.yaml")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0", " is not UTF-8 (byte 0x89 in position 0): save it as UTF-8"),
        (b" " * 2_000_001, ": it has 2,000,001 bytes: a config is short"),
        (b"#" * 500_001, ": it has 500,001 characters: a config has at most 500,000"),
        (b"task: &t {mixture: *t}", ", line 1: an alias, such as *a, is inside what it stands for"),
    ],
)
def test_a_file_that_cannot_be_a_config_is_named(content, message, tmp_path):
    (tmp_path / "c.yaml").write_bytes(content)
    assert error_of("train", tmp_path / "c.yaml") == f"{tmp_path / 'c.yaml'}{message}"


def test_a_message_is_short_whatever_a_config_holds(tmp_path):
    (tmp_path / "c.yaml").write_text(f"seed: [{'x, ' * 5_000}]")
    assert len(error_of("train", tmp_path / "c.yaml")) < 1_100
