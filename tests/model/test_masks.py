"""Tests t5x_lite/model/masks.py"""

import jax.numpy as jnp
import numpy as np
import pytest

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


SEGMENTS, PREFIX = np.array([[1, 1, 2, 2, 0]]), np.array([[1, 0, 1, 1, 0]])


@pytest.mark.parametrize(
    "visible",
    [
        masks.padded(jnp.array([[5, 6, 0, 7, 0]]), 0),
        masks.padded(jnp.array([[5, 6, 7, 8, 0]]), 0, jnp.array(SEGMENTS)),
        masks.causal(jnp.array(SEGMENTS)),
        masks.causal(jnp.array(SEGMENTS), jnp.array(PREFIX)),
        masks.causal(prefix_BT=jnp.array(PREFIX)),
    ],
    ids=["padded", "packed", "causal", "prefixes", "one prefix"],
)
def test_codes_say_what_the_mask_says(visible):
    codes = visible.codes(1, 5, 5)
    queries_T1, keys_1S = np.asarray(codes.queries_BT)[0][:, None], np.asarray(codes.keys_BS)
    same_TS = queries_T1 >> 1 == keys_1S >> 1
    both_TS = (queries_T1 & keys_1S & 1 == 1) if codes.has_prefix else np.zeros((5, 5), bool)
    ordered_TS = np.tri(5, dtype=bool) | both_TS if codes.is_causal else np.ones((5, 5), bool)
    np.testing.assert_array_equal(same_TS & ordered_TS, np.broadcast_to(visible.mask(5), (1, 1, 5, 5))[0, 0])


def test_a_causal_row_without_segments_needs_no_codes():
    assert masks.causal().codes(1, 5, 5).keys_BS is None
    np.testing.assert_array_equal(masks.causal().mask(5), masks.causal_mask(5))
    assert masks.Visible().mask(5) is None
