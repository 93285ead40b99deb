# SPDX-License-Identifier: Apache-2.0
"""T5's multi-head attention: no biases on the projections, no 1/sqrt(H) on the logits.

Shape letters: B batch, T queries, S keys, D model, N heads, H head; 1 if broadcast.
"""

import functools

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.attention import dot_product_attention
from t5x_lite.model.kernels.projection import project
from t5x_lite.model.layers import dropout, weight
from t5x_lite.parallel.rules import constrain

# Queries are sharded like their tokens; keys and values are gathered over the tokens.
QUERY_AXES = ("batch", "tokens", "heads", "head_dim")
KEY_AXES = ("batch", None, "heads", "head_dim")


class Attention(nnx.Module):
    """Self-attention if `x_BTD` and `y_BSD` are the same array, otherwise cross-attention."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        D, N, H = cfg.emb_dim, cfg.num_heads, cfg.head_dim
        self.cfg = cfg
        into_heads, out_of_heads = ("embed", "heads", "head_dim"), ("heads", "head_dim", "embed")
        # T5 folds the missing 1/sqrt(H) into the initial query kernel, so that logits start at unit variance.
        self.query = weight(rngs.params(), (D, N, H), into_heads, stddev=(D * H) ** -0.5)
        self.key = weight(rngs.params(), (D, N, H), into_heads, stddev=D**-0.5)
        self.value = weight(rngs.params(), (D, N, H), into_heads, stddev=D**-0.5)
        self.out = weight(rngs.params(), (N, H, D), out_of_heads, stddev=(N * H) ** -0.5)

    def project_queries(self, x_BTD: jax.Array) -> jax.Array:
        """Returns q_BTNH."""
        return checkpoint_name(constrain(_into_heads(x_BTD, self.query), *QUERY_AXES), "query")

    def project_keys_values(self, y_BSD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns k_BSNH and v_BSNH."""
        k_BSNH = checkpoint_name(constrain(_into_heads(y_BSD, self.key), *KEY_AXES), "key")
        v_BSNH = checkpoint_name(constrain(_into_heads(y_BSD, self.value), *KEY_AXES), "value")
        return k_BSNH, v_BSNH

    def attend(self, q_BTNH, k_BSNH, v_BSNH, bias_1NTS=None, mask_B1TS=None, dropout_key=None) -> jax.Array:
        """Returns the weighted values, projected back to [B, T, D]."""
        drop = None
        if dropout_key is not None and self.cfg.dropout_rate > 0:
            drop = functools.partial(dropout, rate=self.cfg.dropout_rate, key=dropout_key)
        o_BTNH = dot_product_attention(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, drop)
        return self.project_out(checkpoint_name(constrain(o_BTNH, *QUERY_AXES), "attention_out"))

    def __call__(self, x_BTD, y_BSD, bias_1NTS=None, mask_B1TS=None, dropout_key=None) -> jax.Array:
        """Attends from x to y; returns [B, T, D]."""
        q_BTNH = self.project_queries(x_BTD)
        k_BSNH, v_BSNH = self.project_keys_values(y_BSD)
        return self.attend(q_BTNH, k_BSNH, v_BSNH, bias_1NTS, mask_B1TS, dropout_key)

    def project_out(self, o_BTNH: jax.Array) -> jax.Array:
        """Returns the heads' outputs, projected back to [B, T, D]."""
        B, T, N, H = o_BTNH.shape
        return project(o_BTNH.reshape(B, T, N * H), self.out[...].reshape(N * H, -1), ("heads", "embed"))


def _into_heads(x_BTD: jax.Array, kernel: nnx.Param) -> jax.Array:
    (B, T, _), (D, N, H) = x_BTD.shape, kernel.shape
    return project(x_BTD, kernel[...].reshape(D, N * H), ("embed", "heads")).reshape(B, T, N, H)
