"""Tests t5x_lite/commands/options/text.py, and that every text option of every command takes text as it stands."""

import argparse
import functools
import json
import types
import typing

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from t5x_lite.commands.options import make_parser
from t5x_lite.commands.options.data import DATA_COMMANDS, TOKENIZER_COMMANDS
from t5x_lite.commands.options.overview import COMMANDS
from t5x_lite.commands.options.text import (
    NAMES,
    TEXT_LIST,
    TEXT_MAPPING,
    NotText,
    attach_values,
    hint_of,
    text_type,
)

ODD = [
    *("", " ", "#s3cret", "# {q}", "### {inputs}", "~", "null", "Null", "yes", "no", "on", "off", "true", "False"),
    *("{q}", "{q: 1}", "1e3", "0x10", "01", "12:30", "1_000", "-x", "-x y", "-1", "-1e3", "--", "---", "--no_such"),
    *("--a=b", "'quoted'", '"quoted"', '"', "a:", "a: b", "- a", "? a", "&a", "*a", "!tag", "!!int 3", "%d", "@x"),
    *("`", "|", ">", "...", "=", "<<", "$x", "\n", "a\nb", "\ta", "# a\nb", "a #b", "é", "日本", "\u2028", "\ufeffa"),
    *("{{", "a]", "\x7f"),
]
ANY = st.characters(exclude_categories=["Cs"])
PRINTABLE = st.characters(max_codepoint=0x24F, exclude_categories=["C"])
TEXT, WORDS = (st.one_of(st.sampled_from(ODD), st.text(alphabet, max_size=8)) for alphabet in (ANY, PRINTABLE))
FEW = {"deadline": None, "phases": [Phase.generate]}  # shrinking takes minutes
LEAVES = [
    *((name,) for name in COMMANDS if name not in ("data", "tokenizer")),
    *(("data", name) for name in DATA_COMMANDS),
    *(("tokenizer", name) for name in TOKENIZER_COMMANDS),
]
REQUIRED = {  # arguments without a dash, or of options that take more than one
    "convert": ["source", "destination"],
    "tokenizer": ["--input", "a.txt", "--vocab_size", "300"],
}


@functools.cache
def parser_of(path):
    parser = make_parser(path[0])
    return parser, functools.reduce(lambda inner, name: inner._subcommands_action._name_parser_map[name], path, parser)


def options_of(path):
    """The options of a command by the parts of their types, such as {str, NoneType}; from the parser alone."""
    for action in parser_of(path)[1]._actions:
        hint = hint_of(action)
        parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]
        if action.option_strings and action.nargs is None and hint is not None:
            yield action.option_strings[0], set(parts)


def parsed(path, arguments):
    found = parser_of(path)[0].parse_args([*path, *REQUIRED.get(path[0], []), *arguments])
    return functools.reduce(lambda inner, name: inner[name], path, found)


def refuses_null(name, parts):
    """Whether an option names code or a file, and may be left out: there, the text null is a mistake."""
    return name.rpartition(".")[2].removeprefix("--") in NAMES and types.NoneType in parts


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_text_null_names_no_code_and_no_file(path):
    for name, parts in options_of(path):
        if refuses_null(name, parts):
            with pytest.raises(argparse.ArgumentError, match=f"{name} is the text null, which names nothing"):
                parsed(path, [name, "null"])


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
@settings(**FEW, max_examples=15)
@given(data=st.data())
def test_every_text_option_takes_text_as_it_stands(path, data):
    options = {name: parts for name, parts in options_of(path) if str in parts}
    expected, arguments = {}, []
    for name, parts in options.items():
        texts = TEXT.filter(lambda text: text.lstrip()[:1] != "[") if TEXT_LIST in parts else TEXT
        texts = texts.filter(lambda text: text != "null") if refuses_null(name, parts) else texts
        expected[name] = value = data.draw(texts)
        is_option = value.partition("=")[0] in parser_of(path)[1]._option_string_actions
        arguments += [f"{name}={value}"] if is_option or data.draw(st.booleans()) else [name, value]
    found = parsed(path, arguments)
    assert {name: found[name.removeprefix("--")] for name in options} == expected


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
@settings(**FEW, max_examples=10)
@given(words=st.lists(WORDS, max_size=4))
def test_the_words_of_every_list_are_text_as_it_stands(path, words):
    options = [name for name, parts in options_of(path) if TEXT_LIST in parts]
    required = [f"{name}=x" for name, parts in options_of(path) if str in parts and name not in options]
    found = parsed(path, [*required, *(f"{name}={json.dumps(words)}" for name in options)])
    assert {name: found[name.removeprefix("--")] for name in options} == dict.fromkeys(options, tuple(words))


def test_there_are_text_options_in_every_command_but_lists():
    """So that the tests above test something."""
    numbers = {" ".join(path): sum(str in parts for _, parts in options_of(path)) for path in LEAVES}
    assert numbers.pop("models") == numbers.pop("runs") == 0
    assert min(numbers.values()) >= 1
    assert numbers["train"] >= 14


def train(*arguments):
    return parsed(("train",), ["--run_dir", "r", *arguments])


def test_lists_and_mappings_keep_their_syntax():
    found = train("--task.labels", "[yes, no, 01, ~, 1e3, 0x10, 12:30, 'a, b']", "--task.source", " [a, b] ")
    assert found.task.labels == ("yes", "no", "01", "~", "1e3", "0x10", "12:30", "a, b")
    assert found.task.source == ("a", "b")
    choices = "{yes: right, no: 0, 01: one, 1: uno, 0x10: ~}"
    assert train("--task.choices", choices).task.choices == {
        "yes": "right",
        "no": "0",
        "01": "one",
        "1": "uno",
        "0x10": "~",
    }
    assert train("--task.metrics", "[]").task.metrics == ()


@pytest.mark.parametrize("value", ["[ab]*.txt", "[a", "[[a], b]", "[{a}]", "[a] b"])
def test_what_only_begins_like_a_list_is_text(value):
    assert train("--task.source", value).task.source == value


@pytest.mark.parametrize("section", [["--config", "{task: {inputs: null}}"], ["--task", "{inputs: null}"]])
def test_yaml_turns_an_optional_text_back_to_null(section, tmp_path):
    (tmp_path / "c.yaml").write_text('task: {inputs: "{q}", targets: null}')
    assert train("--config", str(tmp_path / "c.yaml")).task.inputs == "{q}"
    assert train("--config", str(tmp_path / "c.yaml"), *section).task.inputs is None
    assert train("--task.labels", "[a, b]", "--task.labels", "null").task.labels is None


def test_keys_of_choices_may_hold_any_text(tmp_path):
    choices = {"not entailment": "a", "a.b": "b", "": "c", "é": "d", "-1": "e", "#": "f", "class_path": "g", "x+": "h"}
    (tmp_path / "c.yaml").write_text(json.dumps({"task": {"choices": choices}}))
    assert train("--config", str(tmp_path / "c.yaml")).task.choices == choices
    assert train(f"--task.choices={json.dumps(choices)}").task.choices == choices


@pytest.mark.parametrize("value", ["null", "#x", "[a, b]", "~", "{q: 1}", "1e3"])
def test_a_quoted_text_of_a_config_file_is_that_text(value, tmp_path):
    task = {"inputs": value, "source": "d", "labels": [value], "choices": {value: value}}
    (tmp_path / "c.yaml").write_text(json.dumps({"task": task | {"mixture": {"tasks": {"t": task}}}}))
    found = train("--config", str(tmp_path / "c.yaml")).task
    for own in (found, found.mixture.tasks["t"]):
        assert (own.inputs, own.labels, own.choices) == (value, (value,), {value: value})


def test_a_type_with_other_values_than_text_is_left_to_jsonargparse():
    assert text_type(str | int) is None
    assert text_type(dict[str, float]) is None
    assert text_type(types.NoneType) is None
    assert text_type(int) is None
    assert text_type(typing.Optional[TEXT_MAPPING])("{a: 1}") == {"a": "1"}  # noqa: UP045 - as jsonargparse says it


@pytest.mark.parametrize(
    ("hint", "value"),
    [(str, True), (str, 5), (str | None, ["a"]), (TEXT_LIST, "a"), (TEXT_LIST, ["a", 1]), (TEXT_MAPPING, {"a": 1.5})],
)
def test_other_values_are_refused(hint, value):
    with pytest.raises(NotText, match="Expected text") as caught:
        text_type(hint)(value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, argparse.ArgumentTypeError)


def test_a_value_that_begins_with_a_dash_is_attached_to_its_option():
    parser = make_parser("infer")
    for given_, attached in {
        "infer --template -x": "infer --template=-x",
        "infer --template --x --output -": "infer --template=--x --output=-",
        "infer --template -- --seed -1e3": "infer --template=-- --seed=-1e3",
        "infer --template --output a": "infer --template --output a",
        "infer --template --output=a": "infer --template --output=a",
        "infer --interactive -x": "infer --interactive -x",
        "infer -- --template -x": "infer -- --template -x",
        "infer --template": "infer --template",
        "data inspect --seed -x": "data inspect --seed -x",
    }.items():
        assert attach_values(parser, given_.split()) == attached.split()
        assert attach_values(parser, attached.split()) == attached.split()
