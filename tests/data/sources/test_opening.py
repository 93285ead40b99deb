"""Tests t5x_lite/data/sources/opening.py; tests/data/sources/test_init.py has `open_source`"""

from t5x_lite.data.sources.base import InMemory
from t5x_lite.data.sources.opening import Concatenated
from tests.data.sources.reading import read, where


def test_concatenated_sources_keep_their_order_and_their_names():
    source = Concatenated([InMemory(["a", "b"], "first"), InMemory([], "none"), InMemory([{"text": "c"}], "last")])
    assert [record["text"] for record in read(source)] == ["a", "b", "c"]
    assert where(source, 0, 1, 2) == ["first record 0", "first record 1", "last record 0"]
    assert where(source, 2, 0) == ["last record 0", "first record 0"]
