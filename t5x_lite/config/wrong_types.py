# SPDX-License-Identifier: Apache-2.0
"""Says what a field takes, in words, for a value of another type."""

import typing
from typing import Any

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def wrong_type(name: str, value: Any, annotation: Any) -> TypeError:
    """Returns the error for a field whose value is not of its type: of those in WORDS, or a union of them."""
    words = [WORDS[kind] for kind in typing.get_args(annotation) or (annotation,)]
    return TypeError(f"{name} is {value!r}: use {' or '.join(words)}")
