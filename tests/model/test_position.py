"""Tests t5x_lite/model/position.py"""

import numpy as np
from flax import nnx

from t5x_lite.model.position import RelativePositionBias, relative_position_buckets
from tests import tiny

# Computed by T5X's code: key position minus query position, and its bucket.
BIDIRECTIONAL = {
    -200: 15,
    -128: 15,
    -64: 14,
    -46: 13,
    -45: 12,
    -32: 12,
    -23: 11,
    -16: 10,
    -12: 9,
    -11: 8,
    -8: 8,
    -1: 1,
    0: 0,
    1: 17,
    7: 23,
    8: 24,
    12: 25,
    16: 26,
    32: 28,
    64: 30,
    127: 31,
    128: 31,
    200: 31,
}
UNIDIRECTIONAL = {
    16: 16,
    18: 16,
    19: 17,
    21: 18,
    24: 19,
    27: 20,
    31: 21,
    32: 21,
    36: 22,
    40: 23,
    46: 24,
    53: 25,
    60: 26,
    69: 27,
    79: 28,
    91: 29,
    104: 30,
    112: 30,
    113: 31,
    5_000: 31,
} | {distance: distance for distance in range(16)}


def buckets(distance, *, bidirectional):
    return relative_position_buckets(
        np.array(distance), bidirectional=bidirectional, num_buckets=32, max_distance=128
    ).tolist()


def test_bidirectional_buckets_are_the_published_ones():
    assert buckets(list(BIDIRECTIONAL), bidirectional=True) == list(BIDIRECTIONAL.values())


def test_unidirectional_buckets_are_the_published_ones():
    backward = [-distance for distance in UNIDIRECTIONAL]
    assert buckets(backward, bidirectional=False) == list(UNIDIRECTIONAL.values())


def test_keys_after_the_query_share_bucket_zero_in_one_direction():
    assert buckets([1, 2, 300], bidirectional=False) == [0, 0, 0]


def test_the_bias_of_a_pair_is_its_bucket_of_the_table():
    bias = RelativePositionBias(tiny.T5_1_1, bidirectional=True, rngs=nnx.Rngs(0))
    bias_1NTS = np.asarray(bias(5, 9))
    assert bias_1NTS.shape == (1, 3, 5, 9)
    table_NK = np.asarray(bias.table[...])
    for query in range(5):
        for key in range(9):
            (bucket,) = buckets([key - query], bidirectional=True)
            np.testing.assert_array_equal(bias_1NTS[0, :, query, key], table_NK[:, bucket])
