# SPDX-License-Identifier: Apache-2.0
"""The help of commands: options by section, and their defaults as YAML."""

import argparse
from typing import Any

from jsonargparse import DefaultHelpFormatter


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


def arrange(parser: argparse.ArgumentParser) -> None:
    """Titles the groups of options with their sections, and hides what jsonargparse adds."""
    for action in parser._actions:
        if action.dest == "print_config":
            action.help = "print the resulting config as YAML and exit"
        elif action.metavar == "CONFIG" or any(name.endswith(".help") for name in action.option_strings):
            action.help = argparse.SUPPRESS
    for group in parser._action_groups:
        sections = {action.dest.partition(".")[0] for action in group._group_actions}
        if len(sections) == 1 and any("." in action.dest for action in group._group_actions):
            (section,) = sections
            group.title = f"{section}: {str(group.title).removeprefix(f'{section}: ')}"


def as_yaml(value: Any) -> str:
    """Formats a default value as YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_yaml, value))}]"
    return repr(value) if value == "" or "\n" in str(value) else str(value)
