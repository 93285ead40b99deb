"""Tests t5x_lite/config/encoding.py"""

import pytest

from t5x_lite.config.encoding import EncodingConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "max"}, "pooling is 'max': use one of mean, first, none"),
        ({"dimensions": 0}, "dimensions is 0: use a whole number above 0"),
        ({"max_tokens": -1}, "max_tokens is -1: use a whole number above 0"),
    ],
)
def test_a_value_out_of_range_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        EncodingConfig(**fields)
