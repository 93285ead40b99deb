# SPDX-License-Identifier: Apache-2.0
"""Decoding with the modules of a model, one token per beam at a time; training imports none of it.

Shape letters: L layers, B batch, S input tokens, P prompt tokens, K beams, C cache places, D model, N heads, H head; 1
if broadcast.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5x_lite.model.attention import Attention
from t5x_lite.model.blocks import DecoderBlock, EncoderBlock
from t5x_lite.model.cache import Cache, KeysValues, keys_values, no_prompts, with_room
from t5x_lite.model.kernels.attention import Seen
from t5x_lite.model.kernels.reference import biased_softmax
from t5x_lite.model.position import RelativePositionBias
from t5x_lite.model.stacks import DecoderStack, Stack, layer_biases


def cached_attention(q_BKNH, keys_BNHC, values_BNHC, bias_1N1C=None, mask_B1KC=None) -> jax.Array:
    """Attends from a decoding step's queries to the cache; returns [B, K, N, H]. See `reference_attention`.

    Places come last because XLA on a CPU would first transpose a [B, S, N, H] layout: 38 ms instead of 6 for 50 MB.
    """
    logits_BNKC = jnp.einsum("BKNH,BNHC->BNKC", q_BKNH, keys_BNHC, preferred_element_type=jnp.float32)
    weights_BNKC = biased_softmax(logits_BNKC, bias_1N1C, mask_B1KC).astype(values_BNHC.dtype)
    return jnp.einsum("BNKC,BNHC->BKNH", weights_BNKC, values_BNHC)


def attention_step(
    attention: Attention, x_BKD, cached: KeysValues, place, bias_1N1C, mask_B1KC
) -> tuple[jax.Array, KeysValues]:
    """Writes K new tokens to the cache at `place` and attends to it; returns [B, K, D] and the cache."""
    cached = cached.insert(*attention.project_keys_values(x_BKD), place)
    return look_up(attention, x_BKD, cached, bias_1N1C, mask_B1KC), cached


def look_up(attention: Attention, x_BKD, cached: KeysValues, bias_1N1C=None, mask_B1KC=None) -> jax.Array:
    """Attends from K tokens to the cache; returns [B, K, D]."""
    o_BKNH = cached_attention(attention.project_queries(x_BKD), *cached, bias_1N1C, mask_B1KC)
    return attention.project_out(o_BKNH)


def read_block(block: EncoderBlock, x_BPD, bias, seen: Seen) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Processes a prompt; returns x_BPD, and k_BPNH and v_BPNH to cache."""
    attention, normed_BPD = block.attention, block.attention_norm(x_BPD)
    k_BPA, v_BPA = attention.keys_values(normed_BPD)
    x_BPD = x_BPD + attention.attend(attention.queries(normed_BPD), (k_BPA, v_BPA), bias, seen)
    return x_BPD + block.mlp(block.mlp_norm(x_BPD)), (attention.split(k_BPA), attention.split(v_BPA))


def decoder_only_block_step(
    block: EncoderBlock, x_BKD, cached: KeysValues, place, bias_1N1C, mask_B1KC
) -> tuple[jax.Array, KeysValues]:
    """Decodes one token per beam; see `attention_step`."""
    normed_BKD = block.attention_norm(x_BKD)
    attended_BKD, cached = attention_step(block.attention, normed_BKD, cached, place, bias_1N1C, mask_B1KC)
    x_BKD = x_BKD + attended_BKD
    return x_BKD + block.mlp(block.mlp_norm(x_BKD)), cached


def decoder_block_step(
    block: DecoderBlock, x_BKD, cached: tuple[KeysValues, KeysValues], place, bias_1N1C, masks
) -> tuple[jax.Array, KeysValues]:
    """Decodes one token per beam; returns x_BKD and the targets' updated cache.

    `cached` is the `KeysValues` of (targets, encoded inputs), `masks` is (self_mask_B1KC, cross_mask_B11S).
    """
    decoded, encoded = cached
    self_mask_B1KC, cross_mask_B11S = masks
    normed_BKD = block.self_attention_norm(x_BKD)
    attended_BKD, decoded = attention_step(block.self_attention, normed_BKD, decoded, place, bias_1N1C, self_mask_B1KC)
    x_BKD = x_BKD + attended_BKD
    normed_BKD = block.cross_attention_norm(x_BKD)
    x_BKD = x_BKD + look_up(block.cross_attention, normed_BKD, encoded, None, cross_mask_B11S)
    return x_BKD + block.mlp(block.mlp_norm(x_BKD)), decoded


def bias_row(bias: RelativePositionBias, query: jax.Array, num_keys: int) -> jax.Array:
    """Returns bias_1N1S of the query at position `query`, a scalar, and keys 0 to num_keys - 1."""
    reversed_NS = bias.bias_of_distance(np.arange(-num_keys + 1, num_keys))
    N = reversed_NS.shape[0]
    window_NS = jax.lax.dynamic_slice(reversed_NS, (0, num_keys - 1 - query), (N, num_keys))
    return window_NS[None, :, None, :]


def unstacked(stack: Any, index: int) -> Any:
    """Returns one layer of a pytree of stacked arrays."""
    return jax.tree.map(lambda array: array[index], stack)


def layers_of(stack: Stack) -> tuple[Any, ...]:
    """Returns the blocks, one per layer."""
    return tuple(unstacked(stack.blocks, index) for index in range(stack.num_layers))


def run_step(
    stack: Stack, call: Callable, x_BKD: jax.Array, cache: Cache, layers: Sequence[Any] | None
) -> tuple[jax.Array, Cache]:
    """Runs one decoding step; returns hidden_BKD and the updated cache.

    `call(block, index, x_BKD, bias_1N1C, mask_B1KC)` runs one layer. The layers are unrolled: a scan would copy each
    layer's parameters, which on a CPU takes longer than their products (a step of T5 1.1 small takes 137 ms instead of
    40). Pass `layers` if the blocks are unstacked already, as in `kernels/unstacked.py`.
    """
    visible_BKC = cache.step_places()
    position, num_positions = cache.prompt_length + cache.num_steps, cache.num_positions
    tables_L, bias_1N1C = layer_biases(
        stack.position_bias, lambda table: cache.at_places(bias_row(table, position, num_positions)[:, :, 0])
    )
    updated = []
    for index, block in enumerate(layers_of(stack) if layers is None else layers):
        bias = bias_1N1C(unstacked(tables_L, index))
        x_BKD, cached = call(block, index, x_BKD, bias, visible_BKC[:, None])
        updated.append(cached)
    cache = dataclasses.replace(cache, layers=tuple(updated), num_steps=cache.num_steps + 1, visible_BKC=visible_BKC)
    return stack.final_norm(x_BKD), cache


def cache_of_encoded(stack: DecoderStack, encoded_BSD, inputs_mask_B11S, num_steps: int, num_beams: int) -> Cache:
    """Returns a cache with the projected cross-attention keys and values of all layers, but no tokens yet."""
    B = encoded_BSD.shape[0]
    encoded = tuple(
        keys_values(*unstacked(stack.blocks.cross_attention, index).project_keys_values(encoded_BSD))
        for index in range(stack.num_layers)
    )
    cache = with_room(no_prompts(stack.cfg, B), jnp.zeros((B, 0), bool), num_steps, num_beams)
    return dataclasses.replace(cache, encoded=encoded, inputs_mask_B11S=inputs_mask_B11S)


def decoder_step(
    stack: DecoderStack, x_BKD, cache: Cache, layers: Sequence[DecoderBlock] | None = None
) -> tuple[jax.Array, Cache]:
    """Decodes one token per beam; see `run_step`."""

    def call(block, index, x_BKD, bias_1N1C, mask_B1KC):
        cached, masks = (cache.layers[index], cache.encoded[index]), (mask_B1KC, cache.inputs_mask_B11S)
        return decoder_block_step(block, x_BKD, cached, cache.place, bias_1N1C, masks)

    return run_step(stack, call, x_BKD, cache, layers)
