# SPDX-License-Identifier: Apache-2.0
"""The published T5 architectures by name, and how a run's model options become one."""

import dataclasses
import types
from collections.abc import Mapping

from t5x_lite.config import ModelConfig, ModelOptions


def _t5(emb_dim: int, num_heads: int, head_dim: int, mlp_dim: int, num_layers: int) -> ModelConfig:
    """T5 1.0: ReLU, logits from the input embedding, dropout in pretraining."""
    return ModelConfig(
        emb_dim=emb_dim,
        num_heads=num_heads,
        head_dim=head_dim,
        mlp_dim=mlp_dim,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
        mlp_activations=("relu",),
        tie_embeddings=True,
        dropout_rate=0.1,
    )


def _t5_1_1(emb_dim: int, num_heads: int, mlp_dim: int, num_layers: int) -> ModelConfig:
    """T5 1.1: gated GELU, logits of their own, no dropout in pretraining."""
    return ModelConfig(
        emb_dim=emb_dim,
        num_heads=num_heads,
        mlp_dim=mlp_dim,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
    )


presets: Mapping[str, ModelConfig] = types.MappingProxyType(
    {
        "t5_small": _t5(512, 8, 64, 2_048, 6),
        "t5_base": _t5(768, 12, 64, 3_072, 12),
        "t5_large": _t5(1_024, 16, 64, 4_096, 24),
        "t5_3b": _t5(1_024, 32, 128, 16_384, 24),
        "t5_11b": _t5(1_024, 128, 128, 65_536, 24),
        "t5_1_1_small": _t5_1_1(512, 6, 1_024, 8),
        "t5_1_1_base": _t5_1_1(768, 12, 2_048, 12),
        "t5_1_1_large": _t5_1_1(1_024, 16, 2_816, 24),
        "t5_1_1_xl": _t5_1_1(2_048, 32, 5_120, 24),
        "t5_1_1_xxl": _t5_1_1(4_096, 64, 10_240, 24),
    }
)


def resolve_model(
    options: ModelOptions, *, vocab_size: int, remat: str | tuple[str, ...], platform: str
) -> ModelConfig:
    """Returns the architecture a run asks for.

    Args:
      options: a preset and the fields that depart from it.
      vocab_size: rows of the embedding, the tokenizer's size padded.
      remat: what the backward pass recomputes.
      platform: `cpu`, `gpu` or `tpu`; decides what dtype `auto` is.

    Raises:
      ValueError: if there is no such preset.
    """
    if options.preset not in presets:
        raise ValueError(f"model.preset is {options.preset!r}: use one of {', '.join(presets)}")
    departures = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if field.name not in ("preset", "dtype") and getattr(options, field.name) is not None
    }
    dtype = options.dtype if options.dtype != "auto" else "float32" if platform == "cpu" else "bfloat16"
    return dataclasses.replace(presets[options.preset], vocab_size=vocab_size, remat=remat, dtype=dtype, **departures)
