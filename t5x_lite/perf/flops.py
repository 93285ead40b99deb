# SPDX-License-Identifier: Apache-2.0
"""FLOPs of a model's matrix products, computed from its config; a multiply-add counts as two.

Shape letters: S input tokens, T target tokens, D model.
"""

from t5x_lite.config import ModelConfig
from t5x_lite.config.architectures import ENCODER_DECODER, Architecture
from t5x_lite.model.kernels.choice import recomputed_products, saves_statistics
from t5x_lite.model.remat import kept_tensors
from t5x_lite.perf.chips import chip_of


def peak_flops(device_kind: str) -> float | None:
    """Returns a device's peak bfloat16 FLOP/s, or None for unknown devices, such as CPUs."""
    chip = chip_of(device_kind)
    return None if chip is None else chip.flops


def forward_flops(
    cfg: ModelConfig, inputs_length: int, targets_length: int, architecture: Architecture = ENCODER_DECODER
) -> int:
    """Counts the FLOPs of one sequence's forward pass, without classifier heads.

    Attention counts all T * S pairs, since masked ones are computed too. `inputs_length` is ignored without an encoder,
    `targets_length` without a decoder.
    """
    S, T, D, inner = inputs_length, targets_length, cfg.emb_dim, cfg.num_heads * cfg.head_dim
    traits, total = architecture.traits, 0
    if traits.has_encoder:
        total += cfg.num_encoder_layers * _layer(cfg, S)
    if traits.decodes:
        total += cfg.num_decoder_layers * _layer(cfg, T)
    if traits.has_encoder and traits.decodes:
        total += cfg.num_decoder_layers * (2 * (T + S) * D * inner + 2 * T * S * inner)
    if traits.decodes or traits.fills_masks:
        total += (T if traits.decodes else S) * D * cfg.vocab_size
    return 2 * total


def train_flops(
    cfg: ModelConfig, inputs_length: int, targets_length: int, architecture: Architecture = ENCODER_DECODER
) -> int:
    """Counts the FLOPs of one sequence's forward and backward pass, without recomputation."""
    return 3 * forward_flops(cfg, inputs_length, targets_length, architecture)


def recompute_flops(
    cfg: ModelConfig, inputs_length: int, targets_length: int, architecture: Architecture = ENCODER_DECODER
) -> int:
    """Counts the FLOPs that one sequence's backward pass recomputes under `cfg.remat`.

    Every policy but "none" recomputes each layer's attention logits and output projection, but never its last product.
    Fused attention, if `cfg.attention` is "fused", recomputes what `recomputed_products` says under every policy, and
    its forward pass unless the policy keeps its result. A single CPU always recomputes its attention logits, which is
    not counted.
    """
    is_fused, is_kept = cfg.attention == "fused", cfg.remat == "none"
    is_repeated = is_fused and saves_statistics()
    if is_kept and not is_fused:
        return 0
    S, T, inner, D = inputs_length, targets_length, cfg.num_heads * cfg.head_dim, cfg.emb_dim
    traits, kept = architecture.traits, kept_tensors(cfg.remat)

    def attention(queries: int, keys: int) -> int:
        if is_fused and is_kept:
            return recomputed_products(keys) * queries * keys * inner
        products = {"query": queries * D * inner, "key": keys * D * inner, "value": keys * D * inner}
        products["attention_out"] = queries * keys * inner
        if is_fused:
            products["attention_out"] *= 2  # the logits, which the kernel computes for itself
        lost = [name for name in products if name not in kept or (is_repeated and name == "attention_out")]
        recomputed = sum(products[name] for name in lost)
        logits = (recomputed_products(keys) if is_fused else 1) * queries * keys * inner
        return recomputed + logits + queries * inner * D

    def mlp(length: int) -> int:
        names = [f"mlp_wi_{index}" for index in range(len(cfg.mlp_activations))]
        return sum(length * D * cfg.mlp_dim for name in names if name not in kept)

    total = 0
    if traits.has_encoder:
        total += cfg.num_encoder_layers * (attention(S, S) + mlp(S))
    if traits.decodes:
        total += cfg.num_decoder_layers * (attention(T, T) + mlp(T))
    if traits.has_encoder and traits.decodes:
        total += cfg.num_decoder_layers * attention(T, S)
    return 2 * total


def generate_flops(cfg: ModelConfig, inputs_length: int, new_tokens: int) -> int:
    """Counts the FLOPs of encoding one sequence and decoding `new_tokens` tokens, with an encoder-decoder."""
    S, T, D, inner = inputs_length, new_tokens, cfg.emb_dim, cfg.num_heads * cfg.head_dim
    mlp = (len(cfg.mlp_activations) + 1) * D * cfg.mlp_dim
    # The keys and values of cross-attention are projected once. Every step attends to the whole cache.
    step = cfg.num_decoder_layers * (6 * D * inner + 2 * (T + S) * inner + mlp) + D * cfg.vocab_size
    prefill = cfg.num_encoder_layers * _layer(cfg, S) + cfg.num_decoder_layers * 2 * S * D * inner
    return 2 * (prefill + T * step)


def _layer(cfg: ModelConfig, length: int) -> int:
    """Returns the multiply-adds of one layer's self-attention and feed-forward network."""
    D, inner = cfg.emb_dim, cfg.num_heads * cfg.head_dim
    mlp = (len(cfg.mlp_activations) + 1) * D * cfg.mlp_dim
    return length * (4 * D * inner + mlp) + 2 * length * length * inner
