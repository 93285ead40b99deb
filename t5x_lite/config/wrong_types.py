# SPDX-License-Identifier: Apache-2.0
"""Checks the types of a config that is made in Python; those of the command line are checked by its parser."""

import dataclasses
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
ACCEPTED = {int: numbers.Integral, float: numbers.Real, bool: bool, str: str}  # NumPy's too


def check_types(config: Any, prefix: str) -> None:
    """Raises TypeError for the first number, truth value or text whose field is of another type."""
    for field in dataclasses.fields(config):
        value, kinds = getattr(config, field.name), _kinds(field)
        if not set(kinds) <= WORDS.keys() or (value is None and type(None) in kinds):
            continue
        accepted = tuple(ACCEPTED[kind] for kind in kinds if kind in ACCEPTED)
        if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in kinds):
            words = " or ".join(WORDS[kind] for kind in kinds)
            raise TypeError(f"{prefix}{field.name} is {value!r:.80}: use {words}")


def check_choices(config: Any, prefix: str) -> None:
    """Raises ValueError for the first value that is none of its field's choices."""
    for field in dataclasses.fields(config):
        value, kinds = getattr(config, field.name), _kinds(field)
        choices = [choice for kind in kinds if typing.get_origin(kind) is Literal for choice in typing.get_args(kind)]
        is_other = (value is None and type(None) in kinds) or (isinstance(value, Mapping) and len(kinds) > 1)
        is_choice = any(isinstance(value, type(it)) and value == it for it in choices) and not isinstance(value, bool)
        if choices and not is_other and not is_choice:
            listed = " or ".join(map(str, choices)) if len(choices) < 3 else f"one of {', '.join(map(str, choices))}"
            raise ValueError(f"{prefix}{field.name} is {value!r:.80}: use {listed}")


def _kinds(field: dataclasses.Field) -> tuple[Any, ...]:
    """Returns the types that a field allows."""
    is_union = typing.get_origin(field.type) in (typing.Union, types.UnionType)
    return typing.get_args(field.type) if is_union else (field.type,)
