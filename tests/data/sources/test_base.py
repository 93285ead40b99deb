"""Tests t5x_lite/data/sources/base.py"""

import pytest

from t5x_lite.data.sources.base import BadRecord, Concatenated, InMemory
from tests.data.sources.reading import read, where


def test_concatenated_sources_keep_their_order_and_their_names():
    source = Concatenated([InMemory(["a", "b"], "first"), InMemory([], "none"), InMemory([{"text": "c"}], "last")])
    assert [record["text"] for record in read(source)] == ["a", "b", "c"]
    assert where(source, 0, 1, 2) == ["first record 0", "first record 1", "last record 0"]
    assert where(source, 2, 0) == ["last record 0", "first record 0"]


def test_a_record_that_is_neither_a_mapping_nor_text_is_named():
    with pytest.raises(BadRecord, match=r"module:function record 1 is a int: make each record a mapping"):
        InMemory(["a", 1], "module:function")[1]
