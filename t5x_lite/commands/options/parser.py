# SPDX-License-Identifier: Apache-2.0
"""Parses the command line and config files: text options are taken as they stand, and help shows values as YAML."""

import argparse
import os
import types
import typing
from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_dumper, set_loader

from t5x_lite.commands.options.text import IN_FILE, StoreText, attach_values, hint_of, text_type
from t5x_lite.files.yaml_text import dump_yaml, load_yaml

MODE = "t5x-lite"
set_loader(MODE, load_yaml, exceptions=(yaml.YAMLError,))
set_dumper(MODE, dump_yaml)


class HelpFormatter(DefaultHelpFormatter):
    """Shows defaults as YAML and hides Python types."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").rstrip(".")
        if action.required and action.option_strings:
            return f"{text} (required)"
        is_flag, is_positional = action.nargs == 0, not action.option_strings
        if is_flag or is_positional or action.dest == "config" or action.default is argparse.SUPPRESS:
            return text
        return f"{text} (default: {as_yaml(action.default)})"

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "".join(map(self._format_action, self._iter_indented_subactions(action)))
        return super()._format_action(action)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return METAVARS.get(getattr(action, "_typehint", None), super()._get_default_metavar_for_optional(action))


METAVARS = {int: "N", int | None: "N", float: "X", float | None: "X", bool: "{true,false}"}


class Parser(ArgumentParser):
    """A parser that takes text as it stands, and whose help shows the epilog, an example, right after the usage."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options["parser_mode"] = MODE
        super().__init__(*args, **options)
        if self._group_class.add_argument is ArgumentParser.add_argument:
            raise RuntimeError("text options need the source of t5x_lite, which this installation lacks")

    # jsonargparse copies the source of this method to the argument groups: it may call nothing else of this class.
    def add_argument(self, *args: Any, **options: Any) -> Any:
        """Adds an argument; one whose type is text does not go through YAML."""
        hint = options.get("type") or getattr(options.get("action"), "_typehint", None)
        kind = text_type(hint)
        if kind is None or args[0][:1] != "-":
            return super().add_argument(*args, **options)
        if typing.get_origin(hint) is tuple:
            options.setdefault("metavar", "[ITEM,...]")
        return super().add_argument(*args, **options | {"type": kind, "action": StoreText})

    def parse_args(self, args: Sequence[str], *others: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parses arguments; the value of an option may begin with a dash, unless it is an option itself."""
        parsed = super().parse_args(attach_values(self, args), *others, **options)
        if self._subcommands_action is None:  # jsonargparse loses the names of unknown fields in nested commands
            self._check(parsed)
        return parsed

    def parse_path(self, path: str | os.PathLike[str], *others: Any, **options: Any) -> Any:
        """Parses a config file; errors begin with its path."""
        try:
            parsed = super().parse_path(path, *others, **options)
            self._check(parsed)
            return parsed
        except UnicodeDecodeError as error:
            problem: Exception = error
        except argparse.ArgumentError as error:
            problem = error
        raise argparse.ArgumentError(None, f"{path}{IN_FILE}{problem}") from problem

    def _check(self, parsed: Any) -> None:
        """Raises ArgumentError for unknown fields, and for null where it is not allowed."""
        try:
            self.validate(parsed, skip_required=True)
        except (KeyError, TypeError) as error:
            raise argparse.ArgumentError(None, error.args[0]) from error
        for action in self._actions:
            hint = hint_of(action)
            allows_null = hint is None or action.default is None or types.NoneType in typing.get_args(hint)
            if not allows_null and parsed.get(action.dest, action.default) is None:
                raise argparse.ArgumentError(None, f'Parser key "{action.dest}": Got value: null')

    def _get_values(self, action: argparse.Action, arg_strings: Any) -> Any:
        if isinstance(action, StoreText):  # argparse would drop the value --
            return self._get_value(action, arg_strings[0])
        if action.nargs is None and arg_strings[0].lstrip().startswith("#"):  # YAML reads it as null
            raise argparse.ArgumentError(None, f'Parser key "{action.dest}": Got value: {arg_strings[0]}')
        return super()._get_values(action, arg_strings)

    def format_help(self) -> str:
        """Returns the help: usage, example, description and options by group."""
        for action in self._actions:
            if action.dest == "print_config":
                action.help = "print the resulting config as YAML and exit"
            elif action.metavar == "CONFIG" or any(name.endswith(".help") for name in action.option_strings):
                action.help = argparse.SUPPRESS
        for group in self._action_groups:
            sections = {action.dest.partition(".")[0] for action in group._group_actions}
            if len(sections) == 1 and any("." in action.dest for action in group._group_actions):
                (section,) = sections
                group.title = f"{section}: {str(group.title).removeprefix(f'{section}: ')}"
        example, self.epilog = self.epilog, None
        usage, _, rest = super().format_help().partition("\n\n")
        self.epilog = example
        return "\n\n".join([usage, f"example:\n  {example}", rest]) if example else f"{usage}\n\n{rest}"


PARSER_OPTIONS: dict[str, Any] = {"formatter_class": HelpFormatter, "allow_abbrev": False, "exit_on_error": False}


def as_yaml(value: Any) -> str:
    """Formats a default value as YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_yaml, value))}]"
    return repr(value) if value == "" or "\n" in str(value) else str(value)
