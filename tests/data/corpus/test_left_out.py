"""Tests t5x_lite/data/corpus/left_out.py"""

import pytest

from t5x_lite.config import TaskConfig
from t5x_lite.data.corpus.manifest import check_not_empty

COUNTS = {"num_train_documents": 3, "num_eval_documents": 2, "num_short": 0, "num_skipped": 0, "parts": []}


@pytest.mark.parametrize(
    ("task", "counts", "message"),
    [
        (
            TaskConfig(source="a.txt", min_characters=9),
            {"num_train_documents": 0, "num_eval_documents": 0, "num_short": 4},
            r"task.source a.txt has no usable documents: left out 4 documents shorter than task.min_characters 9",
        ),
        (
            TaskConfig(source="a.txt"),
            {
                "num_train_documents": 0,
                "num_eval_documents": 0,
                "num_skipped": 2,
                "parts": [{"first_skipped": []}, {"first_skipped": ["a.txt line 3 is bad"]}],
            },
            r"no usable documents: skipped 2 bad records or files; the first: a.txt line 3 is bad",
        ),
        (TaskConfig(source="a.txt", eval_source="b.txt"), {"num_eval_documents": 0}, r"task.eval_source b.txt has"),
        (
            TaskConfig(source="a.txt", eval_source="b.txt"),
            {"num_train_documents": 0},
            r"task.source a.txt has no",
        ),
        (
            TaskConfig(source="a.txt", eval_percent=0.1),
            {"num_eval_documents": 0},
            r"task.eval_percent 0.1 splits 3 documents into 3 for training and 0 held out: use another eval_percent",
        ),
    ],
)
def test_the_error_of_an_empty_split_has_the_reason(task, counts, message):
    with pytest.raises(ValueError, match=message):
        check_not_empty(task, COUNTS | counts)
