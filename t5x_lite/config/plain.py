# SPDX-License-Identifier: Apache-2.0
"""Configs as YAML and JSON represent them, and as parsed options give them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

Config = TypeVar("Config")


def as_plain(config: Any) -> dict[str, Any]:
    """Returns the fields of a config as dictionaries, lists and scalars: tuples become lists."""
    return _plain(dataclasses.asdict(config))


def pick(config: type[Config], options: Any) -> Config:
    """Returns a config with the values of its fields in `options`, which may have others."""
    names = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    return config(**{name: options[name] for name in names})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
