# SPDX-License-Identifier: Apache-2.0
"""Configs from plain data, such as the `config.yaml` of a run: the inverse of `plain.as_plain`."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from t5x_lite.config.checks import require

Config = TypeVar("Config")


def from_plain(config: type[Config], fields: Mapping[str, Any], prefix: str = "") -> Config:
    """Returns a config from its fields, each a scalar, list or mapping; fields left out have their defaults.

    Raises ValueError, with the dotted name after `prefix`, for fields that the config does not have.
    """
    hints = typing.get_type_hints(config)
    unknown = [name for name in fields if name not in hints]
    require(not unknown, f"{prefix}{'' if not unknown else unknown[0]} is not a field: use the t5x-lite that wrote it")
    return config(**{name: _value(hints[name], value, f"{prefix}{name}") for name, value in fields.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    """Returns a value as the type of its field has it: sections as configs, lists as tuples."""
    kinds = typing.get_args(hint) if type(None) in typing.get_args(hint) else (hint,)
    for kind in kinds:
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            return from_plain(typing.cast(Any, kind), value, f"{name}.")
        if typing.get_origin(kind) is dict and dataclasses.is_dataclass(typing.get_args(kind)[1]):
            return {
                key: _member(typing.get_args(kind)[1], item, f"{name}.{key}") for key, item in (value or {}).items()
            }
    return tuple(value) if isinstance(value, list) else value


def _member(hint: Any, value: Any, name: str) -> Any:
    """Returns the `_value` of a task of a mixture; errors, which name the field of a task, begin with its name."""
    try:
        return _value(hint, value, name)
    except (ValueError, TypeError) as error:
        if str(error).startswith(name):
            raise
        raise type(error)(f"{name}: {error}") from error
