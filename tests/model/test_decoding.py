"""Tests t5x_lite/model/decoding.py; test_transformer.py and test_decoder.py decode with whole models"""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.attention import Attention
from t5x_lite.model.blocks import EncoderBlock
from t5x_lite.model.cache import KeysValues, keys_values
from t5x_lite.model.decoding import attention_step, bias_row, decoder_only_block_step, look_up, read_block
from t5x_lite.model.position import RelativePositionBias
from tests import tiny
from tests.model.test_attention import B, D, H, N, S, T, normal


def test_a_step_sees_cached_keys_and_its_own_and_keeps_its_own():
    attention = Attention(ModelConfig(emb_dim=D, num_heads=N, head_dim=H), rngs=nnx.Rngs(0))
    before_B4D, new_B2D = normal(0, B, 4, D), normal(1, B, 2, D)
    read = keys_values(*attention.project_keys_values(before_B4D))
    cached = KeysValues(*(jnp.pad(array, ((0, 0), (0, 0), (0, 0), (0, 3))) for array in read))
    seen_11T7 = (np.arange(7) < 6)[None, None, None]
    attended_B2D, after = attention_step(attention, new_B2D, cached, jnp.asarray(4), None, seen_11T7)
    whole_B6D = jnp.concatenate([before_B4D, new_B2D], axis=1)
    np.testing.assert_allclose(attended_B2D, attention(new_B2D, whole_B6D), rtol=1e-4, atol=1e-5)
    for array, whole in zip(after, keys_values(*attention.project_keys_values(whole_B6D)), strict=True):
        np.testing.assert_allclose(array[..., :6], whole, rtol=1e-5, atol=1e-6)


def test_looking_up_is_cross_attention():
    attention = Attention(ModelConfig(emb_dim=D, num_heads=N, head_dim=H), rngs=nnx.Rngs(0))
    x_BTD, y_BSD = normal(0, B, T, D), normal(1, B, S, D)
    mask_B11S = np.arange(S)[None, None, None] < np.array([S, 3])[:B, None, None, None]
    cached = keys_values(*attention.project_keys_values(y_BSD))
    expected_BTD = attention(x_BTD, y_BSD, None, mask_B11S)
    np.testing.assert_allclose(look_up(attention, x_BTD, cached, None, mask_B11S), expected_BTD, rtol=1e-4, atol=1e-5)


def test_one_row_is_that_row_of_the_whole_bias():
    bias = RelativePositionBias(tiny.T5_1_1, bidirectional=False, rngs=nnx.Rngs(0))
    whole_1NTT = bias(9, 9)
    for query in (0, 4, 8):
        np.testing.assert_array_equal(bias_row(bias, jnp.asarray(query), 9)[:, :, 0], whole_1NTT[:, :, query])


def test_steps_of_an_encoder_block_are_the_block_where_no_token_sees_later_ones():
    block = tiny.drawn(EncoderBlock, tiny.T5_1_1)
    x_BTD = np.random.default_rng(0).normal(size=(3, 4, 20)).astype(np.float32)
    first_BPD, read = read_block(block, x_BTD[:, :3], None, np.tri(3, dtype=bool)[None, None])
    cached = KeysValues(*(jnp.pad(array, ((0, 0), (0, 0), (0, 0), (0, 1))) for array in keys_values(*read)))
    last_B1D, _ = decoder_only_block_step(block, x_BTD[:, 3:], cached, 3, None, np.ones((1, 1, 1, 4), bool))
    expected_BTD = block(x_BTD, None, np.tri(4, dtype=bool)[None, None])
    np.testing.assert_allclose(np.concatenate([first_BPD, last_B1D], axis=1), expected_BTD, rtol=1e-4, atol=1e-5)
