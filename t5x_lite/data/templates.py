# SPDX-License-Identifier: Apache-2.0
"""Text from the fields of a record: `summarize: {dialogue}`."""

import string
from collections.abc import Mapping, Sequence
from typing import Any

from t5x_lite.data.sources.records import BadRecord


class Template:
    """Text with fields in braces.

    `{a}` is the field a, `{a.b}` the field b of the mapping a, `{a.0}` the first item of the list a; `{{` and `}}` are
    braces.

    Args:
      text: the template.
      name: what errors call it, for example task.text.

    Raises:
      ValueError: if the braces do not make sense.
    """

    def __init__(self, text: str, name: str):
        self.text, self.name = text, name
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{name} {text!r} is no template ({error}): write {{{{ for a brace itself") from error
        self._parts = []
        for literal, field, form, conversion in parsed:
            if field == "" or form or conversion:
                raise ValueError(f"{name} {text!r} has something else than a field's name in braces: write {{field}}")
            self._parts.append((literal, field.split(".") if field else None))

    def __call__(self, record: Mapping[str, Any], where: str) -> str:
        """Returns the text of a record.

        Args:
          record: its fields.
          where: where it came from.

        Raises:
          BadRecord: if a field is missing, null or neither text nor a number.
        """
        text = "".join(literal + (self._value(record, keys, where) if keys else "") for literal, keys in self._parts)
        try:
            text.encode()
        except UnicodeEncodeError as error:  # JSON may say "\ud800", half of a character
            raise BadRecord(
                f"{where} has {text[error.start]!r} in it, which is half of a character: mend or remove the record"
            ) from error
        return text

    def _value(self, record: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
        value: Any = record
        for key in keys:
            value = _item(value, key)
        if isinstance(value, str):
            return value
        field = ".".join(keys)
        if value is None:
            raise BadRecord(
                f"{where} has no field {field!r}, which {self.name} {self.text!r} asks for; it has "
                f"{', '.join(map(str, record)) or 'none'}"
            )
        if isinstance(value, (bool, int, float)):
            return str(value)
        raise BadRecord(
            f"{where} has a {type(value).__name__} in {field!r}, and {self.name} {self.text!r} needs text or a number: "
            f"name a part of it, such as {{{field}.{_example(value)}}}"
        )


def _item(value: Any, key: str) -> Any:
    """The part of a mapping or list, None if it has none of that name."""
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, Sequence) and not isinstance(value, str) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return None


def _example(value: Any) -> str:
    return str(next(iter(value), "0")) if isinstance(value, Mapping) else "0"
