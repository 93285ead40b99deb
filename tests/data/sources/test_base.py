"""Tests t5x_lite/data/sources/records.py"""

import pytest

from t5x_lite.data.sources.base import BadRecord, Concatenated, InMemory, decoded, json_object


def test_concatenated_sources_keep_their_order_and_their_names():
    source = Concatenated([InMemory(["a", "b"], "first"), InMemory([], "none"), InMemory([{"text": "c"}], "last")])
    assert [source[i]["text"] for i in range(len(source))] == ["a", "b", "c"]
    assert [source.where(i) for i in range(3)] == ["first record 0", "first record 1", "last record 0"]


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_is_refused(index):
    with pytest.raises(IndexError):
        Concatenated([InMemory(["a", "b", "c"], "name")])[index]


def test_a_record_that_is_neither_a_mapping_nor_text_is_named():
    with pytest.raises(BadRecord, match=r"module:function record 1 is a int: make the function return mappings"):
        InMemory(["a", 1], "module:function")[1]


def test_an_object_of_json_is_a_record_and_the_last_of_two_values_counts():
    assert json_object('{"a": [1, null], "b": "\\u00e9", "a": 2}', "here") == {"a": 2, "b": "\u00e9"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"here is not valid JSON \(Expecting property name .*, column 2\): mend or remove the record"),
        ('"text"', r"here is a JSON str: make each record an object"),
        ('{"a": ' + "[" * 100_000, "here is not valid JSON"),
        ('{"a": ' + "9" * 5_000 + "}", "here is not valid JSON"),
    ],
)
def test_what_is_no_object_of_json_is_refused(text, message):
    with pytest.raises(BadRecord, match=message):
        json_object(text, "here")


def test_bytes_that_are_no_text_are_named():
    assert decoded("\u00e9\0".encode(), "here") == "\u00e9\0"
    with pytest.raises(BadRecord, match=r"here is not UTF-8 \(its byte 1 is 0xe9\): convert the file to UTF-8"):
        decoded(b"a\xe9", "here")
