"""Tests t5x_lite/model/cache.py."""

import jax.numpy as jnp
import numpy as np

from t5x_lite.model.cache import insert


def test_a_token_is_written_at_its_position_and_nowhere_else():
    cached_BTNH = np.zeros((2, 5, 3, 4), np.float32)
    new_B1NH = np.random.default_rng(0).normal(size=(2, 1, 3, 4)).astype(np.float32)
    written = np.asarray(insert(cached_BTNH, new_B1NH, jnp.asarray(3)))
    np.testing.assert_array_equal(written[:, 3:4], new_B1NH)
    np.testing.assert_array_equal(np.delete(written, 3, axis=1), 0)


def test_all_layers_are_written_at_once():
    cached_LBTNH = np.zeros((6, 2, 5, 3, 4), np.float32)
    new_LB1NH = np.ones((6, 2, 1, 3, 4), np.float32)
    written = np.asarray(insert(cached_LBTNH, new_LB1NH, jnp.asarray(0)))
    assert written.sum() == new_LB1NH.sum() == written[:, :, 0].sum()


def test_the_cache_keeps_its_type():
    assert insert(jnp.zeros((1, 2, 3, 4), jnp.bfloat16), jnp.ones((1, 1, 3, 4)), jnp.asarray(1)).dtype == jnp.bfloat16


def test_many_tokens_are_written_from_their_position_on():
    new_BQNH = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)
    written = np.asarray(insert(np.zeros((2, 7, 4, 6), np.float32), new_BQNH, jnp.asarray(2)))
    np.testing.assert_array_equal(written[:, 2:5], new_BQNH)
    np.testing.assert_array_equal(np.delete(written, range(2, 5), axis=1), 0)
