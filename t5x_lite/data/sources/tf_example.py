# SPDX-License-Identifier: Apache-2.0
"""Parses tf.train.Example without TensorFlow.

Source: TensorFlow `example.proto` and `feature.proto`.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as _Field
from google.protobuf.message import DecodeError

from t5x_lite.data.sources.base import Record

_PACKAGE = "t5x_lite.example"
# The fields of each message: (name, type, repeated). On the wire, a map is a repeated field of entries.
_MESSAGES = {
    "Bytes": (("value", _Field.TYPE_BYTES, True),),
    "Floats": (("value", _Field.TYPE_FLOAT, True),),
    "Integers": (("value", _Field.TYPE_INT64, True),),
    "Feature": (("bytes_list", "Bytes", False), ("float_list", "Floats", False), ("int64_list", "Integers", False)),
    "Entry": (("key", _Field.TYPE_STRING, False), ("value", "Feature", False)),
    "Features": (("entry", "Entry", True),),
    "Example": (("features", "Features", False),),
}
FIRST_BYTE = b"\x0a"  # the tag of field 1, a message


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="t5x_lite/example.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, (name, kind, is_many) in enumerate(fields, 1):
            field = made.field.add(name=name, number=number)
            field.label = _Field.LABEL_REPEATED if is_many else _Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = kind
    return file


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())
_Example: Any = message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


def parse_example(content: bytes) -> Record | None:
    """Returns the features of a serialised Example, or None if it is not one.

    A feature with one value becomes that value, any other a list; UTF-8 bytes become strings.
    """
    if not content.startswith(FIRST_BYTE):
        return None
    try:
        example = _Example.FromString(content)
    except DecodeError:
        return None
    # Text that starts with a newline may parse as unknown fields, which a real Example does not have.
    size = example.ByteSize()
    example.DiscardUnknownFields()
    if example.ByteSize() < size or not example.features.entry:
        return None
    return {entry.key: _value(entry.value) for entry in example.features.entry}


def _value(feature: Any) -> Any:
    values = feature.bytes_list.value or feature.float_list.value or feature.int64_list.value
    values = [_text(value) if isinstance(value, bytes) else value for value in values]
    return values[0] if len(values) == 1 else values


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:  # such as an image; templates need not use it
        return value
