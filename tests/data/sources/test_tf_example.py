"""Tests t5x_lite/data/sources/tf_example.py"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.data.sources.tf_example import parse_example


def field(number, content):
    """A field of bytes as protobuf's wire format has it."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value):
    groups = []
    while True:
        groups.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(groups)


def example(**features):
    """An Example, written from the description of the format."""
    entries = b""
    for key, values in features.items():
        if values and isinstance(values[0], float):
            feature = field(2, field(1, b"".join(struct.pack("<f", value) for value in values)))
        elif values and isinstance(values[0], int):
            feature = field(3, field(1, b"".join(varint(value % 2**64) for value in values)))
        else:
            feature = field(1, b"".join(field(1, value) for value in values))
        entries += field(1, field(1, key.encode()) + field(2, feature))
    return field(1, entries)


def test_features_are_read_by_name():
    content = example(text=["\u00e9 one".encode()], answers=[b"a", b"b", b"c"], label=[-3], vector=[0.5, -2.0], none=[])
    assert parse_example(content) == {
        "text": "\u00e9 one",
        "answers": ["a", "b", "c"],
        "label": -3,
        "vector": [0.5, -2.0],
        "none": [],
    }


def test_numbers_that_are_not_packed_are_read():
    feature = field(3, b"\x08\x05" + b"\x08\x07")
    assert parse_example(field(1, field(1, field(1, b"n") + field(2, feature)))) == {"n": [5, 7]}


def test_bytes_that_are_not_utf8_stay_bytes():
    assert parse_example(example(image=[b"\xff\xd8"], text=[b"a"])) == {"image": b"\xff\xd8", "text": "a"}


@pytest.mark.parametrize(
    "content",
    [b"", b"plain text", b'{"a": 1}', b"\n", b"\n\0", b"\nA line break, then text", b"\n\n\n\n", b"\n\x03abc"],
)
def test_anything_else_is_none(content):
    assert parse_example(content) is None


def test_a_truncated_or_extended_example_is_none():
    content = example(text=[b"a text of some length"])
    assert parse_example(content[:-1]) is None
    assert parse_example(content + field(9, b"?")) is None
    assert parse_example(content + b"\xff") is None


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda content: b"\n" + content))
def test_any_bytes_are_an_example_or_none(content):
    assert isinstance(parse_example(content), (dict, type(None)))


@given(st.text(st.characters(exclude_categories=["C"]) | st.just("\n"), max_size=300))
def test_text_that_begins_with_a_line_break_is_not_an_example(text):
    assert parse_example(f"\n{text}".encode()) is None
