# SPDX-License-Identifier: Apache-2.0
"""How much arithmetic a model asks for, from its shapes alone, and how much a chip can do.

Shape letters: B batch, S input tokens, T target tokens, D model, F feed-forward, N heads, H head, V vocabulary.
"""

from collections.abc import Mapping

from t5x_lite.config import ModelConfig

# Dense bfloat16 FLOP/s of one device, by the start of its `device_kind`. Source: the makers' data sheets.
PEAK_FLOPS: Mapping[str, float] = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2_250e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
}


def peak_flops(device_kind: str) -> float | None:
    """Returns a device's bfloat16 FLOP/s, or None where it is not known, as on a CPU."""
    for name, flops in PEAK_FLOPS.items():
        if device_kind.startswith(name):
            return flops
    return None


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


def _layer(cfg: ModelConfig, length: int) -> int:
    """Returns the multiply-adds of self-attention and feed-forward of one layer."""
    D, inner = cfg.emb_dim, cfg.num_heads * cfg.head_dim
    mlp = (len(cfg.mlp_activations) + 1) * D * cfg.mlp_dim
    return length * (4 * D * inner + mlp) + 2 * length * length * inner
