"""Tests t5x_lite/data/sources/base.py"""

import pytest

from t5x_lite.data.sources.base import BadRecord, InMemory


def test_a_record_that_is_neither_a_mapping_nor_text_is_named():
    with pytest.raises(BadRecord, match=r"module:function record 1 is a int: make each record a mapping"):
        InMemory(["a", 1], "module:function")[1]
