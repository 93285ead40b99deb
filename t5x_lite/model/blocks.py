# SPDX-License-Identifier: Apache-2.0
"""One layer of each stack. A block adds to the residual stream; it never replaces it.

Shape letters: B batch, T target tokens, S input tokens, D model, N heads, H head.
"""

import jax
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.attention import Attention
from t5x_lite.model.cache import LayerCache
from t5x_lite.model.layers import MLP, RMSNorm, dropout


def split_key(key: jax.Array | None, num: int) -> tuple[jax.Array | None, ...]:
    """Returns `num` keys, or as many None: without a key nothing is dropped."""
    return (None,) * num if key is None else tuple(jax.random.split(key, num))


class EncoderBlock(nnx.Module):
    """Self-attention over the tokens, then the feed-forward network; what each sees, mask and bias say."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.attention_norm = RMSNorm(cfg.emb_dim)
        self.attention = Attention(cfg, rngs=rngs)
        self.mlp_norm = RMSNorm(cfg.emb_dim)
        self.mlp = MLP(cfg, rngs=rngs)

    def __call__(self, x_BSD, bias_1NSS, mask_B1SS, dropout_key=None) -> jax.Array:
        keys = split_key(dropout_key, 4)
        rate = self.cfg.dropout_rate
        normed_BSD = self.attention_norm(x_BSD)
        attended_BSD = self.attention(normed_BSD, normed_BSD, bias_1NSS, mask_B1SS, keys[0])
        x_BSD = x_BSD + dropout(attended_BSD, rate, keys[1])
        return x_BSD + dropout(self.mlp(self.mlp_norm(x_BSD), keys[2]), rate, keys[3])

    def step(self, x_BTD, cached: tuple, position, bias_1NTS, mask_B1TS) -> tuple[jax.Array, tuple]:
        """Decodes the tokens from `position` on against the cached ones; as `Attention.step`."""
        attended_BTD, keys_values = self.attention.step(
            self.attention_norm(x_BTD), cached, position, bias_1NTS, mask_B1TS
        )
        x_BTD = x_BTD + attended_BTD
        return x_BTD + self.mlp(self.mlp_norm(x_BTD)), keys_values


class DecoderBlock(nnx.Module):
    """Self-attention over the targets so far, cross-attention over the encoded inputs, the feed-forward network."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        self.cfg = cfg
        self.self_attention_norm = RMSNorm(cfg.emb_dim)
        self.self_attention = Attention(cfg, rngs=rngs)
        self.cross_attention_norm = RMSNorm(cfg.emb_dim)
        self.cross_attention = Attention(cfg, rngs=rngs)
        self.mlp_norm = RMSNorm(cfg.emb_dim)
        self.mlp = MLP(cfg, rngs=rngs)

    def __call__(self, x_BTD, encoded_BSD, bias_1NTT, masks, dropout_key=None) -> jax.Array:
        """Returns x_BTD; `masks` is the pair (self mask_B1TT, cross mask_B1TS)."""
        self_mask_B1TT, cross_mask_B1TS = masks
        keys = split_key(dropout_key, 6)
        rate = self.cfg.dropout_rate
        normed_BTD = self.self_attention_norm(x_BTD)
        attended_BTD = self.self_attention(normed_BTD, normed_BTD, bias_1NTT, self_mask_B1TT, keys[0])
        x_BTD = x_BTD + dropout(attended_BTD, rate, keys[1])
        normed_BTD = self.cross_attention_norm(x_BTD)
        attended_BTD = self.cross_attention(normed_BTD, encoded_BSD, None, cross_mask_B1TS, keys[2])
        x_BTD = x_BTD + dropout(attended_BTD, rate, keys[3])
        return x_BTD + dropout(self.mlp(self.mlp_norm(x_BTD), keys[4]), rate, keys[5])

    def step(self, x_B1D, cache: LayerCache, position, bias_1N1T, masks) -> tuple[jax.Array, tuple]:
        """Decodes one token against the cache.

        Returns:
          x_B1D and the token's own (key_B1NH, value_B1NH), which the caller writes to the cache at `position`.
        """
        self_mask_11_1T, cross_mask_B11S = masks
        attended_B1D, keys_values = self.self_attention.step(
            self.self_attention_norm(x_B1D),
            (cache.self_keys, cache.self_values),
            position,
            bias_1N1T,
            self_mask_11_1T,
        )
        x_B1D = x_B1D + attended_B1D
        query_B1NH = self.cross_attention.project_queries(self.cross_attention_norm(x_B1D))
        x_B1D = x_B1D + self.cross_attention.attend(
            query_B1NH, cache.cross_keys, cache.cross_values, None, cross_mask_B11S
        )
        return x_B1D + self.mlp(self.mlp_norm(x_B1D)), keys_values
