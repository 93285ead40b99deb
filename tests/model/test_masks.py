"""Tests t5x_lite/model/masks.py"""

import numpy as np

from t5x_lite.model import masks


def test_padding_is_hidden_from_every_query():
    mask_B11S = masks.padding_mask(np.array([[5, 6, 0], [7, 0, 0]]), 0)
    np.testing.assert_array_equal(mask_B11S, [[[[True, True, False]]], [[[True, False, False]]]])
    mask_B11S = masks.padding_mask(np.array([[5, 0, 3], [7, 3, 3]]), 3)
    np.testing.assert_array_equal(mask_B11S, [[[[True, True, False]]], [[[True, False, False]]]])


def test_a_query_sees_itself_and_earlier_keys():
    np.testing.assert_array_equal(masks.causal_mask(3)[0, 0], [[1, 0, 0], [1, 1, 0], [1, 1, 1]])


def test_a_query_only_sees_keys_of_its_own_segment_and_never_padding():
    mask_B1TS = masks.segment_mask(np.array([[1, 2, 0]]), np.array([[1, 1, 2, 0]]))
    np.testing.assert_array_equal(mask_B1TS[0, 0], [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])


def test_prefixes_of_packed_examples_are_seen_both_ways_as_t5x_documents_it():
    segments, prefix = np.array([[1, 1, 1, 2, 2, 2, 0]]), np.array([[1, 1, 0, 1, 1, 0, 0]])
    mask_B1TT = (masks.causal_mask(7) | masks.prefix_mask(prefix)) & masks.segment_mask(segments, segments)
    expected = [
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(mask_B1TT[0, 0], expected)
