# SPDX-License-Identifier: Apache-2.0
"""Python objects named `package.module:NAME`: imports them and opens them as sources."""

import importlib
import inspect
import pathlib
import re
from typing import Any

from t5x_lite.data.sources.base import InMemory, Source

OBJECT_PATTERN = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)(?:@(?P<split>.+))?")


def is_object(name: str) -> bool:
    """Returns whether a source's name refers to a Python object rather than a file."""
    return OBJECT_PATTERN.fullmatch(name) is not None and not pathlib.Path(name).exists()


def import_object(name: str, field: str) -> Any:
    """Imports `package.module:NAME`, ignoring any @SPLIT; raises ValueError, naming the config field, if it fails."""
    parts = OBJECT_PATTERN.fullmatch(name)
    if parts is None:
        raise ValueError(f"{field} is {name!r}: write package.module:NAME")
    try:
        return getattr(importlib.import_module(parts["module"]), parts["name"])
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{field} {name!r} cannot be imported ({error}): write package.module:NAME, and install the package or "
            "add it to PYTHONPATH"
        ) from error


def open_object(name: str, field: str = "task.source") -> Source:
    """Opens a sequence of records, a function that returns one, or a TFDS builder class with an optional @SPLIT."""
    value = import_object(name, field)
    _, _, split = name.partition("@")
    if isinstance(value, type) and hasattr(value, "as_data_source"):
        from t5x_lite.data.sources.tfds import open_class

        return open_class(value, split, name, field)
    if split:
        raise ValueError(f"{field} {name!r} has @{split}, but only TFDS builder classes have splits: leave it out")
    if callable(value):
        try:
            inspect.signature(value).bind()
        except (TypeError, ValueError) as error:  # ValueError: a class written in C, without a signature
            raise ValueError(f"{field} {name!r} needs arguments ({error}): name a function that needs none") from error
    records: Any = value() if callable(value) else value
    if not (hasattr(records, "__len__") and hasattr(records, "__getitem__")):
        raise ValueError(
            f"{field} {name!r} is or returns a {type(records).__name__}: make it a list, or another sequence with "
            "__len__ and __getitem__"
        )
    return InMemory(records, name)
