# SPDX-License-Identifier: Apache-2.0
"""Transformer blocks, the layers of encoder and decoder stacks.

Shape letters: B batch, T target tokens, S input tokens, D model.
"""

import jax
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.attention import Attention
from t5x_lite.model.kernels.attention import Seen
from t5x_lite.model.layers import MLP, RMSNorm, dropout, shard_residual, shard_tokens


def split_key(key: jax.Array | None, num: int) -> tuple[jax.Array | None, ...]:
    """Splits a key into `num` keys; for None, returns `num` Nones."""
    return (None,) * num if key is None else tuple(jax.random.split(key, num))


class EncoderBlock(nnx.Module):
    """Self-attention and feed-forward network; decoder-only models use it with a causal mask."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.attention_norm = RMSNorm(cfg.emb_dim, cfg.norm_epsilon)
        self.attention = Attention(cfg, rngs=rngs)
        self.mlp_norm = RMSNorm(cfg.emb_dim, cfg.norm_epsilon)
        self.mlp = MLP(cfg, rngs=rngs)

    def __call__(self, x_BSD, bias, seen: Seen, dropout_key=None) -> jax.Array:
        keys = split_key(dropout_key, 4)
        rate = self.cfg.dropout_rate
        normed_BSD = shard_tokens(self.attention_norm(x_BSD))
        attended_BSD = self.attention(normed_BSD, normed_BSD, bias, seen, keys[0])
        x_BSD = shard_residual(x_BSD + dropout(shard_residual(attended_BSD), rate, keys[1]))
        return shard_residual(x_BSD + dropout(shard_residual(self.mlp(self.mlp_norm(x_BSD), keys[2])), rate, keys[3]))


class DecoderBlock(nnx.Module):
    """Self-attention over the targets, cross-attention over the encoded inputs, and feed-forward network."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.self_attention_norm = RMSNorm(cfg.emb_dim, cfg.norm_epsilon)
        self.self_attention = Attention(cfg, rngs=rngs)
        self.cross_attention_norm = RMSNorm(cfg.emb_dim, cfg.norm_epsilon)
        self.cross_attention = Attention(cfg, rngs=rngs)
        self.mlp_norm = RMSNorm(cfg.emb_dim, cfg.norm_epsilon)
        self.mlp = MLP(cfg, rngs=rngs)

    def __call__(self, x_BTD, encoded_BSD, bias, seen: tuple[Seen, Seen], dropout_key=None) -> jax.Array:
        """Returns x_BTD; `seen` is what self-attention sees and what cross-attention does."""
        seen_targets, seen_inputs = seen
        keys = split_key(dropout_key, 6)
        rate = self.cfg.dropout_rate
        normed_BTD = shard_tokens(self.self_attention_norm(x_BTD))
        attended_BTD = self.self_attention(normed_BTD, normed_BTD, bias, seen_targets, keys[0])
        x_BTD = shard_residual(x_BTD + dropout(shard_residual(attended_BTD), rate, keys[1]))
        normed_BTD = shard_tokens(self.cross_attention_norm(x_BTD))
        attended_BTD = self.cross_attention(normed_BTD, encoded_BSD, None, seen_inputs, keys[2])
        x_BTD = shard_residual(x_BTD + dropout(shard_residual(attended_BTD), rate, keys[3]))
        return shard_residual(x_BTD + dropout(shard_residual(self.mlp(self.mlp_norm(x_BTD), keys[4])), rate, keys[5]))
