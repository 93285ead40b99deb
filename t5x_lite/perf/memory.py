# SPDX-License-Identifier: Apache-2.0
"""A train step's memory for saved activations and logits, computed from the model's config.

XLA's other buffers (one layer's working set, gathered kernels, collectives) are only known after compilation.

Shape letters: B sequences per device, S input tokens, T target tokens, C time steps per chunk, F feed-forward.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from t5x_lite.config import ModelConfig
from t5x_lite.model.kernels.cross_entropy import chunk_length
from t5x_lite.model.remat import kept_tensors

BYTES = {"float32": 4, "bfloat16": 2}


class Lengths(NamedTuple):
    """Sequences per device and their tokens: 0 inputs without an encoder, 0 targets without a decoder."""

    sequences: int
    inputs: int
    targets: int


def activation_bytes(cfg: ModelConfig, lengths: Lengths, parts: Mapping[str, int]) -> int:
    """Returns the bytes of activations per device that all layers save for the backward pass.

    `parts` has the sizes of the mesh axes `tensor` and `context`, which shard heads and tokens.
    """
    B, S, T = lengths
    context, tensor = parts["context"], parts["tensor"]
    S, T = S / context, T / context
    cross = bool(lengths.inputs and lengths.targets)
    kept = 0.0
    if S:
        kept += cfg.num_encoder_layers * _layer(cfg, S, lengths.inputs, tensor)
    if T:
        kept += cfg.num_decoder_layers * _layer(cfg, T, lengths.targets, tensor)
    if cross:
        kept += cfg.num_decoder_layers * _cross_attention(cfg, T, lengths.inputs, tensor)
    return round(B * kept * BYTES[cfg.dtype])


def logit_bytes(cfg: ModelConfig, lengths: Lengths, parts: Mapping[str, int]) -> int:
    """Returns the bytes of a chunk's logits, in float32, and of their gradient, in `cfg.dtype`."""
    B, T = lengths.sequences, lengths.targets or lengths.inputs
    C = chunk_length((B, T), math.ceil(cfg.vocab_size / parts["tensor"]), 1)
    return B * C * cfg.vocab_size // parts["tensor"] * (4 + BYTES[cfg.dtype])


def _layer(cfg: ModelConfig, length: float, num_keys: int, tensor: int) -> float:
    """Returns the elements per sequence that a layer saves, except for cross-attention: its input and kept tensors."""
    F = cfg.mlp_dim / tensor
    sizes = _attention_sizes(cfg, length, num_keys, tensor)
    sizes |= {f"mlp_wi_{index}": length * F for index in range(len(cfg.mlp_activations))}
    kept = length * cfg.emb_dim / tensor + sum(sizes[name] for name in kept_tensors(cfg.remat) if name in sizes)
    if cfg.remat == "none":
        # Both normed inputs, the residual between them, and the input of the last projection.
        kept += (2 + 1 / tensor) * length * cfg.emb_dim + _weights(cfg, length, num_keys, tensor) + length * F
    return kept


def _cross_attention(cfg: ModelConfig, length: float, num_keys: int, tensor: int) -> float:
    sizes = _attention_sizes(cfg, length, num_keys, tensor)
    kept = sum(sizes[name] for name in kept_tensors(cfg.remat) if name in sizes)
    if cfg.remat == "none":
        kept += (1 + 1 / tensor) * length * cfg.emb_dim + _weights(cfg, length, num_keys, tensor)
    return kept


def _attention_sizes(cfg: ModelConfig, length: float, num_keys: int, tensor: int) -> dict[str, float]:
    inner = cfg.num_heads * cfg.head_dim / tensor
    queries, keys = length * inner, num_keys * inner
    return {"query": queries, "key": keys, "value": keys, "attention_out": queries}


def _weights(cfg: ModelConfig, length: float, num_keys: int, tensor: int) -> float:
    """Returns the size of attention weights in both dtypes, with float32 normalisers, in elements of `cfg.dtype`.

    Fused attention keeps none.
    """
    if cfg.attention == "fused":
        return 0.0
    float32 = 4 / BYTES[cfg.dtype]
    return cfg.num_heads / tensor * length * (num_keys * (1 + float32) + 2 * float32)
