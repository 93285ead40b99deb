# SPDX-License-Identifier: Apache-2.0
"""The one table of what a parameter is called here, by Hugging Face and by T5X, and how its numbers lie in each.

A parameter of a stack has all layers here, L first; Hugging Face, and T5X's plain layout, have an array a layer, in
whose name `{layer}` stands for its number. Here and in T5X a kernel maps rows to columns, and Hugging Face keeps it
transposed. Here heads are a dimension of their own; elsewhere they are side by side in one.

Shape letters: L layers, D model, N heads, H head, F feed-forward, V vocabulary, K buckets.
"""

import enum
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from t5x_lite.checkpoints.arrays import Index
from t5x_lite.config import ModelConfig
from t5x_lite.files.messages import listed


class Form(enum.Enum):
    """How the array of one layer here becomes a matrix as T5X has it, and whether Hugging Face transposes that."""

    KEPT = "the same everywhere"
    KERNEL = "[in, out], by Hugging Face [out, in]"
    INTO_HEADS = "[D, N, H] as a kernel [D, N * H]"
    OUT_OF_HEADS = "[N, H, D] as a kernel [N * H, D]"


class Row(NamedTuple):
    """One parameter."""

    ours: str
    hf: str
    t5x: str
    form: Form

    @property
    def has_layers(self) -> bool:
        """Whether there is one a layer."""
        return "{layer}" in self.hf

    def hf_name(self, layer: int) -> str:
        """Returns what Hugging Face calls it, of a layer where there is one a layer."""
        return self.hf.format(layer=layer)

    def matrix_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape that T5X gives to an array that has this one here, without layers."""
        if self.form is Form.INTO_HEADS:
            return (shape[0], shape[1] * shape[2])
        if self.form is Form.OUT_OF_HEADS:
            return (shape[0] * shape[1], shape[2])
        return shape

    def t5x_groups(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Returns which dimensions of an array here are side by side in each of T5X's, without layers."""
        if self.form is Form.INTO_HEADS:
            return ((0,), (1, 2))
        if self.form is Form.OUT_OF_HEADS:
            return ((0, 1), (2,))
        return tuple((dim,) for dim in range(len(shape)))

    def hf_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape that Hugging Face gives to an array that has this one here, without layers."""
        matrix = self.matrix_shape(shape)
        return matrix if self.form is Form.KEPT else matrix[::-1]

    def to_hf(self, array: np.ndarray) -> np.ndarray:
        """Returns an array of one layer, or of none, as Hugging Face keeps it."""
        return array if self.form is Form.KEPT else array.reshape(self.matrix_shape(array.shape)).T

    def hf_index(self, index: Index, shape: tuple[int, ...]) -> Index:
        """Returns where a part of an array lies in Hugging Face's.

        Args:
          index: of the part, here, without layers; heads are cut, but none is cut in itself.
          shape: of the whole array here.
        """
        if self.form is Form.KEPT:
            return index
        if self.form is Form.INTO_HEADS:
            return (_of_heads(index[1], shape[2]), index[0])
        if self.form is Form.OUT_OF_HEADS:
            return (index[2], _of_heads(index[0], shape[1]))
        return index[::-1]

    def from_hf(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Returns Hugging Face's array, or a part of it, in the shape it has here, `shape`."""
        return (array if self.form is Form.KEPT else array.T).reshape(shape)


def rows(cfg: ModelConfig) -> Iterator[Row]:
    """Yields a row for every parameter of an encoder-decoder.

    Source: Hugging Face `modeling_t5.py` and `modeling_umt5.py`; T5X `examples/t5/network.py`.
    """
    yield Row("embedding", "shared.weight", "token_embedder/embedding", Form.KEPT)
    if not cfg.tie_embeddings:
        yield Row("logits_kernel", "lm_head.weight", "decoder/logits_dense/kernel", Form.KERNEL)
    for stack in ("encoder", "decoder"):
        layer = f"{stack}.block.{{layer}}" if cfg.relative_bias_per_layer else f"{stack}.block.0"
        table = f"{layer}.layer.0.SelfAttention.relative_attention_bias.weight"
        t5x_layer = f"{stack}/layers_{{layer}}" if cfg.relative_bias_per_layer else stack
        yield Row(f"{stack}/position_bias/table", table, f"{t5x_layer}/relpos_bias/rel_embedding", Form.KERNEL)
        norm = (f"{stack}/final_norm/scale", f"{stack}.final_layer_norm.weight", f"{stack}/{stack}_norm/scale")
        yield Row(*norm, Form.KEPT)
    yield from _block_rows("encoder", cfg, {"attention": ("SelfAttention", "attention")})
    attentions = {
        "self_attention": ("SelfAttention", "self_attention"),
        "cross_attention": ("EncDecAttention", "encoder_decoder_attention"),
    }
    yield from _block_rows("decoder", cfg, attentions)


def _block_rows(stack: str, cfg: ModelConfig, attentions: dict[str, tuple[str, str]]) -> Iterator[Row]:
    """Yields the rows of a layer's parameters; `attentions` are those it has, in order, by their names here."""
    ours, hf, t5x = f"{stack}/blocks", f"{stack}.block.{{layer}}.layer", f"{stack}/layers_{{layer}}"
    for place, (attention, (hf_attention, t5x_attention)) in enumerate(attentions.items()):
        norm = f"{t5x}/pre_{attention}_layer_norm/scale"
        yield Row(f"{ours}/{attention}_norm/scale", f"{hf}.{place}.layer_norm.weight", norm, Form.KEPT)
        for name in ("query", "key", "value", "out"):
            form = Form.OUT_OF_HEADS if name == "out" else Form.INTO_HEADS
            hf_name = f"{hf}.{place}.{hf_attention}.{name[0]}.weight"
            yield Row(f"{ours}/{attention}/{name}", hf_name, f"{t5x}/{t5x_attention}/{name}/kernel", form)
    place = len(attentions)
    norm = (f"{ours}/mlp_norm/scale", f"{hf}.{place}.layer_norm.weight", f"{t5x}/pre_mlp_layer_norm/scale")
    yield Row(*norm, Form.KEPT)
    for name in ("wi", "wo") if len(cfg.mlp_activations) == 1 else ("wi_0", "wi_1", "wo"):
        hf_name = f"{hf}.{place}.DenseReluDense.{name}.weight"
        yield Row(f"{ours}/mlp/{name}", hf_name, f"{t5x}/mlp/{name}/kernel", Form.KERNEL)


def differences(missing: list[str], unknown: list[str]) -> str:
    """Returns what a set of arrays lacks and has too much, for an error; nothing if it is what it should be."""
    parts = [f"lacks {listed(missing, 5)}"] * bool(missing) + [f"has {listed(unknown, 5)} too"] * bool(unknown)
    return " and ".join(parts)


def _of_heads(heads: slice, head_dim: int) -> slice:
    return slice(heads.start * head_dim, heads.stop * head_dim)
