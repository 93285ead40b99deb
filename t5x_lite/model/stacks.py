# SPDX-License-Identifier: Apache-2.0
"""The stacks: one block whose parameters have a leading dimension L, scanned over, so that compile time does not grow
with depth.

Shape letters: L layers, B batch, S input tokens, T target tokens, P of them in a prompt, Q of them in a step, D model,
N heads, H head.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.blocks import DecoderBlock, EncoderBlock, split_key
from t5x_lite.model.cache import Cache, LayerCache, SelfCache, insert
from t5x_lite.model.layers import RMSNorm, dropout
from t5x_lite.model.position import RelativePositionBias

# The tensors of a block that the backward pass may keep, by the names given to them where they are computed.
REMAT_TENSORS = ("query", "key", "value", "attention_out", "mlp_wi_0", "mlp_wi_1")


def check_remat(cfg: ModelConfig) -> None:
    """Raises ValueError if `cfg.remat` names a tensor that is not one of REMAT_TENSORS."""
    if not isinstance(cfg.remat, str) and (unknown := set(cfg.remat) - set(REMAT_TENSORS)):
        raise ValueError(f"train.remat names {sorted(unknown)}: use some of {', '.join(REMAT_TENSORS)}")


def rematerialized(layer: Callable, remat: str | tuple[str, ...]) -> Callable:
    """Wraps a scanned layer so that its backward pass recomputes all but the tensors that `remat` keeps.

    Args:
      layer: the body of a scan.
      remat: `none` keeps everything; `full` keeps each layer's input alone; `minimal` keeps the results of the
        projections, so that only attention weights and element-wise work are computed again; a tuple names the
        tensors to keep, of REMAT_TENSORS.
    """
    if remat == "none":
        return layer
    kept = {"minimal": REMAT_TENSORS, "full": ()}.get(remat, remat) if isinstance(remat, str) else remat
    policy = jax.checkpoint_policies.save_only_these_names(*kept)
    return jax.checkpoint(layer, policy=policy, prevent_cse=False)


def stacked(block: Callable, num_layers: int, rngs: nnx.Rngs):
    """Returns one block whose parameters have a leading dimension of `num_layers`."""
    return jax.vmap(lambda key: block(rngs=nnx.Rngs(key)))(jax.random.split(rngs.params(), num_layers))


def position_bias(cfg: ModelConfig, num_layers: int, *, bidirectional: bool, rngs: nnx.Rngs) -> RelativePositionBias:
    """Returns the position bias of a stack: one table for all layers, or, as in umT5, one a layer."""

    def table(rngs: nnx.Rngs) -> RelativePositionBias:
        return RelativePositionBias(cfg, bidirectional=bidirectional, rngs=rngs)

    return stacked(table, num_layers, rngs) if cfg.relative_bias_per_layer else table(rngs)


def layer_biases(
    bias: RelativePositionBias, compute: Callable[[RelativePositionBias], jax.Array]
) -> tuple[Any, Callable[[Any], jax.Array]]:
    """Returns what a scan over the layers goes through for the bias, and how a layer gets its bias from that.

    Args:
      bias: of a stack.
      compute: what a layer adds to its attention logits, of one table.
    """
    if bias.cfg.relative_bias_per_layer:
        return bias, compute
    shared = compute(bias)  # once, outside of the scan
    return None, lambda _: shared


class SelfAttentionStack(nnx.Module):
    """What an encoder and a decoder-only model have in common: blocks without cross-attention, and a last norm."""

    def __init__(self, cfg: ModelConfig, num_layers: int, *, bidirectional: bool, rngs: nnx.Rngs):
        check_remat(cfg)
        self.cfg = cfg
        self.num_layers = num_layers
        self.position_bias = position_bias(cfg, num_layers, bidirectional=bidirectional, rngs=rngs)
        self.blocks = stacked(lambda rngs: EncoderBlock(cfg, rngs=rngs), num_layers, rngs)
        self.final_norm = RMSNorm(cfg.emb_dim)

    def run(self, x_BTD, mask_B1TT, before=None, within=None) -> jax.Array:
        """Returns the normed output, [B, T, D]; `before` and `within` the blocks are keys for dropout."""
        T = x_BTD.shape[1]
        tables_L, bias_1NTT = layer_biases(self.position_bias, lambda table: table(T, T))
        x_BTD = dropout(x_BTD, self.cfg.dropout_rate, before)

        def layer(x_BTD, of_layer):
            block, table, key = of_layer
            return block(x_BTD, bias_1NTT(table), mask_B1TT, key), None

        keys_L = None if within is None else jax.random.split(within, self.num_layers)
        x_BTD, _ = jax.lax.scan(rematerialized(layer, self.cfg.remat), x_BTD, (self.blocks, tables_L, keys_L))
        return self.final_norm(x_BTD)


class EncoderStack(SelfAttentionStack):
    """Turns embedded inputs into a vector a token that has seen the whole input."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, cfg.num_encoder_layers, bidirectional=True, rngs=rngs)

    def __call__(self, x_BSD, mask_B1SS, dropout_key=None) -> jax.Array:
        """Returns encoded_BSD."""
        before, within, after = split_key(dropout_key, 3)
        encoded_BSD = self.run(x_BSD, mask_B1SS, before, within)
        return dropout(encoded_BSD, self.cfg.dropout_rate, after, shared_dim=None)


class DecoderOnlyStack(SelfAttentionStack):
    """Turns embedded, shifted targets into a vector a target token, with no encoding to look at."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, cfg.num_decoder_layers, bidirectional=False, rngs=rngs)

    def __call__(self, x_BTD, mask_B1TT, dropout_key=None) -> jax.Array:
        """Returns hidden_BTD, ready for the projection to the vocabulary."""
        before, within, after = split_key(dropout_key, 3)
        return dropout(self.run(x_BTD, mask_B1TT, before, within), self.cfg.dropout_rate, after)

    def init_cache(self, batch_size: int, max_length: int) -> SelfCache:
        """Returns a cache with nothing in it."""
        cfg = self.cfg
        empty_LBTNH = jnp.zeros((self.num_layers, batch_size, max_length, cfg.num_heads, cfg.head_dim), cfg.dtype)
        seen_B11T = jnp.ones((batch_size, 1, 1, max_length), bool)
        return SelfCache(empty_LBTNH, empty_LBTNH, seen_B11T, jnp.zeros((), jnp.int32))

    def prefill(self, x_BPD, cache: SelfCache, mask_B1PP) -> tuple[jax.Array, SelfCache]:
        """Decodes the first P tokens at once; returns hidden_BPD and the cache that has seen them."""
        P, T = x_BPD.shape[1], cache.keys.shape[2]
        # What has not been decoded yet is in the cache too, as zeros.
        mask_B1PT = jnp.pad(mask_B1PP, ((0, 0), (0, 0), (0, 0), (0, T - P)))
        return self._extend(x_BPD, cache, lambda table: table(P, T), mask_B1PT & cache.mask_B11T)

    def step(self, x_B1D, cache: SelfCache) -> tuple[jax.Array, SelfCache]:
        """Decodes the token at `cache.position`; returns hidden_B1D and the cache that has seen it."""
        T = cache.keys.shape[2]
        decoded_111T = (jnp.arange(T) <= cache.position)[None, None, None, :]
        return self._extend(x_B1D, cache, lambda table: table.row(cache.position, T), decoded_111T & cache.mask_B11T)

    def _extend(self, x_BQD, cache: SelfCache, compute_bias, mask_B1QT) -> tuple[jax.Array, SelfCache]:
        tables_L, bias_1NQT = layer_biases(self.position_bias, compute_bias)

        def layer(x_BQD, of_layer):
            block, table, cached = of_layer
            return block.step(x_BQD, cached, cache.position, bias_1NQT(table), mask_B1QT)

        x_BQD, (keys_LBQNH, values_LBQNH) = jax.lax.scan(
            layer, x_BQD, (self.blocks, tables_L, (cache.keys, cache.values))
        )
        cache = cache._replace(
            keys=insert(cache.keys, keys_LBQNH, cache.position),
            values=insert(cache.values, values_LBQNH, cache.position),
            position=cache.position + x_BQD.shape[1],
        )
        return self.final_norm(x_BQD), cache


class DecoderStack(nnx.Module):
    """Turns embedded, shifted targets and encoded inputs into a vector a target token."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        check_remat(cfg)
        self.cfg = cfg
        self.position_bias = position_bias(cfg, cfg.num_decoder_layers, bidirectional=False, rngs=rngs)
        self.blocks = stacked(lambda rngs: DecoderBlock(cfg, rngs=rngs), cfg.num_decoder_layers, rngs)
        self.final_norm = RMSNorm(cfg.emb_dim)

    def __call__(self, x_BTD, encoded_BSD, self_mask_B1TT, cross_mask_B1TS, dropout_key=None) -> jax.Array:
        """Returns hidden_BTD, ready for the projection to the vocabulary."""
        before, within, after = split_key(dropout_key, 3)
        T = x_BTD.shape[1]
        tables_L, bias_1NTT = layer_biases(self.position_bias, lambda table: table(T, T))
        x_BTD = dropout(x_BTD, self.cfg.dropout_rate, before)

        def layer(x_BTD, of_layer):
            block, table, key = of_layer
            return block(x_BTD, encoded_BSD, bias_1NTT(table), (self_mask_B1TT, cross_mask_B1TS), key), None

        keys_L = None if within is None else jax.random.split(within, self.cfg.num_decoder_layers)
        x_BTD, _ = jax.lax.scan(rematerialized(layer, self.cfg.remat), x_BTD, (self.blocks, tables_L, keys_L))
        return dropout(self.final_norm(x_BTD), self.cfg.dropout_rate, after)

    def init_cache(self, encoded_BSD, inputs_mask_B11S, max_length: int) -> Cache:
        """Projects the encoding to every layer's cross-attention keys and values, once for all steps."""

        def layer(_, block):
            return None, block.cross_attention.project_keys_values(encoded_BSD)

        _, (cross_keys, cross_values) = jax.lax.scan(layer, None, self.blocks)
        L, B, _, N, H = cross_keys.shape
        empty_LBTNH = jnp.zeros((L, B, max_length, N, H), cross_keys.dtype)
        layers = LayerCache(empty_LBTNH, empty_LBTNH, cross_keys, cross_values)
        return Cache(layers, inputs_mask_B11S, jnp.zeros((), jnp.int32))

    def step(self, x_B1D, cache: Cache) -> tuple[jax.Array, Cache]:
        """Decodes the token at `cache.position`; returns hidden_B1D and the cache that has seen it."""
        max_length = cache.layers.self_keys.shape[2]
        tables_L, bias_1N1T = layer_biases(self.position_bias, lambda table: table.row(cache.position, max_length))
        decoded_111T = (jnp.arange(max_length) <= cache.position)[None, None, None, :]

        def layer(x_B1D, of_layer):
            block, table, cached = of_layer
            masks = (decoded_111T, cache.inputs_mask_B11S)
            return block.step(x_B1D, cached, cache.position, bias_1N1T(table), masks)

        x_B1D, (keys_LB1NH, values_LB1NH) = jax.lax.scan(layer, x_B1D, (self.blocks, tables_L, cache.layers))
        layers = cache.layers._replace(
            self_keys=insert(cache.layers.self_keys, keys_LB1NH, cache.position),
            self_values=insert(cache.layers.self_values, values_LB1NH, cache.position),
        )
        return self.final_norm(x_B1D), Cache(layers, cache.inputs_mask_B11S, cache.position + 1)
