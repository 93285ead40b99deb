# SPDX-License-Identifier: Apache-2.0
"""Configs as YAML and JSON represent them."""

import dataclasses
from collections.abc import Mapping
from typing import Any


def as_plain(config: Any) -> dict[str, Any]:
    """Returns the fields of a config as dictionaries, lists and scalars: tuples become lists."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
