"""Tests t5x_lite/files/yaml_limits.py; test_yaml_text.py has the texts that are refused"""

import pytest

from t5x_lite.files.yaml_limits import MAX_DEPTH, check_size
from t5x_lite.files.yaml_nodes import compose
from t5x_lite.files.yaml_text import Misread


def test_values_may_be_nested_up_to_the_limit():
    check_size(compose("[" * MAX_DEPTH + "a" + "]" * MAX_DEPTH))
    with pytest.raises(Misread, match=r"line 1: values are nested more than 64 deep"):
        check_size(compose("[" * (MAX_DEPTH + 1) + "a" + "]" * (MAX_DEPTH + 1)))
