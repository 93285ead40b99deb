"""Tests t5x_lite/model/attention.py"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.attention import Attention
from t5x_lite.model.cache import KeysValues, keys_values

B, T, S, D, N, H = 2, 3, 5, 256, 4, 64


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def test_logits_start_at_unit_variance():
    attention = Attention(ModelConfig(emb_dim=D, num_heads=N, head_dim=H), rngs=nnx.Rngs(0))
    q_BTNH = attention.project_queries(normal(0, B, T, D))
    k_BSNH, _ = attention.project_keys_values(normal(1, B, S, D))
    logits_BNTS = jnp.einsum("BTNH,BSNH->BNTS", q_BTNH, k_BSNH)
    np.testing.assert_allclose(logits_BNTS.std(), 1.0, atol=0.2)


def test_cross_attention_takes_keys_and_values_from_the_other_array():
    attention = Attention(ModelConfig(emb_dim=D, num_heads=N, head_dim=H), rngs=nnx.Rngs(0))
    x_BTD, y_BSD = normal(0, B, T, D), normal(1, B, S, D)
    attended_BTD = attention(x_BTD, y_BSD)
    assert attended_BTD.shape == (B, T, D)
    assert not np.allclose(attended_BTD, attention(x_BTD, 2 * y_BSD))


def test_a_step_sees_cached_keys_and_its_own_and_keeps_its_own():
    attention = Attention(ModelConfig(emb_dim=D, num_heads=N, head_dim=H), rngs=nnx.Rngs(0))
    before_B4D, new_B2D = normal(0, B, 4, D), normal(1, B, 2, D)
    read = keys_values(*attention.project_keys_values(before_B4D))
    cached = KeysValues(*(jnp.pad(array, ((0, 0), (0, 0), (0, 0), (0, 3))) for array in read))
    seen_11T7 = (np.arange(7) < 6)[None, None, None]
    attended_B2D, after = attention.step(new_B2D, cached, jnp.asarray(4), None, seen_11T7)
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
    np.testing.assert_allclose(attention.look_up(x_BTD, cached, None, mask_B11S), expected_BTD, rtol=1e-4, atol=1e-5)
