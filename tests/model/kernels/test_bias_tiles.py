"""Tests t5x_lite/model/kernels/bias_tiles.py"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.bias_tiles import bias_values, toeplitz
from t5x_lite.model.kernels.choice import TILE
from t5x_lite.model.kernels.reference import MASKED_LOGIT
from t5x_lite.model.kernels.tpu import largest_distance
from t5x_lite.model.position import RelativePositionBias


def bias(max_distance=128, *, bidirectional=True):
    cfg = ModelConfig(num_heads=3, relative_position_max_distance=max_distance, relative_position_buckets=20)
    return RelativePositionBias(cfg, bidirectional=bidirectional, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("max_distance", "blocks"), [(1, 1), (128, 2), (129, 2), (130, 3), (300, 4)])
def test_the_farthest_tiles_have_one_bias(max_distance, blocks):
    assert largest_distance(max_distance) == (blocks + 1) * TILE - 1
    assert blocks * TILE - (TILE - 1) >= max_distance


@pytest.mark.parametrize("max_distance", [128, 200])
@pytest.mark.parametrize("is_causal", [False, True])
def test_tiles_make_up_the_bias_of_any_length(max_distance, is_causal):
    table, num_blocks = bias(max_distance, bidirectional=not is_causal), 6
    expected_NTS = np.array(table(num_blocks * TILE, num_blocks * TILE)[0])
    if is_causal:
        expected_NTS[:, np.triu(np.ones(expected_NTS.shape[1:], bool), 1)] = MASKED_LOGIT
    values_ND = bias_values(table, largest_distance(max_distance), is_causal=is_causal)
    reach = values_ND.shape[1] // 2 // TILE
    tiles = [np.asarray(toeplitz(values_ND[:, k * TILE :][:, : 2 * TILE - 1])) for k in range(2 * reach + 1)]
    for queries in range(num_blocks):
        for keys in range(num_blocks):
            tile_Nst = tiles[np.clip(keys - queries, -reach, reach) + reach]
            rows, columns = (slice(block * TILE, (block + 1) * TILE) for block in (queries, keys))
            np.testing.assert_array_equal(tile_Nst.swapaxes(1, 2), expected_NTS[:, rows, columns])


def test_the_gradient_of_a_table_sums_the_gradients_of_its_distances():
    table, distances = bias(), np.arange(-150, 151)
    weights_ND = jax.random.normal(jax.random.key(0), (3, len(distances)))

    def total(module):
        return jnp.sum(bias_values(module, 150, is_causal=False) * weights_ND)

    expected_NK = np.zeros((3, 20))
    for head in range(3):
        np.add.at(expected_NK[head], table.buckets(distances), np.asarray(weights_ND[head]))
    np.testing.assert_allclose(jax.grad(total)(table).table[...], expected_NK, atol=1e-4)


def test_later_keys_have_no_gradient_where_they_are_masked():
    table = bias(bidirectional=False)
    gradient_NK = jax.grad(lambda module: jnp.sum(bias_values(module, 5, is_causal=True)[:, 6:]))(table).table[...]
    np.testing.assert_array_equal(gradient_NK, 0)
