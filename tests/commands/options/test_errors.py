"""Tests t5x_lite/commands/options/errors.py"""

import argparse
import re

import pytest

from t5x_lite.commands.options.errors import cause, either, explain, nearest
from tests.commands.options.parsers import shared_parser


def error_of(*arguments: str) -> str:
    """The first line of the explanation; the second one, which is checked, says where help is."""
    parser = shared_parser()
    with pytest.raises(argparse.ArgumentError) as caught:
        parser.parse_args(arguments)
    error, see = explain(str(caught.value), parser, arguments).split("\n")
    command = error.partition(": ")[0]
    assert see == f"See: {command} --help"
    return error.removeprefix("t5x-lite")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian", ": there is no command 'trian': use train, eval, infer, *; did you mean train?"),
        ("data", " data: the command is missing: use inspect, prepare or stats"),
        ("data inspct", " data: there is no command 'inspct': use inspect, prepare or stats; did you mean inspect?"),
        ("tokenizer trian", " tokenizer: there is no command 'trian': use train; did you mean train?"),
        ("--hlp", ": there is no option --hlp; did you mean --help?"),
        ("train", " train: --run_dir is required"),
        ("convert", " convert: SOURCE and DESTINATION are required"),
        ("convert a b c", " convert: unexpected argument 'c'"),
        ("data inspect --rundir x", " data inspect: there is no option --rundir; did you mean --run_dir?"),
        ("train --train.num_stepz 4", " train: there is no option --train.num_stepz; did you mean --train.num_steps?"),
        ("train --optimizer.nam=adamw", " train: there is no option --optimizer.nam; did you mean --optimizer.name?"),
        ("train --train.num_steps", " train: --train.num_steps has no value"),
        ("train --train.num_steps many", " train: --train.num_steps is 'many': use a whole number or null"),
        (
            "train --optimizer.name adafctor",
            " train: --optimizer.name is 'adafctor': use adafactor, adamw_rms or adamw; did you mean adafactor?",
        ),
        ("train --model.tie_embeddings maybe", " train: --model.tie_embeddings is 'maybe': use true, false or null"),
        ("train --task.columns 5", " train: --task.columns is '5': use a list such as [a, b] or null"),
        ("train --task.mixture 5", " train: --task.mixture is '5': use a mapping of fields or null"),
        ("train --task.mixture.taks 5", " train: --task.mixture has no field taks; did you mean tasks?"),
        ("train --train 5", " train: --train is '5': use a mapping of fields"),
        ("train --config nowhere.yaml", " train: --config: there is no file *nowhere.yaml"),
        ("models --inputs_length -3", " models: --inputs_length is '-3': use a whole number above 0"),
        ("eval --checkpoint x --num_batches 0", " eval: --num_batches is '0': use a whole number above 0 or all"),
        ("--print_completion fish", ": --print_completion is 'fish': use bash, zsh or tcsh"),
    ],
)
def test_a_wrong_command_line_is_one_line_with_the_remedy(arguments, message):
    begin, _, end = message.partition("*")
    error = error_of(*arguments.split())
    assert error.startswith(begin)
    assert error.endswith(end)
    assert "*" in message or error == message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("train: {batchsize: 3}", "train.batchsize is not a field; did you mean train.batch_size?"),
        ("trian: {batch_size: 3}", "trian.batch_size is not a field; did you mean train.batch_size?"),
        ("train: {batch_size: many}", "train.batch_size is 'many': use a whole number"),
        (
            "optimizer: {name: adafctor}",
            "optimizer.name is 'adafctor': use adafactor, adamw_rms or adamw; did you mean",
        ),
        ("task: {mixture: {tasks: {a: {sorce: b}}}}", "task.mixture has no field sorce; did you mean source?"),
        ("train: {batch size: 3}", "batch size is not a field; did you mean "),
        ("task: {mixture: {tasks: {a: {sour ce: b}}}}", "task.mixture has no field sour ce; did you mean source?"),
        ("task: {mixtures: {tasks: 3}}", "task.mixtures.tasks is not a field"),
        ("checkpoint: {kep: 3}", "checkpoint.kep is not a field; did you mean checkpoint.keep?"),
        (
            "task: {mixture: {tasks: {a: {min_characters: few}}}}",
            "task.mixture: min_characters is 'few': use a whole number",
        ),
    ],
)
def test_a_mistake_in_a_config_names_the_file(config, message, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(f"run_dir: x\n{config}\n")
    other = tmp_path / "other.yaml"
    other.write_text("seed: 3\n")
    for arguments in (["--config", str(file), "--seed", "4"], [f"--config={other}", f"--config={file}"]):
        assert error_of("train", *arguments).startswith(f" train: {file}: {message}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("task: {inputs: yes}", "task.inputs is yes, which YAML reads as true or false"),
        ("task: {text: 5}", "task.text is 5, which YAML reads as a number"),
        ("task: {inputs: {q}}", "task.inputs is {q}, which YAML reads as a mapping"),
        ("task: {targets: [a]}", "task.targets is [a], which YAML reads as a list"),
        ("task: {labels: [yes, no]}", "task.labels has yes, which YAML reads as true or false"),
        ("task: {labels: ['yes', Off]}", "task.labels has Off, which YAML reads as true or false"),
        ("task: {labels: [01, 10]}", "task.labels has 01, which YAML reads as a number"),
        ("task: {source: [a.txt, ~]}", "task.source has ~, which YAML reads as null"),
        ("task: {choices: {0: a, 1: no}}", "task.choices has no, which YAML reads as true or false"),
        (
            "task: {mixture: {tasks: {a: {inputs: '{q}'}, b: {inputs: on}}}}",
            "task.mixture.tasks.b.inputs is on, which YAML reads as true or false",
        ),
        (
            "task: {mixture: {tasks: {a: {inputs: {q}}}}}",
            "task.mixture.tasks.a.inputs is {q}, which YAML reads as a mapping",
        ),
    ],
)
def test_a_word_without_quotes_is_named_as_written(config, message, tmp_path):
    (tmp_path / "c.yaml").write_text(f"run_dir: x\n{config}\n")
    error = error_of("train", "--config", str(tmp_path / "c.yaml"))
    assert error == f" train: {tmp_path}/c.yaml, line 2: {message}: put it in quotes"


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("task: {choices: {yes: a, no: b}}", "yes, a key of task.choices,"),
        ("task: {mixture: {tasks: {en: {source: a}, no: {source: b}}}}", "no, a key of task.mixture.tasks,"),
        ("task: {mixture: {tasks: {en: {source: a}}, rates: {On: 1}}}", "On, a key of task.mixture.rates,"),
    ],
)
def test_a_key_that_is_no_word_is_named_as_written(config, key, tmp_path):
    (tmp_path / "c.yaml").write_text(f"run_dir: x\n{config}\n")
    error = error_of("data", "stats", "--config", str(tmp_path / "c.yaml"))
    assert error.startswith(f" data stats: {tmp_path}/c.yaml, line 2: {key} is true or false in YAML, not a word: ")
    assert error.endswith(f'put it in quotes, "{key.partition(",")[0]}"')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--task.choices", "{a: b, a: c}"],
            "--task.choices, line 1: a is given twice, in the same line",
        ),
        (["--config", "{seed: 3, seed: 4}"], "--config, line 1: seed is given twice, in the same line: leave out one"),
        (["--config", "{sede: 3}"], "the config: sede is not a field; did you mean seed?"),
        (["--task", "{inptus: a}"], "the config: task.inptus is not a field; did you mean task.inputs?"),
        (["--task.mixture", "{tasks: {no: {source: a}}}"], "--task.mixture, line 1: no, a key of tasks, is true or"),
        (["--task.choices", "[a]"], "--task.choices is \"['a']\": use a mapping such as {a: b} or null"),
        (["--task.labels", "a, b"], "--task.labels is 'a, b': use a list such as [a, b] or null"),
        (["--model.emb_dim", "#5"], "--model.emb_dim is '#5': use a whole number or null"),
        (["--task.eval_percent", " # 5"], "--task.eval_percent is '# 5': use a number"),
    ],
)
def test_yaml_on_the_command_line_is_refused_by_the_same_rules(arguments, message):
    for command in (["train"], ["data", "inspect"]):
        assert error_of(*command, "--run_dir", "r", *arguments).startswith(f" {' '.join(command)}: {message}")


@pytest.mark.parametrize("value", ["many", "12:30", "#5"])
def test_a_number_above_0_is_asked_for(value):
    message = f"--inputs_length is '{value}': use a whole number above 0"
    assert error_of("models", "--inputs_length", value) == f" models: {message}"


@pytest.mark.parametrize(("text", "message"), [("run_dir: [\n", " is not valid YAML: "), ("words\n", " has no fields")])
def test_a_config_that_is_no_mapping_is_named(text, message, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    assert error_of("train", "--config", str(tmp_path / "c.yaml")).startswith(f" train: {tmp_path}/c.yaml{message}")


def test_an_option_is_named_when_a_config_has_the_field_too(tmp_path):
    (tmp_path / "c.yaml").write_text("train: {num_steps: 3}\n")
    arguments = ["train", "--config", str(tmp_path / "c.yaml"), "--train.num_steps", "many"]
    assert error_of(*arguments) == " train: --train.num_steps is 'many': use a whole number or null"


def test_an_unknown_message_is_kept():
    assert explain("something\n  else", shared_parser(), ["infer"]).startswith("t5x-lite infer: something else\n")


def test_the_report_around_a_failed_check_is_left_out():
    report = (
        "Does not validate against any of the Union subtypes\nErrors:\n  - task.cap is 0: use more\n  - Expected a x"
    )
    assert cause(report) == "task.cap is 0: use more"
    assert cause("task.cap is 0: use more") == "task.cap is 0: use more"


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ("tasks: {a: {text: null}}", "task.text is null: give it a value, or leave it out"),
        ("tasks: {a: {mixture: {tasks: {b: {min_characters: ~}}}}}", "task.min_characters is null: give it a value"),
        ("tasks: {a: {source: x}}, temperature: null", "task.mixture.temperature is null: give it a value"),
        (
            "tasks: {a: {tokenizer: null}}",
            "task.tokenizer is null: give it a value",
        ),
    ],
)
def test_null_in_a_mixture_is_named(mixture, message):
    parser = shared_parser("train")
    options = parser.parse_args(["train", "--run_dir", "x", "--task.mixture", f"{{{mixture}}}"])
    with pytest.raises(ValueError, match=rf"^(task\.mixture[\w.]*: )?{re.escape(message)}") as failed:
        parser.instantiate(options)
    assert "\n" not in cause(str(failed.value))


def test_a_mixture_without_tasks_is_named():
    assert error_of("train", "--run_dir", "x", "--task.mixture", "{cap: 5}") == " train: task.mixture.tasks is required"


def test_suggestions_are_similar_names_only():
    assert nearest("adamv", ["sgd", "adamw"]) == "; did you mean adamw?"
    assert nearest("xyz", ["sgd", "adamw"]) == ""


def test_choices_are_joined_in_words():
    assert [either(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]
