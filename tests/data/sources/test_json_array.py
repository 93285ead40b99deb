"""Tests t5x_lite/data/sources/json_array.py"""

import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5x_lite.config import TaskConfig
from t5x_lite.data.sources import json_array
from t5x_lite.data.sources.base import BadRecord
from t5x_lite.data.sources.files import open_file
from tests.data.sources.reading import read, where

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def opened(tmp_path, content, name="a.json"):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_file(tmp_path / name, TaskConfig(), tmp_path / "cache")


@given(
    st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=9),
    st.sampled_from([None, 0, 2]),
    st.integers(1, 40),
)
def test_the_items_are_those_of_the_json_library(tmp_path_factory, records, indent, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "CHUNK_BYTES", chunk)
        source = opened(tmp_path_factory.mktemp("a"), json.dumps(records, indent=indent, ensure_ascii=False))
        assert len(source) == len(records)
        assert read(source) == records


def test_items_are_read_in_any_order(tmp_path):
    records = [{"n": n, "text": '],{"[' * (n % 4), "in": [[n], {"x": n}]} for n in range(300)]
    source = opened(tmp_path, json.dumps(records))
    numbers = random.Random(3).sample(range(300), 300)
    assert [found.record for found in source.read(numbers)] == [records[n] for n in numbers]
    assert where(source, 199) == [f"{tmp_path}/a.json item 200"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\n\n  ", b"\xef\xbb\xbf \r\n"])
def test_a_byte_order_mark_or_blank_lines_may_come_first(tmp_path, mark):
    for content in (b'[{"a": 1},\r\n {"a": 2}]\n \n', b'{"a": 1}\r\n\r\n{"a": 2}\n'):
        assert read(opened(tmp_path, mark + content)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("name", ["a.JSON", "a.Json", "train.json-00000-of-00002"])
def test_other_spellings_of_the_suffix_are_known(tmp_path, name):
    assert read(opened(tmp_path, '[{"a": 1}]', name)) == [{"a": 1}]


@pytest.mark.parametrize("content", ["", "  \n", "[]", "[ \n ]"])
def test_an_empty_array_has_no_items(tmp_path, content):
    assert len(opened(tmp_path, content)) == 0


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("[1, 2]", "is a JSON list: make each record an object"),
        ('"text"', "is a JSON str"),
        ('{"a" 1}', "is not valid JSON"),
        ("", "is not valid JSON"),
        ('{"a": ' + "9" * 5_000 + "}", "is not valid JSON"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is not valid JSON"),
    ],
)
def test_a_bad_item_is_an_error_and_the_others_are_read(tmp_path, item, reason):
    first, bad, last = (found.record for found in opened(tmp_path, f'[{{"a": 1}}, {item}, {{"a": 3}}]').read(range(3)))
    assert (first, last) == ({"a": 1}, {"a": 3})
    assert isinstance(bad, BadRecord)
    assert re.search(rf"a.json item 2 {reason}", str(bad))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}, {"a": ', "ends within its JSON array, in item 2"),
        ('[{"a": "x', "ends within its JSON array, in item 1"),
        ('[{"a": 1}] [{"a": 2}]', "is not one JSON array"),
        ('[{"a": 1}]\n{"a": 2}\n', "is not one JSON array"),
        ('[{"a": 1}}', "is not one JSON array"),
        ('{\n  "data": []\n}', "is neither an array of objects nor one object per line"),
        ("word", "is neither an array of objects nor one object per line"),
    ],
)
def test_what_is_not_one_array_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"a.json {message}"):
        opened(tmp_path, content)


def test_a_comma_after_the_last_item_is_a_bad_item(tmp_path):
    assert [type(found.record) for found in opened(tmp_path, '[{"a": 1},]').read(range(2))] == [dict, BadRecord]
