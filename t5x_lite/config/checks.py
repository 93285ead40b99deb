# SPDX-License-Identifier: Apache-2.0
"""Checks of config fields. Each error names the field, its value and the remedy."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """A condition on the value of a field, and the remedy if the value violates it."""

    holds: Callable[[Any], bool]
    remedy: str


POSITIVE = Rule(lambda value: value > 0, "use a number above 0")
NON_NEGATIVE = Rule(lambda value: value >= 0, "use 0 or more")
FRACTION = Rule(lambda value: 0 <= value < 1, "use a number from 0 up to, but not including, 1")


def between(low: float, high: float) -> Rule:
    """Returns the rule that a number lies in [low, high]."""
    return Rule(lambda value: low <= value <= high, f"use a number from {low} to {high}")


def not_empty(remedy: str) -> Rule:
    """Returns the rule that a string, or a tuple and each of its strings, is not empty."""
    return Rule(lambda value: bool(value) and all(value), remedy)


def check_fields(config: object, prefix: str, rules: Mapping[Rule, str]) -> None:
    """Raises ValueError for the first field that violates its rule; None is always allowed.

    A rule applies to space-separated fields; messages show their names after the prefix, such as "train." or "--".
    """
    for rule, fields in rules.items():
        for field in fields.split():
            value = getattr(config, field)
            if value is not None and not rule.holds(value):
                raise ValueError(f"{prefix}{field} is {_shown(value)}: {rule.remedy}")


def require(condition: bool, message: str) -> None:
    """Raises ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def _shown(value: Any) -> str:
    if isinstance(value, str) and not value.strip():
        return "empty"
    return repr(list(value) if isinstance(value, tuple) else value)
