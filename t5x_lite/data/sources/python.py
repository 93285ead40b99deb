# SPDX-License-Identifier: Apache-2.0
"""What is named `package.module:NAME`: records that a Python function returns, and other objects."""

import importlib
import inspect
import pathlib
import re
from typing import Any

from t5x_lite.data.sources.base import InMemory, Source
from t5x_lite.data.sources.tfds import open_class

OBJECT_PATTERN = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)(?:@(?P<split>.+))?")


def is_object(name: str) -> bool:
    """Whether a source's name is that of a Python object, and not of a file."""
    return OBJECT_PATTERN.fullmatch(name) is not None and not pathlib.Path(name).exists()


def import_object(name: str, field: str) -> Any:
    """Returns what `package.module:NAME` is.

    Args:
      name: of the object; what follows an @ is left out.
      field: of the config, for errors.

    Raises:
      ValueError: if there is none.
    """
    parts = OBJECT_PATTERN.fullmatch(name)
    if parts is None:
        raise ValueError(f"{field} is {name!r}: write package.module:NAME")
    try:
        return getattr(importlib.import_module(parts["module"]), parts["name"])
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{field} {name!r} cannot be imported ({error}): write package.module:NAME, and have the package installed "
            "or in PYTHONPATH"
        ) from error


def open_object(name: str, field: str = "task.source") -> Source:
    """Opens a builder class of TFDS, a function that returns records, or records themselves.

    Args:
      name: package.module:NAME, with @SPLIT for a builder class.
      field: of the config, for errors.

    Raises:
      ValueError: if the name stands for nothing of the kind.
    """
    found = import_object(name, field)
    _, _, split = name.partition("@")
    if isinstance(found, type) and hasattr(found, "as_data_source"):
        return open_class(found, split, name, field)
    if split:
        raise ValueError(f"{field} {name!r} has @{split}, and only a builder class of TFDS has splits: leave it out")
    if callable(found):
        try:
            inspect.signature(found).bind()
        except (TypeError, ValueError) as error:  # ValueError: a class written in C, of which nobody knows
            raise ValueError(f"{field} {name!r} needs arguments ({error}): name a function without any") from error
    records: Any = found() if callable(found) else found
    if not (hasattr(records, "__len__") and hasattr(records, "__getitem__")):
        raise ValueError(
            f"{field} {name!r} gave a {type(records).__name__}: make it return a list, or another sequence with a "
            "length and items by number"
        )
    return InMemory(records, name)
