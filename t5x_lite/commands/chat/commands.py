# SPDX-License-Identifier: Apache-2.0
"""Commands of an interactive session, such as `/temperature 0.7`, and their parsing."""

import argparse
import dataclasses
import difflib
import functools
import glob
import os
import typing
from typing import Any, Literal, NamedTuple

import docstring_parser
from jsonargparse import ArgumentParser

from t5x_lite.config.generation import RENAMED, GenerationConfig

SLASH = "/"
FIELDS = {field.name: field for field in dataclasses.fields(GenerationConfig)}
# Commands other than the fields: argument and help text.
COMMANDS = {
    "settings": ("", "show the settings that differ from the model's defaults"),
    "reset": ("", "restore the initial settings and restart the random streams"),
    "shots": ("[K]", "draw K new examples to put before each text; without K, show the current ones"),
    "examples": ("[FILE]", "draw examples from this source, as in task.source; without FILE, show the current one"),
    "template": ("[TEXT]", "set the template of inputs, such as summarize: {inputs}; without TEXT, show it"),
    "prompt": ("", "show the prompt made from the last text"),
    "help": ("", "show this help"),
    "quit": ("", "leave; so does Ctrl-D"),
}
NAMES = (*COMMANDS, *FIELDS)
KINDS = {int: "a whole number", float: "a number", tuple[int, ...]: "a list of ids such as [5, 6]"}


class Command(NamedTuple):
    """A parsed command line."""

    name: str  # one of NAMES
    argument: str  # empty if there is none


def parse_line(line: str) -> Command | str:
    """Returns a command if the line starts with a slash, else the text; a leading // stands for a slash."""
    if line.startswith(2 * SLASH):
        return line[1:]
    if not line.startswith(SLASH):
        return line
    name, _, argument = line[1:].partition(" ")
    name = RENAMED.get(name, name)
    if name not in NAMES:
        near = [known for known in NAMES if name and known.startswith(name)]
        near = near or difflib.get_close_matches(name, NAMES, n=1)
        hint = " or ".join(SLASH + known for known in near) or "/help for a list"
        raise ValueError(f"there is no command /{name}: use {hint}; start a text with // if it begins with a slash")
    argument = argument.strip()
    if argument and COMMANDS.get(name, ("VALUE",))[0] == "":
        raise ValueError(f"/{name} takes no argument, but is followed by {argument!r}: leave it out")
    return Command(name, argument)


def with_setting(config: GenerationConfig, name: str, value: str) -> GenerationConfig:
    """Returns a config with one field changed; the value is parsed as on the command line and may be quoted."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if FIELDS[name].type is str:
        return dataclasses.replace(config, **{name: value})
    try:
        parsed = _parser().parse_args([f"--{name}={value}"], defaults=False)[name]
    except argparse.ArgumentError as error:
        kind = " or ".join(_choices(name)) or KINDS[typing.cast(Any, FIELDS[name].type)]
        raise ValueError(f"{name} is {value!r}: use {kind}") from error
    return dataclasses.replace(config, **{name: parsed})


def format_setting(config: GenerationConfig, name: str) -> str:
    """Returns the name and value of a setting as a user would type them."""
    value = getattr(config, name)
    if isinstance(value, tuple):
        value = list(value)
    return f"{name} {value if value != '' else repr(value)}"


def differences(config: GenerationConfig, default: GenerationConfig) -> list[str]:
    """Returns a line for each setting that differs from the model's default."""
    return [
        f"{format_setting(config, name)}  (default: {format_setting(default, name).partition(' ')[2]})"
        for name in FIELDS
        if getattr(config, name) != getattr(default, name)
    ]


def completions(before: str, word: str) -> list[str]:
    """Returns the completions of a line's last word, given the line before it: commands, choices or files."""
    command = before.strip()
    if not before and word.startswith(SLASH):
        return [f"{SLASH}{name} " for name in NAMES if name.startswith(word[1:])]
    if command == "/examples":
        paths = sorted(glob.glob(glob.escape(os.path.expanduser(word)) + "*"))
        return [path + os.sep if os.path.isdir(path) else path for path in paths]
    if command.startswith(SLASH) and command[1:] in FIELDS:
        return [choice for choice in _choices(command[1:]) if choice.startswith(word)]
    return []


def help_lines() -> list[str]:
    """Returns the text of `/help`."""
    documented = docstring_parser.parse(GenerationConfig.__doc__ or "").params
    fields = {param.arg_name: param.description or "" for param in documented}
    rows = [(f"/{name} {argument}".rstrip(), text) for name, (argument, text) in COMMANDS.items()]
    settings = [(f"/{name}", " ".join(fields.get(name, "").split())) for name in FIELDS]
    width = max(len(left) for left, _ in [*rows, *settings])
    return [
        "Type a text to get an answer; write // for a slash at its start. Ctrl-C stops an answer, Ctrl-D leaves.",
        *(f"  {left:{width}}  {right}" for left, right in rows),
        "Settings: /NAME VALUE sets one, /NAME shows it.",
        *(f"  {left:{width}}  {right}" for left, right in settings),
    ]


@functools.cache
def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(GenerationConfig)
    return parser


def _choices(name: str) -> tuple[str, ...]:
    annotation: Any = FIELDS[name].type
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
