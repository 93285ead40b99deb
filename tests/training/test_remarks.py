"""Tests t5x_lite/training/remarks.py; test_summary.py tests the warmup"""

import numpy as np

from t5x_lite.training import remarks


class Pairs:
    """Three pairs, of which two inputs and one target are too long."""

    def __len__(self):
        return 3

    def too_long(self):
        return np.array([[True, True], [True, False], [False, False]])


def test_pairs_are_counted_with_those_that_are_truncated(monkeypatch):
    pairs = Pairs()
    monkeypatch.setattr(remarks, "unpacked", lambda examples: pairs)
    assert remarks.describe_pairs(pairs) == "3 pairs (truncated: 2 inputs, 1 targets)"


def test_the_rows_of_packed_pairs_are_counted_too(monkeypatch):
    pairs = type("Short", (), {"__len__": lambda _: 1_234, "too_long": lambda _: np.zeros((1_234, 2), bool)})()
    monkeypatch.setattr(remarks, "unpacked", lambda examples: pairs)
    assert remarks.describe_pairs(range(567)) == "1,234 pairs in 567 rows"
