# SPDX-License-Identifier: Apache-2.0
"""Checks of config fields and arguments. Each error names the field, its value and the remedy."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from t5x_lite.config.wrong_types import check_choices, check_types


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
    """Raises ValueError for the first field that is None against its type, violates its rule or is no choice.

    A rule applies to space-separated fields; messages show their names after the prefix, such as "train." or "--".
    Raises TypeError for a number, truth value or text of another type, and for a text in a field that holds several
    values, which would be taken for its letters.
    """
    fields = dataclasses.fields(config) if dataclasses.is_dataclass(config) else ()
    for field in fields:
        value = getattr(config, field.name)
        if value is None and not _allows_none(field.type):
            raise ValueError(f"{prefix}{field.name} is null: give it a value, or leave it out")
        if isinstance(value, (str, bytes)) and _holds_several(field.type):
            raise TypeError(f"{prefix}{field.name} is the text {value!r}: give a list, such as [{value!r}]")
    if fields:
        check_types(config, prefix)
    for rule, names in rules.items():
        for field in names.split():
            value = getattr(config, field)
            if value is not None and not rule.holds(value):
                raise ValueError(f"{prefix}{field} is {_shown(value)}: {rule.remedy}")
    if fields:
        check_choices(config, prefix)


def require(condition: bool, message: str) -> None:
    """Raises ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def _allows_none(annotation: Any) -> bool:
    """Returns whether an annotation, which may be a string, is of a type or None."""
    return annotation.endswith("| None") if isinstance(annotation, str) else type(None) in typing.get_args(annotation)


def _holds_several(annotation: Any) -> bool:
    """Returns whether an annotation allows a tuple but not a text, which some fields also accept."""
    kinds = (annotation,) if typing.get_origin(annotation) is tuple else typing.get_args(annotation)
    return str not in kinds and any(typing.get_origin(kind) is tuple for kind in kinds)


def _shown(value: Any) -> str:
    if isinstance(value, str) and not value.strip():
        return "empty"
    return repr(list(value) if isinstance(value, tuple) else value)
