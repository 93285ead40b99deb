# SPDX-License-Identifier: Apache-2.0
"""Model configuration: sizes and computation, and a run's overrides of a preset."""

import dataclasses
from typing import Any, Literal

from t5x_lite.config.architectures import ARCHITECTURES, DEFAULT, ArchitectureName, Traits
from t5x_lite.config.checks import FRACTION, NON_NEGATIVE, POSITIVE, Rule, check_fields, require
from t5x_lite.config.paths import expand_home

AttentionName = Literal["auto", "reference", "fused"]
COMPUTE_DTYPES = ("float32", "bfloat16")
ACTIVATIONS = ("relu", "gelu", "gelu_exact", "silu", "linear")
REMAT_NAMES = ("none", "minimal", "full")
IDS = ("pad_id", "eos_id", "start_id")
NEWER_FIELDS = (*IDS, "norm_epsilon")  # stored in checkpoints only if they differ from T5's
RULES = {
    POSITIVE: "vocab_size emb_dim num_heads head_dim mlp_dim num_encoder_layers num_decoder_layers "
    "relative_position_buckets relative_position_max_distance norm_epsilon",
    FRACTION: "dropout_rate",
    NON_NEGATIVE: " ".join(IDS),
    Rule(
        lambda names: 1 <= len(names) <= 2 and set(names) <= set(ACTIVATIONS),
        f"use one or two of {', '.join(ACTIVATIONS)}",
    ): "mlp_activations",
}


def check_dtype(dtype: str, field: str) -> None:
    """Raises ValueError unless T5 can compute in `dtype`."""
    if dtype in ("float16", "fp16", "half"):
        raise ValueError(f"{field} is {dtype}: T5's activations overflow float16, whose maximum is 65504; use bfloat16")
    require(dtype in COMPUTE_DTYPES, f"{field} is {dtype!r}: use one of {', '.join(COMPUTE_DTYPES)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and computation of a model. `t5x_lite.presets` holds the published configurations."""

    vocab_size: int = 32_128  # V: embedding rows, a multiple of 128 so that they shard evenly
    emb_dim: int = 512  # D
    num_heads: int = 6  # N
    head_dim: int = 64  # H: N * H need not equal D
    mlp_dim: int = 1_024  # F
    num_encoder_layers: int = 8
    num_decoder_layers: int = 8
    mlp_activations: tuple[str, ...] = ("gelu", "linear")  # two: gated, as in T5 1.1; one: T5 1.0
    tie_embeddings: bool = False  # computes logits from the input embedding, as in T5 1.0
    scale_logits: bool | None = None  # by D**-0.5; None: only if embeddings are tied, as in T5
    relative_bias_per_layer: bool = False  # one position bias table per layer, as in umT5, not per stack
    relative_position_buckets: int = 32  # distance buckets, each with one bias per head
    relative_position_max_distance: int = 128  # tokens; longer distances share a bucket
    dropout_rate: float = 0.0
    norm_epsilon: float = 1e-6  # added to the mean square in RMSNorm
    pad_id: int = 0  # the id of padding, which is never attended to in the inputs; the tokenizer's
    eos_id: int = 1  # the id that ends inputs and targets; the tokenizer's
    start_id: int = 0  # the decoder's first input
    dtype: str = "float32"  # of activations; parameters, softmax, norms and loss are float32
    attention: AttentionName = "auto"  # fused where the platform and the shapes allow it; not stored in checkpoints
    remat: str | tuple[str, ...] = "none"  # recomputation in the backward pass; see model/stacks.py
    offload: tuple[str, ...] = ()  # kept tensors to store in host memory

    def __post_init__(self):
        check_fields(self, "model.", RULES)
        check_dtype(self.dtype, "model.dtype")
        require(
            not isinstance(self.remat, str) or self.remat in REMAT_NAMES,
            f"train.remat is {self.remat!r}: use one of {', '.join(REMAT_NAMES)}, or a list of tensors to keep",
        )

    def stored(self) -> dict[str, Any]:
        """Returns the fields as checkpoints store them, without those of NEWER_FIELDS that have their default value."""
        default = ModelConfig()
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name != "attention" and (name not in NEWER_FIELDS or value != getattr(default, name))
        }

    @property
    def scales_logits(self) -> bool:
        """Whether logits are multiplied by D**-0.5."""
        return self.tie_embeddings if self.scale_logits is None else self.scale_logits


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Architecture, starting point and sizes of the model; null keeps the preset's value.

    Args:
      architecture: encoder_decoder is T5. causal_lm and prefix_lm are decoder-only; prefix_lm attends to the inputs
        bidirectionally. masked_lm, sequence_classifier and token_classifier are encoder-only; a classifier predicts one
        of task.labels for the whole input or for each word.
      pretrained: checkpoint to start from, in any format that t5x-lite convert reads; it replaces preset, and provides
        the sizes, the parameters and the tokenizer. Classifiers and masked_lm can start from the encoder of a T5.
      added_tokens: texts that become one token each, added to the vocabulary of pretrained, such as ["{", "}", "\\n"],
        which T5's vocabulary lacks.
      added_token_rows: initial embeddings of added_tokens: mean, that of all other tokens, or zero; null is mean.
      preset: name of a published configuration, such as t5_1_1_small; t5x-lite models lists them.
      emb_dim: embedding size D.
      num_heads: number of attention heads N.
      head_dim: size H of an attention head; N * H need not equal D.
      mlp_dim: hidden size F of the feed-forward block.
      num_encoder_layers: number of encoder layers.
      num_decoder_layers: number of decoder layers.
      mlp_activations: one or two of relu, gelu (its tanh approximation, as in T5 1.1), gelu_exact, silu and linear; two
        make a gated feed-forward block, as in T5 1.1.
      tie_embeddings: share the input embedding with the output layer, as in T5 1.0.
      scale_logits: multiply the logits by emb_dim ** -0.5; by default only if the embeddings are tied, as in T5.
      relative_bias_per_layer: use a separate table of relative position biases in every layer, as in umT5.
      dropout_rate: dropout probability in training; null is the preset's, or 0.1 with pretrained.
      dtype: dtype of activations, float32 or bfloat16; auto is float32 on CPU and bfloat16 elsewhere.
      attention: fused never holds queries x keys in memory, on TPUs or GPUs; reference does; auto is fused if possible.
    """

    architecture: ArchitectureName = DEFAULT
    pretrained: str | None = None
    added_tokens: tuple[str, ...] | None = None
    added_token_rows: Literal["mean", "zero"] | None = None
    preset: str = "t5_1_1_small"
    emb_dim: int | None = None
    num_heads: int | None = None
    head_dim: int | None = None
    mlp_dim: int | None = None
    num_encoder_layers: int | None = None
    num_decoder_layers: int | None = None
    mlp_activations: tuple[str, ...] | None = None
    tie_embeddings: bool | None = None
    scale_logits: bool | None = None
    relative_bias_per_layer: bool | None = None
    dropout_rate: float | None = None
    dtype: str = "auto"
    attention: AttentionName = "auto"

    def __post_init__(self):
        check_fields(self, "model.", {})
        if self.added_tokens is not None:
            require(
                self.pretrained is not None,
                f"model.added_tokens is {list(self.added_tokens)} without model.pretrained: use "
                "task.tokenizer.added_tokens",
            )
        require(
            self.added_token_rows is None or self.added_tokens is not None,
            f"model.added_token_rows is {self.added_token_rows} without model.added_tokens: leave it out",
        )
        if self.dtype != "auto":
            check_dtype(self.dtype, "model.dtype")
        expand_home(self, "model.", "pretrained")

    @property
    def traits(self) -> Traits:
        """The record of the architecture."""
        return ARCHITECTURES[self.architecture]
