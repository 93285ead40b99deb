"""Tests t5x_lite/model/attention.py."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.attention import Attention

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


def test_a_step_sees_cached_keys_and_its_own_and_returns_its_own():
    attention = Attention(ModelConfig(emb_dim=D, num_heads=N, head_dim=H), rngs=nnx.Rngs(0))
    before_B4D, new_B2D = normal(0, B, 4, D), normal(1, B, 2, D)
    room_B3NH = jnp.zeros((B, 3, N, H))
    cached = tuple(
        jnp.concatenate([array_B4NH, room_B3NH], axis=1) for array_B4NH in attention.project_keys_values(before_B4D)
    )
    seen_11T7 = (np.arange(7) < 6)[None, None, None]
    attended_B2D, own = attention.step(new_B2D, cached, jnp.asarray(4), None, seen_11T7)
    whole_B6D = jnp.concatenate([before_B4D, new_B2D], axis=1)
    np.testing.assert_allclose(attended_B2D, attention(new_B2D, whole_B6D), rtol=1e-4, atol=1e-5)
    for array_B2NH, expected_B2NH in zip(own, attention.project_keys_values(new_B2D), strict=True):
        np.testing.assert_array_equal(array_B2NH, expected_B2NH)
