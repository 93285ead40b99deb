# SPDX-License-Identifier: Apache-2.0
"""Stacks of blocks: parameters are stacked along a leading dimension L and scanned over, to compile only one layer.

Shape letters: L layers, B batch, S input tokens, T target tokens, K beams, D model, N heads; 1 if broadcast.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.blocks import DecoderBlock, EncoderBlock, split_key
from t5x_lite.model.kernels.attention import Seen, prepare, prepare_bias
from t5x_lite.model.layers import RMSNorm, dropout, shard_tokens
from t5x_lite.model.masks import Visible
from t5x_lite.model.position import RelativePositionBias

if TYPE_CHECKING:  # for decoding only
    from t5x_lite.model.cache import Cache


def rematerialized(layer: Callable, cfg: ModelConfig) -> Callable:
    """Wraps a scan body so that its backward pass recomputes all tensors that `cfg.remat` does not save."""
    if cfg.remat == "none":
        return layer
    from t5x_lite.model.remat import checkpointed

    return checkpointed(layer, cfg)


def stacked(make: Callable, num_layers: int, rngs: nnx.Rngs):
    """Returns one module whose parameters have a leading dimension L of `num_layers`."""
    return jax.vmap(lambda key: make(rngs=nnx.Rngs(key)))(jax.random.split(rngs.params(), num_layers))


def layer_biases(
    bias: RelativePositionBias, compute: Callable[[RelativePositionBias], jax.Array]
) -> tuple[Any, Callable[[Any], jax.Array]]:
    """Returns the tables to scan over, and a function from a layer's table to its bias; computes a shared bias once."""
    if bias.cfg.relative_bias_per_layer:
        return bias, compute
    shared = compute(bias)
    return None, lambda _: shared


class Stack(nnx.Module):
    """Base class of stacks: the position bias, the stacked blocks and the final norm."""

    def __init__(self, cfg: ModelConfig, block: Callable, num_layers: int, *, bidirectional: bool, rngs: nnx.Rngs):
        if cfg.remat != "none" or cfg.offload:
            from t5x_lite.model.remat import check_remat

            check_remat(cfg)

        def table(rngs: nnx.Rngs) -> RelativePositionBias:
            return RelativePositionBias(cfg, bidirectional=bidirectional, rngs=rngs)

        self.cfg, self.num_layers = cfg, num_layers
        # umT5 has a table per layer; in other models all layers share one.
        self.position_bias = stacked(table, num_layers, rngs) if cfg.relative_bias_per_layer else table(rngs)
        self.blocks = stacked(lambda rngs: block(cfg, rngs=rngs), num_layers, rngs)
        self.final_norm = RMSNorm(cfg.emb_dim, cfg.norm_epsilon)

    def run(self, call: Callable, x_BTD: jax.Array, seen: Seen, before=None, within=None) -> jax.Array:
        """Runs all layers and the final norm on embedded tokens; returns [B, T, D].

        `call(block, x_BTD, bias, key)` runs one layer, whose self-attention sees `seen`. Dropout keys: `before` for
        x_BTD, `within` for the layers.
        """
        T = x_BTD.shape[1]
        tables_L, bias = layer_biases(self.position_bias, lambda table: prepare_bias(table, seen, T, T))
        x_BTD = dropout(x_BTD, self.cfg.dropout_rate, before)

        def layer(x_BTD, scanned):
            block, table, key = scanned
            return call(block, x_BTD, bias(table), key), None

        keys_L = None if within is None else jax.random.split(within, self.num_layers)
        x_BTD, _ = jax.lax.scan(rematerialized(layer, self.cfg), x_BTD, (self.blocks, tables_L, keys_L))
        return self.final_norm(x_BTD)


class EncoderStack(Stack):
    """Bidirectional self-attention over embedded inputs."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, EncoderBlock, cfg.num_encoder_layers, bidirectional=True, rngs=rngs)

    def __call__(self, x_BSD, visible: Visible, dropout_key=None) -> jax.Array:
        """Returns encoded_BSD."""
        before, within, after = split_key(dropout_key, 3)
        B, S, _ = x_BSD.shape
        seen = prepare(self.cfg, visible, B, S, S)
        encoded_BSD = self.run(
            lambda block, x_BSD, bias, key: block(x_BSD, bias, seen, key), x_BSD, seen, before, within
        )
        return dropout(encoded_BSD, self.cfg.dropout_rate, after, shared_dim=None)


class DecoderStack(Stack):
    """Self-attention over embedded targets and cross-attention to encoded inputs."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, DecoderBlock, cfg.num_decoder_layers, bidirectional=False, rngs=rngs)

    def __call__(self, x_BTD, encoded_BSD, visible: tuple[Visible, Visible], dropout_key=None) -> jax.Array:
        """Returns hidden_BTD; `visible` is what the targets see of themselves, and of the inputs."""
        before, within, after = split_key(dropout_key, 3)
        encoded_BSD = shard_tokens(encoded_BSD)
        (B, T, _), S = x_BTD.shape, encoded_BSD.shape[1]
        seen = prepare(self.cfg, visible[0], B, T, T), prepare(self.cfg, visible[1], B, T, S)
        hidden_BTD = self.run(
            lambda block, x_BTD, bias, key: block(x_BTD, encoded_BSD, bias, seen, key), x_BTD, seen[0], before, within
        )
        return dropout(hidden_BTD, self.cfg.dropout_rate, after)

    def init_cache(self, encoded_BSD, inputs_mask_B11S, num_steps: int, num_beams: int) -> "Cache":
        """Returns a cache with the projected cross-attention keys and values of all layers, but no tokens yet."""
        from t5x_lite.model.decoding import cache_of_encoded

        return cache_of_encoded(self, encoded_BSD, inputs_mask_B11S, num_steps, num_beams)

    def step(self, x_BKD, cache: "Cache", layers: Sequence[DecoderBlock] | None = None) -> "tuple[jax.Array, Cache]":
        """Decodes one token per beam; see `decoding.run_step`."""
        from t5x_lite.model.decoding import decoder_step

        return decoder_step(self, x_BKD, cache, layers)
