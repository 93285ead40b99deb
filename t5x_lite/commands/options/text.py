# SPDX-License-Identifier: Apache-2.0
"""Options whose type is text: they take the command line as it stands, where jsonargparse would read it as YAML."""

import argparse
import dataclasses
import types
import typing
from collections.abc import Sequence
from typing import Any

import yaml

from t5x_lite.files.yaml_text import Misread, load_texts

IN_FILE = "\0"  # in errors, between the path of a config file and the message
# Optional fields that name code or files: for them, the text null is a mistake, where a template may be any text.
NAMES_OF_CODE = {"base", "preprocess"}
NAMES = NAMES_OF_CODE | {"eval_source", "prepared", "path", "pretrained", "trust", "examples", "output"}
TEXT_LIST, TEXT_MAPPING = tuple[str, ...], dict[str, str]


class NotText(argparse.ArgumentTypeError, ValueError):
    """A value of another type, in an argument or in a config file."""


@dataclasses.dataclass(frozen=True)
class TextType:
    """The values of a text option: any of a text, a list of texts, a mapping of texts, and null."""

    hint: Any
    kinds: frozenset[Any]

    def __call__(self, value: Any) -> Any:
        """Returns a value of a config file, or of an argument, if it has the type; raises NotText otherwise."""
        if isinstance(value, str) and str not in self.kinds:
            value = self._read(value)
        if isinstance(value, (list, tuple)) and TEXT_LIST in self.kinds and _are_texts(value):
            return tuple(value)
        if isinstance(value, dict) and TEXT_MAPPING in self.kinds and _are_texts([*value, *value.values()]):
            return value
        if type(value) in self.kinds:  # a text or null
            return value
        raise NotText(f"Expected text. Got value: {value}")

    def argument(self, value: Any) -> Any:
        """Returns the value of an argument that may be a text or a list, such as [a, b]: a list if it is one."""
        is_list = isinstance(value, str) and TEXT_LIST in self.kinds and value.lstrip()[:1] == "["
        try:
            return self(load_texts(value)) if is_list else value
        except (yaml.YAMLError, NotText):
            return value

    def _read(self, value: str) -> Any:
        if types.NoneType in self.kinds and value in ("null", "~"):
            return None
        try:
            return load_texts(value)
        except Misread as error:
            raise NotText(f"Misread {error}") from error
        except yaml.YAMLError:
            return value


class StoreText(argparse.Action):
    """Stores the argument of a text option."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        del parser
        _refuse_null(self, values, option_string or f"--{self.dest}")
        setattr(namespace, self.dest, self.type.argument(values))  # type: ignore[union-attr]


def _refuse_null(action: argparse.Action, value: Any, option: str) -> None:
    """Raises ArgumentError for the text null where code or a file is to be named, or nothing."""
    section, _, field = action.dest.rpartition(".")
    kinds = action.type.kinds if isinstance(action.type, TextType) else ()
    if value != "null" or types.NoneType not in kinds or field not in NAMES:
        return
    remedy = f"leave it out, or write --config '{{{section}: {{{field}: null}}}}' after a config that gives it"
    if "." in section or not section:
        remedy = "leave it out"
    other = "" if field in NAMES_OF_CODE else f"; for a file of that name, write {option} ./null"
    raise argparse.ArgumentError(None, f"{option} is the text null, which names nothing: {remedy}{other}")


def text_type(hint: Any) -> TextType | None:
    """Returns the type of a text option, or None if `hint` allows more than text, lists and mappings of it and null."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = frozenset(typing.get_args(hint) if is_union else [hint])
    is_text = kinds <= {str, TEXT_LIST, TEXT_MAPPING, types.NoneType} and kinds != {types.NoneType}
    return TextType(hint, kinds) if is_text else None


def hint_of(action: argparse.Action) -> Any:
    """Returns the type hint of an option, or None if it has none."""
    return action.type.hint if isinstance(action.type, TextType) else getattr(action, "_typehint", None)


def attach_values(parser: Any, arguments: Sequence[str]) -> list[str]:
    """Joins values that begin with a dash to their options, as in --template=-x; another option is not a value."""
    arguments = list(arguments)
    for place, argument in enumerate(arguments):
        commands = parser._subcommands_action
        if commands and argument in commands._name_parser_map:
            return arguments[: place + 1] + attach_values(commands._name_parser_map[argument], arguments[place + 1 :])
    options, attached, rest = parser._option_string_actions, [], iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*attached, argument, *rest]
        if argument in options and options[argument].nargs is None:
            value = next(rest, None)
            if value is not None and value.startswith("-") and value.partition("=")[0] not in options:
                argument, value = f"{argument}={value}", None
            attached += [argument] if value is None else [argument, value]
            continue
        attached.append(argument)
    return attached


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
