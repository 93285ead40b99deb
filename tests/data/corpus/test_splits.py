"""Tests t5x_lite/data/corpus/splits.py"""

import numpy as np

from t5x_lite.data.corpus.splits import is_held_out


def test_the_held_out_share_is_what_was_asked_for():
    share = np.mean([is_held_out(f"document {i}", 5.0) for i in range(10_000)])
    np.testing.assert_allclose(share, 0.05, atol=4 * np.sqrt(0.05 * 0.95 / 10_000))


def test_a_larger_share_holds_out_the_same_documents_and_more():
    small, large = ({i for i in range(2_000) if is_held_out(f"document {i}", share)} for share in (10.0, 20.0))
    assert small < large


def test_the_split_is_the_same_for_ever():
    """Another hash would move held-out documents into the training text of old runs."""
    assert [i for i in range(9) if is_held_out(f"document {i}", 40.0)] == [6, 7, 8]
