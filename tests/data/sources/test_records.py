"""Tests t5x_lite/data/sources/records.py."""

import pytest

from t5x_lite.data.sources.records import BadRecord, Concatenated, InMemory


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
