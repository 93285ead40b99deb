# SPDX-License-Identifier: Apache-2.0
"""The stacks: one block whose parameters have a leading dimension L, scanned over, so that compile time does not grow
with depth.

Shape letters: L layers, B batch, S input tokens, T target tokens, P of them in a prompt, K beams, C cached places,
D model, N heads, H head.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from t5x_lite.config import ModelConfig
from t5x_lite.model.blocks import DecoderBlock, EncoderBlock, split_key
from t5x_lite.model.cache import Cache, KeysValues, keys_values, no_prompts, with_room
from t5x_lite.model.layers import RMSNorm, dropout, whole_tokens
from t5x_lite.model.position import RelativePositionBias

# The tensors of a block that the backward pass may keep, by the names given to them where they are computed.
REMAT_TENSORS = ("query", "key", "value", "attention_out", "mlp_wi_0", "mlp_wi_1")


def check_remat(cfg: ModelConfig) -> None:
    """Raises ValueError if `cfg.remat` names a tensor that is not one of REMAT_TENSORS, or `cfg.offload` another."""
    if not isinstance(cfg.remat, str) and (unknown := set(cfg.remat) - set(REMAT_TENSORS)):
        raise ValueError(f"train.remat names {sorted(unknown)}: use some of {', '.join(REMAT_TENSORS)}")
    if cfg.offload and (cfg.remat == "none" or set(cfg.offload) - set(kept_tensors(cfg.remat))):
        raise ValueError(
            f"train.offload is {list(cfg.offload)} and train.remat {cfg.remat}: offload some that minimal, or a "
            f"list in train.remat, keeps; there are {', '.join(REMAT_TENSORS)}"
        )


def kept_tensors(remat: str | tuple[str, ...]) -> tuple[str, ...]:
    """Returns the tensors of REMAT_TENSORS that the backward pass finds as the forward pass left them."""
    return {"none": REMAT_TENSORS, "minimal": REMAT_TENSORS, "full": ()}[remat] if isinstance(remat, str) else remat


def rematerialized(layer: Callable, cfg: ModelConfig) -> Callable:
    """Wraps a scanned layer so that its backward pass recomputes all but the tensors that `cfg.remat` keeps.

    Args:
      layer: the body of a scan.
      cfg: a `remat` of `none` keeps everything; `full` keeps each layer's input alone; `minimal` keeps the results of
        the projections, so that only attention weights and element-wise work are computed again; a tuple names the
        tensors to keep, of REMAT_TENSORS. Those in `offload` wait in the host's memory.
    """
    if cfg.remat == "none":
        return layer
    kept = [name for name in kept_tensors(cfg.remat) if name not in cfg.offload]
    policy = jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=kept,
        names_which_can_be_offloaded=list(cfg.offload),
        offload_src="device",
        offload_dst="pinned_host",
    )
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


def of_layer(stack: Any, index: int) -> Any:
    """Returns what a stack has for one layer.

    A decoding step goes through the layers one by one and does not scan: a scan copies each layer's parameters, and on
    a CPU that took longer than their products (137 ms a step of T5 1.1 small, where 40 do; see `unstacked.py`, too).
    """
    return jax.tree.map(lambda array: array[index], stack)


def through_layers(layer: Callable, x_BKD: jax.Array, cache: Cache, bias: RelativePositionBias) -> tuple:
    """Takes a decoding step through all layers.

    Args:
      layer: of an index, x_BKD and bias_1N1C, returns x_BKD and the layer's cache.
      x_BKD: the embedded tokens.
      cache: before the step.
      bias: of the stack.

    Returns:
      x_BKD and the cache, but for what is visible.
    """
    # Positions count only by their differences.
    position, num_positions = cache.prompt_length + cache.num_steps, cache.num_positions
    tables_L, bias_1N1C = layer_biases(bias, lambda table: cache.at_places(table.row(position, num_positions)[:, :, 0]))
    layers = []
    for index in range(len(cache.layers)):
        x_BKD, cached = layer(index, x_BKD, bias_1N1C(of_layer(tables_L, index)))
        layers.append(cached)
    return x_BKD, dataclasses.replace(cache, layers=tuple(layers), num_steps=cache.num_steps + 1)


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
        x_BTD, _ = jax.lax.scan(rematerialized(layer, self.cfg), x_BTD, (self.blocks, tables_L, keys_L))
        return self.final_norm(x_BTD)

    def layers(self) -> tuple[EncoderBlock, ...]:
        """Returns the blocks, one by one."""
        return tuple(of_layer(self.blocks, index) for index in range(self.num_layers))


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

    def read(self, x_BPD, mask_B1PP) -> tuple[KeysValues, ...]:
        """Reads prompts at once; returns each layer's keys and values."""
        P = x_BPD.shape[1]
        tables_L, bias_1NPP = layer_biases(self.position_bias, lambda table: table(P, P))

        def layer(x_BPD, of_layer):
            block, table = of_layer
            return block.read(x_BPD, bias_1NPP(table), mask_B1PP)

        _, read_L = jax.lax.scan(layer, x_BPD, (self.blocks, tables_L))
        return tuple(of_layer(read_L, index) for index in range(self.num_layers))

    def step(self, x_BKD, cache: Cache, layers: Sequence[EncoderBlock] | None = None) -> tuple[jax.Array, Cache]:
        """Decodes a token of each beam; returns hidden_BKD and the cache that has seen them; `layers` if at hand."""
        visible_BKC = cache.step_places()
        blocks = self.layers() if layers is None else layers

        def layer(index, x_BKD, bias_1N1C):
            return blocks[index].step(x_BKD, cache.layers[index], cache.place, bias_1N1C, visible_BKC[:, None])

        x_BKD, cache = through_layers(layer, x_BKD, cache, self.position_bias)
        return self.final_norm(x_BKD), dataclasses.replace(cache, visible_BKC=visible_BKC)


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
        encoded_BSD = whole_tokens(encoded_BSD)

        def layer(x_BTD, of_layer):
            block, table, key = of_layer
            return block(x_BTD, encoded_BSD, bias_1NTT(table), (self_mask_B1TT, cross_mask_B1TS), key), None

        keys_L = None if within is None else jax.random.split(within, self.cfg.num_decoder_layers)
        x_BTD, _ = jax.lax.scan(rematerialized(layer, self.cfg), x_BTD, (self.blocks, tables_L, keys_L))
        return dropout(self.final_norm(x_BTD), self.cfg.dropout_rate, after)

    def init_cache(self, encoded_BSD, inputs_mask_B11S, num_steps: int, num_beams: int) -> Cache:
        """Projects the encoding to every layer's cross-attention keys and values, once for all steps."""
        cfg, B = self.cfg, encoded_BSD.shape[0]
        encoded = tuple(
            keys_values(*of_layer(self.blocks.cross_attention, index).project_keys_values(encoded_BSD))
            for index in range(cfg.num_decoder_layers)
        )
        cache = with_room(no_prompts(cfg, B), jnp.zeros((B, 0), bool), num_steps, num_beams)
        return dataclasses.replace(cache, encoded=encoded, inputs_mask_B11S=inputs_mask_B11S)

    def layers(self) -> tuple[DecoderBlock, ...]:
        """Returns the blocks, one by one."""
        return tuple(of_layer(self.blocks, index) for index in range(self.cfg.num_decoder_layers))

    def step(self, x_BKD, cache: Cache, layers: Sequence[DecoderBlock] | None = None) -> tuple[jax.Array, Cache]:
        """Decodes a token of each beam; returns hidden_BKD and the cache that has seen them; `layers` if at hand."""
        visible_BKC = cache.step_places()
        blocks = self.layers() if layers is None else layers
        masks = (visible_BKC[:, None], cache.inputs_mask_B11S)

        def layer(index, x_BKD, bias_1N1C):
            cached = (cache.layers[index], cache.encoded[index])
            return blocks[index].step(x_BKD, cached, cache.place, bias_1N1C, masks)

        x_BKD, cache = through_layers(layer, x_BKD, cache, self.position_bias)
        return self.final_norm(x_BKD), dataclasses.replace(cache, visible_BKC=visible_BKC)
