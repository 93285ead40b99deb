# SPDX-License-Identifier: Apache-2.0
"""Checks the types of a config that is made in Python; those of the command line are checked by its parser."""

import dataclasses
import numbers
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
ACCEPTED = {int: numbers.Integral, float: numbers.Real, bool: bool, str: str}  # NumPy's too


def check_types(config: Any, prefix: str) -> None:
    """Raises TypeError for the first number, truth value or text whose field is of another type, and ValueError for the
    first value that is none of its field's choices.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        is_union = typing.get_origin(field.type) in (typing.Union, types.UnionType)
        kinds = typing.get_args(field.type) if is_union else (field.type,)
        if value is None and type(None) in kinds:
            continue
        if not any(typing.get_origin(kind) is dict and isinstance(value, Mapping) for kind in kinds):
            _check_choice(value, kinds, name)
        if set(kinds) <= WORDS.keys():
            accepted = tuple(ACCEPTED[kind] for kind in kinds if kind in ACCEPTED)
            if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in kinds):
                raise TypeError(f"{name} is {value!r}: use {' or '.join(WORDS[kind] for kind in kinds)}")


def _check_choice(value: Any, kinds: Sequence[Any], name: str) -> None:
    choices = [choice for kind in kinds if typing.get_origin(kind) is Literal for choice in typing.get_args(kind)]
    if choices and not any(type(value) is type(choice) and value == choice for choice in choices):
        words = [*map(str, choices), *(WORDS[kind] for kind in kinds if kind in WORDS)]
        raise ValueError(f"{name} is {value!r}: use {', '.join(words[:-1])} or {words[-1]}")
