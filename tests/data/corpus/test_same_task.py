"""Tests t5x_lite/data/corpus/same_task.py; test_prepare.py tests text that is prepared already"""

import pytest

from t5x_lite.data.corpus.same_task import check_same_task


def test_nested_fields_are_named_in_full(tmp_path):
    with pytest.raises(ValueError, match=r"task.tokenizer.kind is bytes, but the text in .* was prepared with other"):
        check_same_task({"tokenizer": {"kind": "other"}}, {"tokenizer": {"kind": "bytes"}}, tmp_path)


@pytest.mark.parametrize("field", ["objective", "noise_density", "metrics", "prepared"])
def test_the_use_of_the_text_may_change(field, tmp_path):
    check_same_task({field: "this"}, {field: "that"}, tmp_path)
