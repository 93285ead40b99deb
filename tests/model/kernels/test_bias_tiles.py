"""Tests t5x_lite/model/kernels/bias_tiles.py"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.bias_tiles import TILE, bias_by_distance, reach, tiles
from t5x_lite.model.kernels.reference import MASKED_LOGIT
from t5x_lite.model.position import RelativePositionBias


def bias_tiles(table, *, is_causal):
    return tiles(bias_by_distance(table, is_causal=is_causal))


def bias(max_distance=128, *, bidirectional=True):
    cfg = ModelConfig(num_heads=3, relative_position_max_distance=max_distance)
    return RelativePositionBias(cfg, bidirectional=bidirectional, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("max_distance", "blocks"), [(1, 1), (128, 2), (129, 2), (130, 3), (300, 4)])
def test_beyond_the_reach_all_distances_share_a_bucket(max_distance, blocks):
    assert reach(max_distance) == blocks
    assert blocks * TILE - (TILE - 1) >= max_distance


@pytest.mark.parametrize("max_distance", [128, 200])
@pytest.mark.parametrize("is_causal", [False, True])
def test_the_tiles_make_up_the_bias_of_any_length(max_distance, is_causal):
    table, num_blocks = bias(max_distance, bidirectional=not is_causal), 6
    expected_NTS = np.array(table(num_blocks * TILE, num_blocks * TILE)[0])
    if is_causal:
        expected_NTS[:, np.triu(np.ones(expected_NTS.shape[1:], bool), 1)] = MASKED_LOGIT
    tiles_NKst, far = np.asarray(bias_tiles(table, is_causal=is_causal)), reach(max_distance)
    for queries in range(num_blocks):
        for keys in range(num_blocks):
            tile_Nst = tiles_NKst[:, np.clip(keys - queries, -far, far) + far]
            rows, columns = (slice(block * TILE, (block + 1) * TILE) for block in (queries, keys))
            np.testing.assert_array_equal(tile_Nst.swapaxes(1, 2), expected_NTS[:, rows, columns])


def test_the_gradient_of_a_table_sums_the_gradients_of_its_distances():
    table = bias()
    shape = jax.eval_shape(lambda: bias_tiles(table, is_causal=False)).shape
    weights = jax.random.normal(jax.random.key(0), shape)

    def total(module):
        return jnp.sum(bias_tiles(module, is_causal=False) * weights)

    actual = jax.grad(total)(table).table[...]
    buckets = np.array(table.buckets(np.arange(-383, 384)))
    expected = np.zeros(actual.shape)
    for tile in range(shape[1]):
        distances = (tile - 2) * TILE + np.arange(TILE)[:, None] - np.arange(TILE)[None]
        for head in range(3):
            np.add.at(expected[head], buckets[distances + 383], np.asarray(weights[head, tile]))
    np.testing.assert_allclose(actual, expected, atol=1e-3)


def test_tables_of_other_sizes_are_read_as_they_are():
    cfg = dataclasses.replace(bias().cfg, relative_position_buckets=20)
    table = RelativePositionBias(cfg, bidirectional=True, rngs=nnx.Rngs(1))
    assert bias_tiles(table, is_causal=False).shape == (3, 5, TILE, TILE)
