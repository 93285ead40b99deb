# SPDX-License-Identifier: Apache-2.0
"""Rewrites jsonargparse's errors to name the option, its value, the accepted values and the closest match."""

import argparse
import dataclasses
import difflib
import pathlib
import re
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import yaml
from jsonargparse.typing import NonNegativeInt, PositiveInt

from t5x_lite.commands.options.text import IN_FILE, hint_of
from t5x_lite.config import MixtureConfig, TaskConfig
from t5x_lite.config.from_plain import from_plain
from t5x_lite.files.yaml_nodes import compose, entries, read_as
from t5x_lite.files.yaml_text import Misread, load_yaml

TYPES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
    tuple: "a list such as [a, b]",
    dict: "a mapping such as {a: b}",
    PositiveInt: "a whole number above 0",
    NonNegativeInt: "a whole number, 0 or more",
}


MAX_MESSAGE = 1_000  # characters


class CommandLine(NamedTuple):
    """The arguments that caused an error, and the parser of their subcommand."""

    parser: argparse.ArgumentParser
    arguments: Sequence[str]
    file: str = ""  # the config file with the error, if it is known

    @property
    def options(self) -> list[str]:
        """All options of the subcommand."""
        return [name for name in self.parser._option_string_actions if not name.endswith((".help", "+"))]


def explain(message: str, parser: argparse.ArgumentParser, arguments: Sequence[str]) -> str:
    """Rewrites the message of an `argparse.ArgumentError` to state the remedy and how to get help."""
    innermost: Any = parser
    while (action := innermost._subcommands_action) and arguments and arguments[0] in action._name_parser_map:
        innermost, arguments = action._name_parser_map[arguments[0]], arguments[1:]
    file, _, message = message.rpartition(IN_FILE)
    line = CommandLine(innermost, arguments, file)
    for pattern, rewrite in REWRITES:
        if match := re.search(pattern, message, re.DOTALL):
            message = rewrite(line, *match.groups())
            break
    else:
        message = f"{file}: {message}" if file else message
    message = " ".join(message.split())
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}..."  # a value may be anything
    return f"{line.parser.prog}: {message}\nSee: {line.parser.prog} --help"


def cause(message: str) -> str:
    """Returns the cause in the message of a failed validation, without the types that jsonargparse tried."""
    if "must be a mapping, not NoneType" in message:  # as Python says it of a section of a task in a mixture
        return "task.mixture has null where a mapping of fields belongs, such as a tokenizer: leave it out"
    check = re.search(r"- ([\w.-]+ .*: .*)", message) if message.startswith("Does not validate") else None
    return check[1] if check else message


def in_mixture(options: Any, error: Exception) -> Exception:
    """Returns the error of parsed options; if it is that of a task in their mixture, with the name of the task."""
    options = options.get(options.get("subcommand") or "", options)
    task = options.get("task")
    fields = task.as_dict() if hasattr(task, "as_dict") else task
    try:
        if isinstance(fields, dict) and fields.get("mixture"):
            from_plain(TaskConfig, fields, "task.")
    except (ValueError, TypeError) as named:
        return ValueError(str(named))
    return error


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns "; did you mean NAME?" for the most similar name, or "" if none is similar."""
    matches = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def either(words: Sequence[str]) -> str:
    """Joins words as "a, b or c"."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _unknown_argument(line: CommandLine, text: str) -> str:
    name = text.split()[0].partition("=")[0]
    if name.startswith("-"):
        return f"there is no option {name}{nearest(name, line.options)}"
    return f"unexpected argument {name!r}"


def _unknown_choice(line: CommandLine, argument: str, value: str, choices: str) -> str:
    names = re.findall(r"[\w-]+", choices)
    problem = f"{argument} is {value!r}" if argument.startswith("-") else f"there is no command {value!r}"
    return f"{problem}: use {either(names)}{nearest(value, names)}"


def _missing(line: CommandLine, keys: str) -> str:
    command = ".".join(line.parser.prog.split()[1:])
    keys_of_command = [key.removeprefix(f"{command}.") for key in keys.split(", ")]
    mixture = {field.name: f"task.mixture.{field.name}" for field in dataclasses.fields(MixtureConfig)}
    names = [f"--{key}" if f"--{key}" in line.options else mixture.get(key, key.upper()) for key in keys_of_command]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} required"


def _wrong_value(line: CommandLine, key: str, details: str) -> str:
    if misread := re.search(r"(?:Misread|^Problems parsing config:) (line .*)", details):
        return f"{_place(line, key)}, {misread[1]}"
    if not line.file and (problem := _misread_argument(line, key)):
        return f"--{key}{problem}"
    if word := _without_quotes(line, key, details):
        return word
    if field := re.search(r"Option '(.*?)' is not accepted|Spaces not allowed in keys: \"(.*?)\"", details):
        name = field[1] or field[2]
        return f"{_place(line, key)} has no field {name}{_nearest_nested_field(line, name)}"
    if nested := re.search(r"Parser key \"(\S+)\":\s*Expected an? <class '(\w+)'>. Got value: (.*?)\n", details):
        allowed = {kind.__name__: words for kind, words in TYPES.items()}.get(nested[2], nested[2])
        return f"{_place(line, key)}: {nested[1]} is {nested[3]!r}: use {allowed}"
    action = next((action for action in line.parser._actions if action.dest == key), None)
    hint = action and (hint_of(action) or action.type)
    value = re.search(
        r"(?:Got|Given) value: (.*)|: (.*?) does not conform|invalid literal .*: '(.*)'|load config [\"'](.*?)[\"']",
        details,
    )
    if value is None:
        return f"{_place(line, key)}: {details}"
    shown = next(filter(None, value.groups()), "''").strip()
    allowed = _values(hint) if hint else ["a mapping of fields"]
    return f"{_place(line, key)} is {shown!r}: use {either(allowed)}{nearest(shown, allowed)}"


def _values(hint: Any) -> list[str]:
    """Describes the values that a type accepts."""
    if typing.get_origin(hint) is Literal:
        return [str(value) for value in typing.get_args(hint)]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return [words for part in typing.get_args(hint) for words in _values(part)]
    if hint is bool:
        return ["true", "false"]
    return [TYPES.get(typing.get_origin(hint) or hint, "a mapping of fields")]


def _without_quotes(line: CommandLine, key: str, details: str) -> str | None:
    """Names the word of a config file that needs quotes to be text."""
    if not line.file or "Expected text" not in details:
        return None
    text = pathlib.Path(line.file).read_text()
    fields = re.findall(r"Parser key \"(\S+)\"", details)  # of a task in a mixture
    hints = {action.dest: hint_of(action) for action in line.parser._actions}
    accepted = _values(hints.get(f"task.{fields[-1]}" if fields else key))
    for name, node in entries(compose(text), fields[-1] if fields else key):
        word, kind = read_as(node), "mapping" if isinstance(node, yaml.MappingNode) else "list"
        if word is None and not isinstance(node, yaml.ScalarNode) and TYPES[str] in accepted:
            word = f"{text[node.start_mark.index : node.end_mark.index]}, which YAML reads as a {kind}"
        if word:
            has = "has" if not isinstance(node, yaml.ScalarNode) and read_as(node) else "is"
            return f"{line.file}, line {node.start_mark.line + 1}: {name} {has} {word}: put it in quotes"
    return None


def _misread_argument(line: CommandLine, key: str) -> str:
    """Returns why the argument of an option cannot be read, or "" if it can."""
    try:
        for argument, following in zip(line.arguments, [*line.arguments[1:], ""], strict=True):
            name, equals, value = argument.partition("=")
            if name == f"--{key}":
                load_yaml(value if equals else following)
    except Misread as error:
        return f", {error}"
    except yaml.YAMLError as error:
        return f" is not valid YAML: {_plain(str(error))}"
    return ""


def _unknown_key(line: CommandLine, group: str | None, key: str) -> str:
    key = f"{group}.{key}" if group else key
    fields = [action.dest for action in line.parser._actions if not action.dest.endswith(".help")]
    sections = {field.rpartition(".")[0] for field in fields if "." in field}
    return f"{_place(line, key, default='the config: ')} is not a field{nearest(key, [*fields, *sections])}"


def _nearest_nested_field(line: CommandLine, key: str) -> str:
    """Suggests a field of a mixture or of its tasks."""
    of_tasks = {action.dest.rpartition(".")[2] for action in line.parser._actions}
    fields = {field.name for field in dataclasses.fields(MixtureConfig)} | of_tasks
    wrong = next((part for part in key.split(".") if part not in fields), key)
    return nearest(wrong, sorted(fields))


def _bad_yaml(line: CommandLine, details: str) -> str:
    file = line.file or "the config"
    if re.match(r"line \d+: ", details):
        return f"{file}, {details}"
    if details.startswith("it "):  # beyond a limit
        return f"{file}: {details}"
    return f"{file} is not valid YAML: {_plain(details)}"


def _plain(problem: str) -> str:
    return problem.replace('in "<unicode string>", ', "")


def _place(line: CommandLine, key: str, default: str = "--") -> str:
    """Returns a key with the config file that contains it, or its option."""
    return f"{line.file}: {key}" if line.file else f"{default}{key}"


REWRITES = (
    (
        r"thus '(.*?)' is not accepted as class_path",
        lambda line, name: (
            f"{line.file or 'the command line'} names the class {name}, but a config names no code "
            "except in the fields of a task: give the fields themselves"
        ),
    ),
    (
        r"^'utf-8' codec can't decode (.*?):",
        lambda line, what: f"{line.file} is not UTF-8 ({what}): save it as UTF-8",
    ),
    (r"^Problems parsing config: (.*)", _bad_yaml),
    (r"^Unexpected config: ", lambda line: f"{line.file or 'the config'} has no fields such as `run_dir: runs/first`"),
    (r"unrecognized arguments: (.*)", _unknown_argument),
    (r"argument (\S+): invalid choice: '(.*?)' \(choose from (.*)\)", _unknown_choice),
    (
        r"to be one of \{(.*)\}, but it was not provided",
        lambda line, choices: f"the command is missing: use {either(choices.split(','))}",
    ),
    (r"arguments are required: ([^\n]*)", _missing),
    (r"argument (\S+): expected .* argument", lambda line, option: f"{option} has no value"),
    (
        r"Parser key \"(\S+)\": File does not exist: '(.*)'",
        lambda line, key, path: f"--{key}: there is no file {path}",
    ),
    (r"Parser key \"(\S+)\":\s*(.*)", _wrong_value),
    (r"^argument --(\S+): (Expected text.*|Misread.*)", _wrong_value),
    (r"^Spaces not allowed in keys: \"(.*)\"", lambda line, key: _unknown_key(line, None, key)),
    (r"^(?:Group '(.*)' does not accept option|Option) '(.*?)'", _unknown_key),
)
