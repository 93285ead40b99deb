# SPDX-License-Identifier: Apache-2.0
"""Says why a template cannot use a value of a record."""

from collections.abc import Mapping, Sequence
from typing import Any

from t5x_lite.data.records.missing import is_missing
from t5x_lite.data.records.templates import is_list
from t5x_lite.files.messages import listed


def no_value(record: Mapping[str, Any], field: str, found: Sequence[Any], template: str) -> str:
    """Describes a missing value: a field that is null, or one that the record lacks.

    `found` are the values on the way to the field, and `template` is the template with its name.
    """
    if found and is_missing(found[-1]):
        name = ".".join(field.split(".")[: len(found)])
        kind = "null" if found[-1] is None else "not a number (NaN)"
        return (
            f"has a field {name!r} that is {kind}, but {template} needs its value: fill it in, or put ? after the "
            "field's name in the template to leave it out"
        )
    return f"has no field {field!r}, which {template} uses; its fields are {listed(record) or 'none'}"


def not_text(value: Any, field: str, template: str) -> str:
    """Describes a value that is neither text nor a number, with the remedy; `template` is as in `no_value`."""
    remedy = "make it text"
    if isinstance(value, Mapping):
        remedy = f"use a part of it, such as {{{field}.{next(iter(value), '0')}}}"
    elif is_list(value):
        remedy = f"use a part of it, such as {{{field}.0}}, or join its items: {{{field}:, }}"
    return f"has a {type(value).__name__} in {field!r}, but {template} needs text or a number: {remedy}"
