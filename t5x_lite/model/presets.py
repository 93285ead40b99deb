# SPDX-License-Identifier: Apache-2.0
"""The published T5 architectures by name, and how a run's model options become one."""

import dataclasses
import difflib
import types
from collections.abc import Mapping
from typing import Any

from t5x_lite.config import ModelConfig, ModelOptions, TrainConfig


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


def _t5_1_1(emb_dim: int, num_heads: int, mlp_dim: int, num_layers: tuple[int, int]) -> ModelConfig:
    """T5 1.1: gated GELU, logits of their own, no dropout in pretraining; layers of the encoder and the decoder."""
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
# As many parameters as mT5: those of its vocabulary went into width and into the encoder, three times as deep as the
# decoder.
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


def _family(name: str, sizes: Mapping[str, ModelConfig], **departures: Any) -> dict[str, ModelConfig]:
    """Returns `sizes` with what a family has in common, under its names: `{}` in `name` is the size."""
    return {name.format(size): dataclasses.replace(cfg, **departures) for size, cfg in sizes.items()}


# Dropout is that of pretraining: T5X's page of models says that T5 1.1, unlike T5 1.0, had none, and the gin files of
# mT5, ByT5 and umT5 that neither had they. Fine-tuning, Flan's included, has one of its own, which a run sets. Sizes
# are those of T5X's gin files, UL2's of its model card; the page of models names T5 1.1's files for the LM-adapted
# checkpoints and for Flan-T5.
presets: Mapping[str, ModelConfig] = types.MappingProxyType(
    _family("t5_{}", _T5)
    | _family("t5_1_1_{}", _T5_1_1)
    | _family("t5_1_1_{}_lm", _T5_1_1)  # 100,000 steps more, as a language model
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


def no_such_preset(name: str) -> str:
    """Returns what to say about a name that no preset has: the nearest there are, or else all."""
    near = difflib.get_close_matches(name, presets, n=5, cutoff=0.5)
    return f"use one of {', '.join(near or presets)}" + (", or another that `t5x-lite models` lists" if near else "")


def resolve_model(
    options: ModelOptions,
    *,
    vocab_size: int,
    train: TrainConfig,
    platform: str,
    pretrained: ModelConfig | None = None,
) -> ModelConfig:
    """Returns the architecture a run asks for.

    Args:
      options: a preset and the fields that depart from it.
      vocab_size: rows of the embedding, the tokenizer's size padded.
      train: says what the backward pass recomputes, and what is kept for it where.
      platform: `cpu`, `gpu` or `tpu`; decides what dtype `auto` is.
      pretrained: of the model that training goes on with, if it does; nothing but dropout may depart from it.

    Raises:
      ValueError: if there is no such preset, or the pretrained model is of another size.
    """
    if options.preset not in presets:
        raise ValueError(f"model.preset is {options.preset!r}: {no_such_preset(options.preset)}")
    departures = {
        name: getattr(options, name)
        for name in (field.name for field in dataclasses.fields(options))
        if name not in ("architecture", "pretrained", "preset", "dtype") and getattr(options, name) is not None
    }
    dtype = options.dtype if options.dtype != "auto" else "float32" if platform == "cpu" else "bfloat16"
    base = presets[options.preset]
    if pretrained is not None:
        base, vocab_size = pretrained, pretrained.vocab_size
        for name in departures.keys() - {"dropout_rate"}:
            if departures[name] != getattr(base, name):
                raise ValueError(
                    f"model.{name} is {departures[name]}, and the model of model.pretrained {options.pretrained} has "
                    f"{getattr(base, name)}: leave it out"
                )
        departures.setdefault("dropout_rate", base.dropout_rate)
    departures |= {"remat": train.remat, "offload": train.offload, "dtype": dtype}
    return dataclasses.replace(base, vocab_size=vocab_size, **departures)
