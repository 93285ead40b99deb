# SPDX-License-Identifier: Apache-2.0
"""T5's multi-head attention: no biases on the projections, no 1/sqrt(H) on the logits.

Shape letters: B batch, T queries, S keys, D model, N heads, H head, A = N * H: heads side by side; 1 if broadcast.
"""

import functools

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.attention import Seen, attention
from t5x_lite.model.kernels.projection import project
from t5x_lite.model.layers import dropout, weight
from t5x_lite.parallel.rules import axis_size, constrain


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

    def queries(self, x_BTD: jax.Array) -> jax.Array:
        """Returns q_BTA."""
        return self._named("query", project(x_BTD, _joined(self.query), ("embed", "heads")), "tokens")

    def keys_values(self, y_BSD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns k_BSA and v_BSA, gathered over the tokens."""
        k_BSA = self._named("key", project(y_BSD, _joined(self.key), ("embed", "heads")), None)
        v_BSA = self._named("value", project(y_BSD, _joined(self.value), ("embed", "heads")), None)
        return k_BSA, v_BSA

    def project_queries(self, x_BTD: jax.Array) -> jax.Array:
        """Returns q_BTNH."""
        return self.split(self.queries(x_BTD))

    def project_keys_values(self, y_BSD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns k_BSNH and v_BSNH."""
        k_BSA, v_BSA = self.keys_values(y_BSD)
        return self.split(k_BSA), self.split(v_BSA)

    def attend(self, q_BTA, keys_values_BSA, bias=None, seen: Seen = None, dropout_key=None) -> jax.Array:
        """Returns the weighted values, projected back to [B, T, D]; arguments as in `kernels.attention`."""
        drop = None
        if dropout_key is not None and self.cfg.dropout_rate > 0:
            drop = functools.partial(dropout, rate=self.cfg.dropout_rate, key=dropout_key)
        o_BTA = attention(q_BTA, keys_values_BSA, bias, seen, drop, num_heads=self.cfg.num_heads)
        return self._project_out(self._named("attention_out", o_BTA, "tokens"))

    def __call__(self, x_BTD, y_BSD, bias=None, seen: Seen = None, dropout_key=None) -> jax.Array:
        """Attends from x to y; returns [B, T, D]."""
        return self.attend(self.queries(x_BTD), self.keys_values(y_BSD), bias, seen, dropout_key)

    def project_out(self, o_BTNH: jax.Array) -> jax.Array:
        """Returns the heads' outputs, projected back to [B, T, D]."""
        return self._project_out(o_BTNH.reshape(*o_BTNH.shape[:2], -1))

    def _project_out(self, o_BTA: jax.Array) -> jax.Array:
        N, H, D = self.out.shape
        return project(o_BTA, self.out[...].reshape(N * H, D), ("heads", "embed"))

    def split(self, x_BTA: jax.Array) -> jax.Array:
        """Returns x_BTNH."""
        return x_BTA.reshape(*x_BTA.shape[:2], self.cfg.num_heads, self.cfg.head_dim)

    def _named(self, name: str, x_BTA: jax.Array, tokens: str | None) -> jax.Array:
        """Shards tokens and whole heads, and names the result for `remat`."""
        heads = "heads" if self.cfg.num_heads % axis_size("heads") == 0 else None
        return checkpoint_name(constrain(x_BTA, "batch", tokens, heads), name)


def _joined(kernel: nnx.Param) -> jax.Array:
    return kernel[...].reshape(kernel.shape[0], -1)
