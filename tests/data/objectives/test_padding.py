"""Tests t5x_lite/data/objectives/padding.py"""

import numpy as np

from t5x_lite.data.objectives.padding import pad_rows


def test_rows_are_padded_after_the_prefix_and_the_ids():
    rows = pad_rows(np.array([[7, 8], [9, 6]], np.uint16), 6, (4, 5, 3))
    assert rows.tolist() == [[4, 5, 3, 7, 8, 0], [4, 5, 3, 9, 6, 0]]
    assert rows.dtype == np.int32
    assert pad_rows(np.array([[7, 8]]), 2).tolist() == [[7, 8]]
