# SPDX-License-Identifier: Apache-2.0
"""What a typed line asks for: a text to answer, or a command such as `/temperature 0.7`; nothing here needs a model."""

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

from t5x_lite.config import GenerationConfig
from t5x_lite.config.generation import RENAMED

SLASH = "/"
FIELDS = {field.name: field for field in dataclasses.fields(GenerationConfig)}
# Of each command beside the fields: what follows it, and what it does.
COMMANDS = {
    "settings": ("", "show the settings that differ from the model's own"),
    "reset": ("", "go back to the settings of the beginning, and to what they draw first"),
    "shots": ("[K]", "draw K examples anew, which come before each text; alone, show them"),
    "examples": ("[FILE]", "draw examples from this file, named as in task.source; alone, show its name"),
    "template": ("[TEXT]", "what is made of a text, such as summarize: {inputs}; alone, show it"),
    "prompt": ("", "show what the model reads for the last text"),
    "help": ("", "show these lines"),
    "quit": ("", "leave, as Ctrl-D does"),
}
NAMES = (*COMMANDS, *FIELDS)
KINDS = {int: "a whole number", float: "a number", tuple[int, ...]: "a list of ids such as [5, 6]"}


class Command(NamedTuple):
    """A line that begins with a slash."""

    name: str  # one of NAMES
    argument: str  # what follows it, empty if nothing does


def parsed(line: str) -> Command | str:
    """Returns the command of a line, or its text; two slashes begin a text that begins with one.

    Raises:
      ValueError: if there is no such command, or nothing may follow it.
    """
    if line.startswith(2 * SLASH):
        return line[1:]
    if not line.startswith(SLASH):
        return line
    name, _, argument = line[1:].partition(" ")
    name = RENAMED.get(name, name)
    if name not in NAMES:
        near = [known for known in NAMES if name and known.startswith(name)]
        near = near or difflib.get_close_matches(name, NAMES, n=1)
        hint = " or ".join(SLASH + known for known in near) or "/help, which lists all"
        raise ValueError(f"there is no command /{name}: use {hint}; a text that begins with a slash begins with two")
    argument = argument.strip()
    if argument and COMMANDS.get(name, ("VALUE",))[0] == "":
        raise ValueError(f"/{name} is followed by {argument!r}: leave that out")
    return Command(name, argument)


def changed(config: GenerationConfig, name: str, value: str) -> GenerationConfig:
    """Returns settings with one of them set as the command line reads it; quotes around it are left out.

    Raises:
      ValueError: if it is of another kind, out of its range, or contradicts another setting.
    """
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    try:
        read = _parser().parse_args([f"--{name}={value}"], defaults=False)[name]
    except argparse.ArgumentError as error:
        raise ValueError(f"{name} is {value!r}: use {_kind(name)}") from error
    return dataclasses.replace(config, **{name: read})


def shown(config: GenerationConfig, name: str) -> str:
    """Returns a line with the value of a setting, as it can be typed."""
    value = getattr(config, name)
    if isinstance(value, tuple):
        value = list(value)
    return f"{name} {value if value != '' else repr(value)}"


def differences(config: GenerationConfig, own: GenerationConfig) -> list[str]:
    """Returns a line for each setting that is not the model's own."""
    different = [name for name in FIELDS if getattr(config, name) != getattr(own, name)]
    return [f"{shown(config, name)}  (the model's own: {shown(own, name).partition(' ')[2]})" for name in different]


def completions(before: str, word: str) -> list[str]:
    """Returns what the last word of a line may become: commands, values of one of a few, files.

    Args:
      before: the line up to that word.
      word: what there is of it, without spaces.
    """
    command = before.strip()
    if not before and word.startswith(SLASH):
        return [f"{SLASH}{name} " for name in NAMES if name.startswith(word[1:])]
    if command == "/examples":
        found = sorted(glob.glob(glob.escape(os.path.expanduser(word)) + "*"))
        return [path + os.sep if os.path.isdir(path) else path for path in found]
    if command.startswith(SLASH) and command[1:] in FIELDS:
        return [choice for choice in _choices(command[1:]) if choice.startswith(word)]
    return []


def help_lines() -> list[str]:
    """Returns what `/help` shows."""
    documented = docstring_parser.parse(GenerationConfig.__doc__ or "").params
    fields = {param.arg_name: param.description or "" for param in documented}
    rows = [(f"/{name} {what}".rstrip(), does) for name, (what, does) in COMMANDS.items()]
    settings = [(f"/{name}", " ".join(fields.get(name, "").split())) for name in FIELDS]
    width = max(len(left) for left, _ in [*rows, *settings])
    return [
        "A line is a text to answer; //text begins with a slash itself. Ctrl-C stops an answer, Ctrl-D leaves.",
        *(f"  {left:{width}}  {right}" for left, right in rows),
        "Settings: /NAME VALUE sets one, /NAME alone shows it.",
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


def _kind(name: str) -> str:
    return " or ".join(_choices(name)) or KINDS[typing.cast(Any, FIELDS[name].type)]
