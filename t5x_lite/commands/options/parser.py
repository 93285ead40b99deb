# SPDX-License-Identifier: Apache-2.0
"""Parses the command line and config files: text options are taken as they stand, and help shows values as YAML."""

import argparse
import os
import re
import types
import typing
from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import ArgumentParser, _actions, _typehints, set_dumper, set_loader
from jsonargparse._core import ActionsContainer, ArgumentGroup  # which it does not export

from t5x_lite.commands.options.text import IN_FILE, StoreText, attach_values, hint_of, text_type
from t5x_lite.files.run_config import HISTORY
from t5x_lite.files.yaml_text import MAX_CHARACTERS, dump_yaml, load_yaml

MODE = "t5x-lite"
set_loader(MODE, load_yaml, exceptions=(yaml.YAMLError,))
set_dumper(MODE, dump_yaml)
# What jsonargparse reads numbers with, whatever the mode: its YAML takes 12:30 for 750, and a quoted "#5" for null.
_typehints.basic_json_or_yaml_load = load_yaml


def _import_config(name: str, *others: Any, **options: Any) -> Any:
    """Imports a class of configs, and no other code that `task: {class_path: module.Class}` may name."""
    if not re.fullmatch(r"t5x_lite\.config(\.\w+)?\.\w+Config", name):
        raise ValueError(f"{name} is not accepted: give the fields themselves")
    return _import_object(name, *others, **options)


_import_object = _typehints.import_object
_typehints.import_object = _actions.import_object = _import_config


class TextArguments(ActionsContainer):
    """Adds arguments; those whose type is text do not go through YAML."""

    def add_argument(self, *args: Any, **options: Any) -> Any:
        """Adds an argument."""
        hint = options.get("type") or getattr(options.get("action"), "_typehint", None)
        kind = text_type(hint)
        if kind is None or args[0][:1] != "-":
            return super().add_argument(*args, **options)
        if typing.get_origin(hint) is tuple:
            options.setdefault("metavar", "[ITEM,...]")
        return super().add_argument(*args, **options | {"type": kind, "action": StoreText})


class Group(TextArguments, ArgumentGroup):
    """A group of arguments, such as the fields of a section."""


class Parser(TextArguments, ArgumentParser):
    """A parser that takes text as it stands, and whose help shows the epilog, an example, right after the usage."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options = {"allow_abbrev": False, "exit_on_error": False} | options | {"parser_mode": MODE}
        super().__init__(*args, **options)
        # Not the class that jsonargparse makes from the source of `add_argument`, if there is any.
        self._group_class = Group

    def parse_args(self, args: Sequence[str], *others: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parses arguments; the value of an option may begin with a dash, unless it is an option itself."""
        parsed = super().parse_args(attach_values(self, args), *others, **options)
        if self._subcommands_action is None:  # jsonargparse loses the names of unknown fields in nested commands
            self._check(parsed)
        return parsed

    def parse_path(self, path: str | os.PathLike[str], *others: Any, **options: Any) -> Any:
        """Parses a config file; errors begin with its path."""
        try:
            size = os.path.getsize(path) if os.path.isfile(path) else 0
            if size > 4 * MAX_CHARACTERS:  # of up to 4 bytes each
                raise argparse.ArgumentError(None, f"Problems parsing config: it has {size:,} bytes: a config is short")
            parsed = super().parse_path(path, *others, **options)
            parsed.pop(HISTORY, None)  # of a run's config.yaml; it is not that of another run
            self._check(parsed)
            return parsed
        except UnicodeDecodeError as error:
            problem: Exception = error
        except argparse.ArgumentError as error:
            problem = error
        raise argparse.ArgumentError(None, f"{path}{IN_FILE}{problem}") from problem

    def instantiate(self, cfg: Any, **options: Any) -> Any:  # type: ignore[override]
        """Makes the configs of parsed arguments; an error in a task of a mixture names the task."""
        try:
            return super().instantiate(cfg, **options)
        except (ValueError, TypeError) as error:
            from t5x_lite.commands.options.errors import in_mixture

            raise in_mixture(cfg, error) from error

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
        return super()._get_values(action, arg_strings)

    def format_help(self) -> str:
        """Returns the help: usage, example, description and options by group."""
        from t5x_lite.commands.options.help import HelpFormatter, arrange

        arrange(self)
        self.formatter_class, example, self.epilog = HelpFormatter, self.epilog, None
        usage, _, rest = super().format_help().partition("\n\n")
        self.epilog = example
        return "\n\n".join([usage, f"example:\n  {example}", rest]) if example else f"{usage}\n\n{rest}"
