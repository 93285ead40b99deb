"""Tests t5x_lite/data/records/inputs.py"""

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.records.inputs import input_maker

TASK = TaskConfig(source="sums.jsonl", inputs="add {a} and {b}", targets="{sum}")


def test_inputs_need_no_targets():
    assert input_maker(TASK)({"a": 1, "b": 2}, "line 1") == ["add 1 and 2"]


def test_errors_name_the_template_as_it_was_given():
    with pytest.raises(ValueError, match=r"^line 3 has no field 'b', which --template 'add {a} and {b}' uses"):
        input_maker(TASK, "--template")({"a": 1}, "line 3")
