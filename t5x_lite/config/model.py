# SPDX-License-Identifier: Apache-2.0
"""The shape of a model, and how a run departs from a published one."""

import dataclasses
from typing import Literal

from t5x_lite.config.checks import require, require_positive

COMPUTE_DTYPES = ("float32", "bfloat16")
ACTIVATIONS = ("relu", "gelu", "silu", "linear")
REMAT_NAMES = ("none", "minimal", "full")
DROPOUT_RATE_LIMIT = 1.0


def check_dtype(dtype: str, field: str) -> None:
    """Raises ValueError unless `dtype` is one T5 can compute in."""
    if dtype in ("float16", "fp16", "half"):
        raise ValueError(
            f"{field} is {dtype}: T5's activations overflow float16 (its largest value is 65504); use bfloat16"
        )
    require(dtype in COMPUTE_DTYPES, f"{field} is {dtype!r}: use one of {', '.join(COMPUTE_DTYPES)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a T5 and how it computes. `t5x_lite.presets` holds the published ones."""

    vocab_size: int = 32_128  # V: rows of the embedding, a multiple of 128 so that it shards evenly
    emb_dim: int = 512  # D
    num_heads: int = 6  # N
    head_dim: int = 64  # H: N * H need not equal D
    mlp_dim: int = 1_024  # F
    num_encoder_layers: int = 8
    num_decoder_layers: int = 8
    mlp_activations: tuple[str, ...] = ("gelu", "linear")  # two: gated, as T5 1.1; one: T5 1.0
    tie_embeddings: bool = False  # logits from the input embedding, as T5 1.0
    scale_logits: bool | None = None  # by D**-0.5; None: as T5, where they come from the input embedding
    relative_bias_per_layer: bool = False  # a table of position biases a layer, as umT5, and not a stack
    relative_position_buckets: int = 32
    relative_position_max_distance: int = 128  # tokens
    dropout_rate: float = 0.0
    dtype: str = "float32"  # of the computation; parameters, softmax, norms and loss are float32
    remat: str | tuple[str, ...] = "none"  # what the backward pass recomputes; see model/stacks.py
    offload: tuple[str, ...] = ()  # which of the tensors it keeps are kept in the host's memory

    def __post_init__(self):
        sizes = (
            "vocab_size",
            "emb_dim",
            "num_heads",
            "head_dim",
            "mlp_dim",
            "num_encoder_layers",
            "num_decoder_layers",
        )
        require_positive("model", self, *sizes, "relative_position_buckets", "relative_position_max_distance")
        check_dtype(self.dtype, "model.dtype")
        require(
            0 <= self.dropout_rate < DROPOUT_RATE_LIMIT,
            f"model.dropout_rate is {self.dropout_rate}: use a number from 0 up to, not including, 1",
        )
        require(
            1 <= len(self.mlp_activations) <= 2 and set(self.mlp_activations) <= set(ACTIVATIONS),
            f"model.mlp_activations is {list(self.mlp_activations)}: use one or two of {', '.join(ACTIVATIONS)}",
        )
        require(
            not isinstance(self.remat, str) or self.remat in REMAT_NAMES,
            f"train.remat is {self.remat!r}: use one of {', '.join(REMAT_NAMES)}, or a list of tensor names to keep",
        )

    @property
    def scales_logits(self) -> bool:
        """Whether logits are scaled by D**-0.5."""
        return self.tie_embeddings if self.scale_logits is None else self.scale_logits


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """A preset, and the fields in which a run departs from it (null: as the preset has it).

    Args:
      architecture: encoder_decoder is T5. The decoder alone is causal_lm, which goes on with inputs or a text, or
        prefix_lm, which does so and reads the inputs both ways. The encoder alone is masked_lm, which fills in what
        task.objective masked_lm hides, or sequence_classifier or token_classifier, which choose one of task.labels for
        the inputs or for each word of them.
      pretrained: the model to begin with, in any form that t5x-lite convert reads: its sizes, parameters and tokenizer
        are taken over, and preset is not read. A classifier or masked_lm may begin with the encoder of a T5.
      preset: one of `t5x_lite.presets`, for example t5_1_1_small; `t5x-lite models` lists them.
      emb_dim: width D of the residual stream.
      num_heads: attention heads N.
      head_dim: width H of a head; N * H need not equal D.
      mlp_dim: hidden width F of the feed-forward block.
      num_encoder_layers: depth of the encoder.
      num_decoder_layers: depth of the decoder.
      mlp_activations: of relu, gelu, silu, linear; two make a gated feed-forward block, as in T5 1.1.
      tie_embeddings: whether logits come from the input embedding, as in T5 1.0.
      scale_logits: whether logits are scaled by emb_dim ** -0.5; T5 scales those from the input embedding.
      relative_bias_per_layer: whether every layer has a table of position biases of its own, as in umT5.
      dropout_rate: probability that an activation is dropped in training.
      dtype: of the computation, float32 or bfloat16; auto is float32 on a CPU and bfloat16 elsewhere.
    """

    architecture: Literal[
        "encoder_decoder", "causal_lm", "prefix_lm", "masked_lm", "sequence_classifier", "token_classifier"
    ] = "encoder_decoder"
    pretrained: str | None = None
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

    def __post_init__(self):
        if self.dtype != "auto":
            check_dtype(self.dtype, "model.dtype")
