# SPDX-License-Identifier: Apache-2.0
"""Checks the types of a config that is made in Python; those of the command line are checked by its parser."""

import dataclasses
import numbers
import typing
from typing import Any

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
ACCEPTED = {int: numbers.Integral, float: numbers.Real, bool: bool, str: str}  # NumPy's too


def check_types(config: Any, prefix: str) -> None:
    """Raises TypeError for the first number, truth value or text whose field is of another type."""
    for field in dataclasses.fields(config):
        value, kinds = getattr(config, field.name), typing.get_args(field.type) or (field.type,)
        if not set(kinds) <= WORDS.keys() or (value is None and type(None) in kinds):
            continue
        accepted = tuple(ACCEPTED[kind] for kind in kinds if kind in ACCEPTED)
        if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in kinds):
            words = " or ".join(WORDS[kind] for kind in kinds)
            raise TypeError(f"{prefix}{field.name} is {value!r}: use {words}")
