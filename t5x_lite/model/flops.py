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


def forward_flops(cfg: ModelConfig, inputs_length: int, targets_length: int) -> int:
    """Counts the FLOPs of the matrix products of one sequence's forward pass, two a multiply-add.

    Attention counts all T * S pairs, the causal half included, as the products that are really computed do.
    """
    S, T, D, inner = inputs_length, targets_length, cfg.emb_dim, cfg.num_heads * cfg.head_dim
    mlp = (len(cfg.mlp_activations) + 1) * D * cfg.mlp_dim  # multiply-adds a token
    projection = D * inner
    encoder_layer = S * (4 * projection + mlp) + 2 * S * S * inner
    decoder_layer = (
        T * (4 * projection + mlp) + 2 * T * T * inner + T * 2 * projection + S * 2 * projection + 2 * T * S * inner
    )
    logits = T * D * cfg.vocab_size
    return 2 * (cfg.num_encoder_layers * encoder_layer + cfg.num_decoder_layers * decoder_layer + logits)


def train_flops(cfg: ModelConfig, inputs_length: int, targets_length: int) -> int:
    """Counts the FLOPs of one sequence's forward and backward pass, without recomputation."""
    return 3 * forward_flops(cfg, inputs_length, targets_length)
