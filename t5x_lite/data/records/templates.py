# SPDX-License-Identifier: Apache-2.0
"""Templates that turn the fields of a record into text: `summarize: {dialogue}`."""

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from t5x_lite.data.records.missing import is_missing
from t5x_lite.data.sources.base import BadRecord

OPTIONAL = "?"
# A Python format specification, which is a mistake where a separator is expected.
FORMAT = re.compile(r"(.?[<>=^])?[-+ ]?z?#?\d*[,_]?(\.\d+)?[a-zA-Z%]?")


class Template:
    """Text with fields in braces.

    `{a}` is the field a, `{a.b}` the field b of the mapping a, `{a.0}` the first item of the list a. `{a:, }` joins the
    items of the list a with ", ", or whatever follows the colon; text and numbers count as lists of one item. `{a?}`
    and `{a?:, }` are empty if a is missing, null or NaN; `{a?:, }` also leaves out null and NaN items of a list. `{{`
    and `}}` are literal braces. Truth values are written as in JSON, true and false.

    Args:
      text: the template; raises ValueError if it is malformed.
      name: the name of the template in errors, such as task.text.
    """

    def __init__(self, text: str, name: str):
        self.text, self.name = text, name
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"{name} {text!r} is not a valid template ({error}): write {{{{ for a brace") from error
        self._parts = []
        for literal, field, separator, conversion in parsed:
            if field is not None and (not field.rstrip(OPTIONAL) or conversion or _is_format(separator)):
                raise ValueError(
                    f"{name} {text!r} must have field names in braces: write {{field}}, {{field?}} if it may be "
                    "missing, or {field:, } to join the items of a list with a comma"
                )
            self._parts.append((literal, field, separator))

    @property
    def fields(self) -> set[str]:
        """The fields in braces, such as a.b."""
        return {field.removesuffix(OPTIONAL) for _, field, _ in self._parts if field}

    def __call__(self, record: Mapping[str, Any], where: str) -> str:
        """Returns the text of a record; raises BadRecord if a field is missing, null, or neither text nor a number."""
        text = "".join(
            literal + (self._value(record, field, separator, where) if field else "")
            for literal, field, separator in self._parts
        )
        try:
            text.encode()
        except UnicodeEncodeError as error:  # JSON may contain "\ud800", an unpaired surrogate
            raise BadRecord(
                f"{where} contains {text[error.start]!r}, half of a character: fix or remove the record"
            ) from error
        return text

    def _value(self, record: Mapping[str, Any], field: str, separator: str, where: str) -> str:
        value = _part(record, field)  # a column may itself be named "question?"
        is_optional = is_missing(value) and field.endswith(OPTIONAL)
        if is_optional:
            field = field.removesuffix(OPTIONAL)
            value = _part(record, field)
            if is_missing(value):
                return ""
        if separator and is_list(value):
            items = ((i, item) for i, item in enumerate(value) if not (is_optional and is_missing(item)))
            return separator.join(self._text(item, f"{field}.{i}", record, where) for i, item in items)
        return self._text(value, field, record, where)

    def _text(self, value: Any, field: str, record: Mapping[str, Any], where: str) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"  # as in JSON
        if isinstance(value, (int, float)) and not is_missing(value):
            return str(value)
        from t5x_lite.data.records.template_errors import no_value, not_text

        template = f"{self.name} {self.text!r}"
        if is_missing(value):
            raise BadRecord(f"{where} {no_value(record, field, found(record, field), template)}")
        raise BadRecord(f"{where} {not_text(value, field, template)}")


def _is_format(separator: str | None) -> bool:
    text = separator or ""
    return "{" in text or (any(map(str.isalnum, text)) and FORMAT.fullmatch(text) is not None)


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Returns whether a value has items: a text has none."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _part(record: Mapping[str, Any], field: str) -> Any:
    """Returns the value of a possibly nested field, or None if it is missing."""
    values = found(record, field)
    return values[-1] if len(values) > field.count(".") else None


def found(record: Mapping[str, Any], field: str) -> list[Any]:
    """Returns the values on the way to a possibly nested field, as far as they exist."""
    values, value = [], record
    for key in field.split("."):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif is_list(value) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            break
        values.append(value)
    return values
