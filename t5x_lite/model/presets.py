# SPDX-License-Identifier: Apache-2.0
"""Published T5 configurations by name, and the resolution of model options."""

import dataclasses
import difflib
import types
from collections.abc import Mapping
from typing import Any

from t5x_lite.config import ModelConfig, ModelOptions, TrainConfig


def _t5(emb_dim: int, num_heads: int, head_dim: int, mlp_dim: int, num_layers: int) -> ModelConfig:
    """T5 1.0: ReLU, tied embeddings, dropout in pretraining."""
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


def _t5_1_1(emb_dim: int, num_heads: int, mlp_dim: int, num_layers: tuple[int, int]) -> ModelConfig:
    """T5 1.1: gated GELU, untied logits, no dropout in pretraining; `num_layers` is (encoder, decoder)."""
    return ModelConfig(
        emb_dim=emb_dim,
        num_heads=num_heads,
        mlp_dim=mlp_dim,
        num_encoder_layers=num_layers[0],
        num_decoder_layers=num_layers[1],
    )


_T5 = {
    "small": _t5(512, 8, 64, 2_048, 6),
    "base": _t5(768, 12, 64, 3_072, 12),
    "large": _t5(1_024, 16, 64, 4_096, 24),
    "3b": _t5(1_024, 32, 128, 16_384, 24),
    "11b": _t5(1_024, 128, 128, 65_536, 24),
}
_T5_1_1 = {
    "small": _t5_1_1(512, 6, 1_024, (8, 8)),
    "base": _t5_1_1(768, 12, 2_048, (12, 12)),
    "large": _t5_1_1(1_024, 16, 2_816, (24, 24)),
    "xl": _t5_1_1(2_048, 32, 5_120, (24, 24)),
    "xxl": _t5_1_1(4_096, 64, 10_240, (24, 24)),
}
# ByT5 matches mT5's sizes, trading the vocabulary for width and an encoder three times as deep as the decoder.
_BYT5 = {
    "small": _t5_1_1(1_472, 6, 3_584, (12, 4)),
    "base": _t5_1_1(1_536, 12, 3_968, (18, 6)),
    "large": _t5_1_1(1_536, 16, 3_840, (36, 12)),
    "xl": _t5_1_1(2_560, 32, 6_720, (36, 12)),
    "xxl": _t5_1_1(4_672, 64, 12_352, (36, 12)),
}
_UL2 = dataclasses.replace(
    _t5_1_1(4_096, 16, 16_384, (32, 32)), head_dim=256, mlp_activations=("silu", "linear"), tie_embeddings=True
)


def _family(name: str, sizes: Mapping[str, ModelConfig], **changes: Any) -> dict[str, ModelConfig]:
    """Returns a family's configurations with fields replaced; `{}` in `name` stands for the size."""
    return {name.format(size): dataclasses.replace(cfg, **changes) for size, cfg in sizes.items()}


# Sources: T5X's gin files, also for the LM-adapted checkpoints and Flan-T5; UL2's model card. Dropout is that of
# pretraining, 0 in T5 1.1, mT5, ByT5 and umT5; fine-tuning runs, including Flan's, set their own.
presets: Mapping[str, ModelConfig] = types.MappingProxyType(
    _family("t5_{}", _T5)
    | _family("t5_1_1_{}", _T5_1_1)
    | _family("t5_1_1_{}_lm", _T5_1_1)  # 100,000 more steps as a language model
    | _family("flan_t5_{}", _T5_1_1)
    | _family("mt5_{}", _T5_1_1, vocab_size=250_112)
    # No umT5 large was published.
    | _family(
        "umt5_{}",
        {size: cfg for size, cfg in _T5_1_1.items() if size != "large"},
        vocab_size=256_384,
        relative_bias_per_layer=True,
    )
    | _family("byt5_{}", _BYT5, vocab_size=384)
    | {"ul2": _UL2, "flan_ul2": _UL2}
)


NOT_SIZES = (
    "architecture",
    "pretrained",
    "added_tokens",
    "added_token_rows",
    "preset",
    "dtype",
    "attention",
)  # of ModelOptions


def no_such_preset(name: str) -> str:
    """Returns the remedy for an unknown preset: the nearest names, or all if none is near."""
    near = difflib.get_close_matches(name, presets, n=5, cutoff=0.5)
    return f"use one of {', '.join(near or presets)}" + ("; `t5x-lite models` lists all" if near else "")


def resolve_model(
    options: ModelOptions,
    *,
    vocab_size: int,
    train: TrainConfig,
    platform: str,
    pretrained: ModelConfig | None = None,
    ids: tuple[int, int] = (0, 1),
) -> ModelConfig:
    """Returns a run's model configuration.

    Args:
      options: a preset and the fields that override it.
      vocab_size: rows of the embedding: the tokenizer's size, padded.
      train: training options, for `remat` and `offload`.
      platform: `cpu`, `gpu` or `tpu`, which dtype `auto` depends on.
      pretrained: the pretrained model's configuration, or None; options may only override its dropout.
      ids: the tokenizer's padding and EOS, for a new model, whose decoder starts with padding.

    Raises:
      ValueError: if the preset is unknown, or the options contradict the pretrained model.
    """
    if options.preset not in presets:
        raise ValueError(f"model.preset is {options.preset!r}: {no_such_preset(options.preset)}")
    overrides = {
        name: getattr(options, name)
        for name in (field.name for field in dataclasses.fields(options))
        if name not in NOT_SIZES and getattr(options, name) is not None
    }
    dtype = options.dtype if options.dtype != "auto" else "float32" if platform == "cpu" else "bfloat16"
    base = presets[options.preset]
    if pretrained is not None:
        base, vocab_size = pretrained, pretrained.vocab_size
        for name in overrides.keys() - {"dropout_rate"}:
            if overrides[name] != getattr(base, name):
                raise ValueError(
                    f"model.{name} is {overrides[name]}, but model.pretrained {options.pretrained} has "
                    f"{getattr(base, name)}: leave it out"
                )
        overrides.setdefault("dropout_rate", base.dropout_rate)
    else:
        overrides |= {"pad_id": ids[0], "eos_id": ids[1], "start_id": ids[0]}
    overrides |= {"remat": train.remat, "offload": train.offload, "dtype": dtype, "attention": options.attention}
    return dataclasses.replace(base, vocab_size=vocab_size, **overrides)
