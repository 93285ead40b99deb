# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a model asks for, from its shapes alone.

Shape letters: B batch, S input tokens, T target tokens, D model, F feed-forward, N heads, H head, V vocabulary.
"""

from t5x_lite.config import ModelConfig
from t5x_lite.model.stacks import kept_tensors
from t5x_lite.perf.chips import chip_of


def peak_flops(device_kind: str) -> float | None:
    """Returns a device's bfloat16 FLOP/s, or None where it is not known, as on a CPU."""
    chip = chip_of(device_kind)
    return None if chip is None else chip.flops


def forward_flops(
    cfg: ModelConfig, inputs_length: int, targets_length: int, architecture: str = "encoder_decoder"
) -> int:
    """Counts the FLOPs of the matrix products of one sequence's forward pass, two a multiply-add.

    Attention counts all T * S pairs, the causal half included, as the products that are really computed do.

    Args:
      cfg: the sizes.
      inputs_length: S, tokens that an encoder reads; none for a decoder alone.
      targets_length: T, tokens that a decoder reads; none for an encoder alone.
      architecture: of `model.architectures`; a classifier's head is too small to count.
    """
    S, T, D, inner = inputs_length, targets_length, cfg.emb_dim, cfg.num_heads * cfg.head_dim
    encoder, decoder = cfg.num_encoder_layers, cfg.num_decoder_layers
    if architecture in ("causal_lm", "prefix_lm"):
        total = decoder * _layer(cfg, T) + T * D * cfg.vocab_size
    elif architecture == "encoder_decoder":
        cross_attention = 2 * (T + S) * D * inner + 2 * T * S * inner
        total = encoder * _layer(cfg, S) + decoder * (_layer(cfg, T) + cross_attention) + T * D * cfg.vocab_size
    else:
        total = encoder * _layer(cfg, S) + (S * D * cfg.vocab_size if architecture == "masked_lm" else 0)
    return 2 * total


def train_flops(
    cfg: ModelConfig, inputs_length: int, targets_length: int, architecture: str = "encoder_decoder"
) -> int:
    """Counts the FLOPs of one sequence's forward and backward pass, without recomputation."""
    return 3 * forward_flops(cfg, inputs_length, targets_length, architecture)


def recompute_flops(
    cfg: ModelConfig, inputs_length: int, targets_length: int, architecture: str = "encoder_decoder"
) -> int:
    """Counts the FLOPs of the products that one sequence's backward pass does again, under `cfg.remat`.

    Whatever is kept, each layer's attention logits and its projection of the attended values are done again; its last
    product never is. One CPU, whose attention always does its logits again, is not counted.
    """
    if cfg.remat == "none":
        return 0
    S, T, inner, D = inputs_length, targets_length, cfg.num_heads * cfg.head_dim, cfg.emb_dim
    has_encoder = architecture not in ("causal_lm", "prefix_lm")
    has_decoder = architecture in ("causal_lm", "prefix_lm", "encoder_decoder")

    def attention(queries: int, keys: int) -> int:
        lost = {"query": queries * D * inner, "key": keys * D * inner, "value": keys * D * inner}
        lost["attention_out"] = queries * keys * inner
        again = sum(flops for name, flops in lost.items() if name not in kept_tensors(cfg.remat))
        return again + queries * keys * inner + queries * inner * D

    def mlp(length: int) -> int:
        names = [f"mlp_wi_{index}" for index in range(len(cfg.mlp_activations))]
        return sum(length * D * cfg.mlp_dim for name in names if name not in kept_tensors(cfg.remat))

    total = 0
    if has_encoder:
        total += cfg.num_encoder_layers * (attention(S, S) + mlp(S))
    if has_decoder:
        total += cfg.num_decoder_layers * (attention(T, T) + mlp(T))
    if has_encoder and has_decoder:
        total += cfg.num_decoder_layers * attention(T, S)
    return 2 * total


def generate_flops(cfg: ModelConfig, inputs_length: int, new_tokens: int) -> int:
    """Counts the FLOPs of an encoder-decoder reading one sequence and decoding tokens with a cache of that many."""
    S, T, D, inner = inputs_length, new_tokens, cfg.emb_dim, cfg.num_heads * cfg.head_dim
    mlp = (len(cfg.mlp_activations) + 1) * D * cfg.mlp_dim
    # Of each layer: self- and cross-attention but for the keys and values of the latter, which are made once.
    step = cfg.num_decoder_layers * (6 * D * inner + 2 * (T + S) * inner + mlp) + D * cfg.vocab_size
    reading = cfg.num_encoder_layers * _layer(cfg, S) + cfg.num_decoder_layers * 2 * S * D * inner
    return 2 * (reading + T * step)


def _layer(cfg: ModelConfig, length: int) -> int:
    """Returns the multiply-adds of self-attention and feed-forward of one layer."""
    D, inner = cfg.emb_dim, cfg.num_heads * cfg.head_dim
    mlp = (len(cfg.mlp_activations) + 1) * D * cfg.mlp_dim
    return length * (4 * D * inner + mlp) + 2 * length * length * inner
