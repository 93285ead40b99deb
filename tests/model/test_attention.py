"""Tests t5x_lite/model/attention.py"""

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
