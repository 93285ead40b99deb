# SPDX-License-Identifier: Apache-2.0
"""Stacks of blocks: parameters are stacked along a leading dimension L and scanned over, to compile only one layer.

Shape letters: L layers, B batch, S input tokens, T target tokens, K beams, C cache places, D model,
N heads; 1 if broadcast.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.blocks import DecoderBlock, EncoderBlock, split_key
from t5x_lite.model.layers import RMSNorm, dropout, shard_tokens
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


def unstacked(stack: Any, index: int) -> Any:
    """Returns one layer of a pytree of stacked arrays."""
    return jax.tree.map(lambda array: array[index], stack)


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

    def layers(self) -> tuple[Any, ...]:
        """Returns the blocks, one per layer."""
        return tuple(unstacked(self.blocks, index) for index in range(self.num_layers))

    def run(self, call: Callable, x_BTD: jax.Array, before=None, within=None) -> jax.Array:
        """Runs all layers and the final norm on embedded tokens; returns [B, T, D].

        `call(block, x_BTD, bias_1NTT, key)` runs one layer. Dropout keys: `before` for x_BTD, `within` for the layers.
        """
        T = x_BTD.shape[1]
        tables_L, bias_1NTT = layer_biases(self.position_bias, lambda table: table(T, T))
        x_BTD = dropout(x_BTD, self.cfg.dropout_rate, before)

        def layer(x_BTD, scanned):
            block, table, key = scanned
            return call(block, x_BTD, bias_1NTT(table), key), None

        keys_L = None if within is None else jax.random.split(within, self.num_layers)
        x_BTD, _ = jax.lax.scan(rematerialized(layer, self.cfg), x_BTD, (self.blocks, tables_L, keys_L))
        return self.final_norm(x_BTD)

    def run_step(
        self, call: Callable, x_BKD: jax.Array, cache: "Cache", layers: Sequence[Any] | None
    ) -> "tuple[jax.Array, Cache]":
        """Runs one decoding step; returns hidden_BKD and the updated cache.

        `call(block, index, x_BKD, bias_1N1C, mask_B1KC)` runs one layer. The layers are unrolled: a scan would copy
        each layer's parameters, which on a CPU takes longer than their products (a step of T5 1.1 small takes 137 ms
        instead of 40). Pass `layers` if the blocks are unstacked already, as in `kernels/unstacked.py`.
        """
        visible_BKC = cache.step_places()
        position, num_positions = cache.prompt_length + cache.num_steps, cache.num_positions
        tables_L, bias_1N1C = layer_biases(
            self.position_bias, lambda table: cache.at_places(table.row(position, num_positions)[:, :, 0])
        )
        updated = []
        for index, block in enumerate(self.layers() if layers is None else layers):
            bias = bias_1N1C(unstacked(tables_L, index))
            x_BKD, cached = call(block, index, x_BKD, bias, visible_BKC[:, None])
            updated.append(cached)
        cache = dataclasses.replace(
            cache, layers=tuple(updated), num_steps=cache.num_steps + 1, visible_BKC=visible_BKC
        )
        return self.final_norm(x_BKD), cache


class EncoderStack(Stack):
    """Bidirectional self-attention over embedded inputs."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, EncoderBlock, cfg.num_encoder_layers, bidirectional=True, rngs=rngs)

    def __call__(self, x_BSD, mask_B1SS, dropout_key=None) -> jax.Array:
        """Returns encoded_BSD."""
        before, within, after = split_key(dropout_key, 3)
        encoded_BSD = self.run(
            lambda block, x_BSD, bias_1NSS, key: block(x_BSD, bias_1NSS, mask_B1SS, key), x_BSD, before, within
        )
        return dropout(encoded_BSD, self.cfg.dropout_rate, after, shared_dim=None)


class DecoderStack(Stack):
    """Self-attention over embedded targets and cross-attention to encoded inputs."""

    def __init__(self, cfg: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(cfg, DecoderBlock, cfg.num_decoder_layers, bidirectional=False, rngs=rngs)

    def __call__(self, x_BTD, encoded_BSD, self_mask_B1TT, cross_mask_B1TS, dropout_key=None) -> jax.Array:
        """Returns hidden_BTD."""
        before, within, after = split_key(dropout_key, 3)
        encoded_BSD, masks = shard_tokens(encoded_BSD), (self_mask_B1TT, cross_mask_B1TS)
        hidden_BTD = self.run(
            lambda block, x_BTD, bias_1NTT, key: block(x_BTD, encoded_BSD, bias_1NTT, masks, key), x_BTD, before, within
        )
        return dropout(hidden_BTD, self.cfg.dropout_rate, after)

    def init_cache(self, encoded_BSD, inputs_mask_B11S, num_steps: int, num_beams: int) -> "Cache":
        """Returns a cache with the projected cross-attention keys and values of all layers, but no tokens yet."""
        from t5x_lite.model.cache import keys_values, no_prompts, with_room

        B = encoded_BSD.shape[0]
        encoded = tuple(
            keys_values(*unstacked(self.blocks.cross_attention, index).project_keys_values(encoded_BSD))
            for index in range(self.num_layers)
        )
        cache = with_room(no_prompts(self.cfg, B), jnp.zeros((B, 0), bool), num_steps, num_beams)
        return dataclasses.replace(cache, encoded=encoded, inputs_mask_B11S=inputs_mask_B11S)

    def step(self, x_BKD, cache: "Cache", layers: Sequence[DecoderBlock] | None = None) -> "tuple[jax.Array, Cache]":
        """Decodes one token per beam; see `run_step`."""

        def call(block, index, x_BKD, bias_1N1C, mask_B1KC):
            cached, masks = (cache.layers[index], cache.encoded[index]), (mask_B1KC, cache.inputs_mask_B11S)
            return block.step(x_BKD, cached, cache.place, bias_1N1C, masks)

        return self.run_step(call, x_BKD, cache, layers)
