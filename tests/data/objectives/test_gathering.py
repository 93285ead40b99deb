"""Tests t5x_lite/data/objectives/gathering.py"""

import numpy as np
import pytest

from t5x_lite.data.objectives.gathering import gather_rows

TOKENS = np.array([[10, 11, 12, 13, 14, 15]], np.uint16)
MASK = np.array([[True, True, False, False, True, False]])


def test_dropped_ids_match_t5s_published_example():
    assert gather_rows(TOKENS, ~MASK, length=4, eos_id=1).tolist() == [[12, 13, 15, 1]]
    assert gather_rows(TOKENS, MASK, length=5, eos_id=1).tolist() == [[10, 11, 14, 1, 0]]


def test_rows_may_keep_different_numbers_of_ids():
    ids = np.array([[7, 8, 9], [4, 5, 6], [3, 2, 1]])
    keep = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], bool)
    rows = gather_rows(ids, keep, length=6, eos_id=99, prefix_ids=(50, 51))
    assert rows.tolist() == [[50, 51, 7, 9, 99, 0], [50, 51, 99, 0, 0, 0], [50, 51, 3, 2, 1, 99]]
    assert rows.dtype == np.int32


def test_a_row_that_does_not_fit_is_an_internal_error():
    with pytest.raises(AssertionError, match="does not fit"):
        gather_rows(TOKENS, MASK, length=3, eos_id=1)
