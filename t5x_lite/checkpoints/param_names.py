# SPDX-License-Identifier: Apache-2.0
"""Parameter names in t5x_lite, Hugging Face and T5X, and conversions between their layouts.

t5x_lite stacks the layers of a parameter in one array, L first; Hugging Face and T5X's plain layout have an array per
layer, numbered at `{layer}` in its name. Kernels are [in, out] in t5x_lite and T5X but [out, in] in Hugging Face. Only
t5x_lite keeps heads as a dimension.

Shape letters: L layers, D model, N heads, H head.
"""

import enum
from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple

import numpy as np

from t5x_lite.checkpoints.arrays import Index
from t5x_lite.config import ModelConfig
from t5x_lite.files.messages import listed


class Form(enum.Enum):
    """How one layer's array maps to T5X's matrix; Hugging Face stores the transpose unless KEPT."""

    KEPT = "the same everywhere"
    KERNEL = "[in, out]; Hugging Face has [out, in]"
    INTO_HEADS = "[D, N, H] to [D, N * H]"
    OUT_OF_HEADS = "[N, H, D] to [N * H, D]"


class Row(NamedTuple):
    """A parameter's names and form. Shapes and indices passed to its methods exclude the layer dimension."""

    ours: str
    hf: str
    t5x: str
    form: Form

    @property
    def has_layers(self) -> bool:
        """Whether the parameter exists in every layer."""
        return "{layer}" in self.hf

    def matrix_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Converts a shape in t5x_lite to T5X's."""
        if self.form is Form.INTO_HEADS:
            return (shape[0], shape[1] * shape[2])
        if self.form is Form.OUT_OF_HEADS:
            return (shape[0] * shape[1], shape[2])
        return shape

    def matrix_index(self, index: Index, shape: tuple[int, ...]) -> Index:
        """Converts an index into an array of this shape in t5x_lite to T5X's; it must not split a head."""
        if self.form is Form.INTO_HEADS:
            return (index[0], _flat(index[1], shape[2]))
        if self.form is Form.OUT_OF_HEADS:
            return (_flat(index[0], shape[1]), index[2])
        return index

    def hf_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Converts a shape in t5x_lite to Hugging Face's."""
        matrix = self.matrix_shape(shape)
        return matrix if self.form is Form.KEPT else matrix[::-1]

    def hf_index(self, index: Index, shape: tuple[int, ...]) -> Index:
        """Converts an index in t5x_lite to Hugging Face's; see `matrix_index`."""
        matrix = self.matrix_index(index, shape)
        return matrix if self.form is Form.KEPT else matrix[::-1]

    def to_hf(self, array: np.ndarray) -> np.ndarray:
        """Converts an array of one layer to Hugging Face's layout."""
        return array if self.form is Form.KEPT else array.reshape(self.matrix_shape(array.shape)).T

    def from_hf(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Converts Hugging Face's array, or a slice of it, to its shape in t5x_lite."""
        return (array if self.form is Form.KEPT else array.T).reshape(shape)


def rows(cfg: ModelConfig) -> Iterator[Row]:
    """Yields every parameter of an encoder-decoder.

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
    """Yields a layer's parameters; `attentions` maps our names, in order, to Hugging Face's and T5X's."""
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


def check_arrays(
    arrays: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: str, ignored: Set[str] = frozenset()
) -> None:
    """Raises ValueError, prefixed with `where`, unless names and shapes match; names in `ignored` are optional."""
    missing, unexpected = shapes.keys() - arrays.keys(), arrays.keys() - shapes.keys() - ignored
    problems = [f"lacks {listed(sorted(missing), 5)}"] * bool(missing)
    problems += [f"has unexpected {listed(sorted(unexpected), 5)}"] * bool(unexpected)
    if not problems:
        wrong = (name for name, shape in shapes.items() if arrays[name].shape != shape)
        problems = [f"has {name} of shape {list(arrays[name].shape)}, not {list(shapes[name])}" for name in wrong][:1]
    if problems:
        raise ValueError(f"{where} {' and '.join(problems)}. Use the files of one model")


def _flat(heads: slice, head_dim: int) -> slice:
    return slice(heads.start * head_dim, heads.stop * head_dim)
