# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite models`: the published architectures, the memory they take and the arithmetic they ask for.

Everything is worked out from shapes: no array is made.
"""

import dataclasses
import functools
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from t5x_lite.config import REMAT_NAMES, ModelConfig, OptimizerConfig
from t5x_lite.model.architectures import abstract
from t5x_lite.model.presets import no_such_preset, presets
from t5x_lite.optim import make_optimizer
from t5x_lite.parallel.mesh import parameter_axes
from t5x_lite.perf.flops import forward_flops, train_flops
from t5x_lite.perf.memory import Lengths, activation_bytes, logit_bytes

GIB, MIB = 2**30, 2**20
ONE_PART = {"context": 1, "tensor": 1}
WIDTH = 240  # more than the table has: in a narrower window lines are broken, and no number is left out
NUM_STEPS = 1_000_000  # any that a schedule takes: no optimizer's state depends on it
# One size a dimension, no two alike, so that a dimension of a traced parameter tells which it is.
TEMPLATE = ModelConfig(
    vocab_size=2,
    emb_dim=3,
    num_heads=5,
    head_dim=7,
    mlp_dim=11,
    num_encoder_layers=13,
    num_decoder_layers=17,
    relative_position_buckets=19,
)
SIZES = (
    "vocab_size",
    "emb_dim",
    "num_heads",
    "head_dim",
    "mlp_dim",
    "num_encoder_layers",
    "num_decoder_layers",
    "relative_position_buckets",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A preset in numbers.

    Args:
      name: of the preset.
      num_parameters: of the whole model, the embedding included.
      num_encoder_layers: depth of the encoder.
      num_decoder_layers: depth of the decoder.
      emb_dim: D.
      num_heads: N.
      head_dim: H.
      mlp_dim: F.
      vocab_size: V, rows of the embedding.
      train_adafactor_bytes: float32 parameters, their gradients and Adafactor's state; no activations.
      train_adamw_bytes: the same with AdamW.
      inference_bfloat16_bytes: the weights in bfloat16; no activations, no key/value cache.
      inference_float32_bytes: the weights in float32.
      inputs_length: of the sequences that the FLOPs are counted of, in tokens.
      targets_length: the same of the targets.
      forward_flops_per_token: of the matrix products of a forward pass, over inputs_length + targets_length.
      train_flops_per_token: the same of a forward and backward pass, without recomputation.
      activations_none_bytes: of one such sequence, kept in bfloat16 for the backward pass, with train.remat none.
      activations_minimal_bytes: the same with minimal.
      activations_full_bytes: the same with full.
      logits_bytes: of one such sequence, in float32, and of their gradient in bfloat16.
    """

    name: str
    num_parameters: int
    num_encoder_layers: int
    num_decoder_layers: int
    emb_dim: int
    num_heads: int
    head_dim: int
    mlp_dim: int
    vocab_size: int
    train_adafactor_bytes: int
    train_adamw_bytes: int
    inference_bfloat16_bytes: int
    inference_float32_bytes: int
    inputs_length: int
    targets_length: int
    forward_flops_per_token: float
    train_flops_per_token: float
    activations_none_bytes: int
    activations_minimal_bytes: int
    activations_full_bytes: int
    logits_bytes: int


def run(names: Sequence[str], *, as_json: bool, inputs_length: int, targets_length: int) -> None:
    """Prints the presets of these names, or all if there are none.

    Args:
      names: of presets.
      as_json: whether to print one JSON list, the fields of `Row`, instead of a table.
      inputs_length: tokens of the inputs that the FLOPs are counted for.
      targets_length: tokens of the targets.

    Raises:
      ValueError: if there is no such preset.
    """
    rows = [row(name, inputs_length, targets_length) for name in checked(names) or presets]
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    console = Console(file=sys.stdout, width=WIDTH, highlight=False, markup=False)
    console.print(table(rows))
    console.print()
    for line in (
        "Training: float32 parameters, their gradients and the optimizer's state. Inference: the weights.",
        "MiB a sequence: activations kept in bfloat16 for the backward pass, by train.remat, and the loss's logits.",
        "The key/value cache and the batch are not included.",
        f"GFLOPs: of the matrix products, a token, at {inputs_length:,} tokens of inputs and {targets_length:,} of "
        "targets.",
    ):
        console.print(line, soft_wrap=True)


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names, each once.

    Raises:
      ValueError: if there is no such preset.
    """
    for name in names:
        if name not in presets:
            raise ValueError(f"NAME is {name!r}: {no_such_preset(name)}")
    return tuple(dict.fromkeys(names))


def row(name: str, inputs_length: int, targets_length: int) -> Row:
    """Returns a preset in numbers."""
    cfg, num_tokens = presets[name], inputs_length + targets_length
    one = Lengths(1, inputs_length, targets_length)
    sizes = {field.name: getattr(cfg, field.name) for field in dataclasses.fields(Row) if hasattr(cfg, field.name)}
    shapes, adafactor_bytes, adamw_bytes = memory(cfg)
    num_parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    parameter_bytes = num_bytes(shapes)
    return Row(
        name=name,
        num_parameters=num_parameters,
        **sizes,
        train_adafactor_bytes=2 * parameter_bytes + adafactor_bytes,
        train_adamw_bytes=2 * parameter_bytes + adamw_bytes,
        inference_bfloat16_bytes=2 * num_parameters,
        inference_float32_bytes=parameter_bytes,
        inputs_length=inputs_length,
        targets_length=targets_length,
        forward_flops_per_token=forward_flops(cfg, inputs_length, targets_length) / num_tokens,
        train_flops_per_token=train_flops(cfg, inputs_length, targets_length) / num_tokens,
        **{f"activations_{remat}_bytes": kept(cfg, remat, one) for remat in REMAT_NAMES},
        logits_bytes=logit_bytes(dataclasses.replace(cfg, dtype="bfloat16"), one, ONE_PART),
    )


def kept(cfg: ModelConfig, remat: str, lengths: Lengths) -> int:
    """Returns the bytes that are kept of the layers for the backward pass, in bfloat16."""
    return activation_bytes(dataclasses.replace(cfg, remat=remat, dtype="bfloat16"), lengths, ONE_PART)


@functools.cache
def memory(cfg: ModelConfig) -> tuple[Any, int, int]:
    """Returns (the shapes of the parameters, the bytes of Adafactor's state, those of AdamW's)."""
    shapes, axes = parameter_shapes(cfg)

    def state_bytes(optimizer: OptimizerConfig) -> int:
        return num_bytes(jax.eval_shape(make_optimizer(optimizer, NUM_STEPS, axes).init, shapes))

    return shapes, state_bytes(OptimizerConfig(name="adafactor")), state_bytes(OptimizerConfig(name="adamw"))


def parameter_shapes(cfg: ModelConfig) -> tuple[Any, Any]:
    """Returns the parameters of a T5, as shapes, and their axis names.

    To trace a model takes a quarter of a second. Presets that differ in sizes alone have one traced for all of them,
    of small sizes, in whose shapes the sizes are then replaced.
    """
    template, axes = _traced(len(cfg.mlp_activations), cfg.tie_embeddings, cfg.relative_bias_per_layer)
    sizes = {getattr(TEMPLATE, field): getattr(cfg, field) for field in SIZES}
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(tuple(sizes[small] for small in leaf.shape), leaf.dtype), template
    ), axes


@functools.cache
def _traced(num_activations: int, tie_embeddings: bool, relative_bias_per_layer: bool) -> tuple[Any, Any]:
    cfg = dataclasses.replace(
        TEMPLATE,
        mlp_activations=("linear",) * num_activations,
        tie_embeddings=tie_embeddings,
        relative_bias_per_layer=relative_bias_per_layer,
    )
    shapes = abstract(cfg)
    return shapes, parameter_axes(shapes)


def num_bytes(shapes: Any) -> int:
    """Returns the bytes of all arrays of a tree."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def table(rows: Sequence[Row]) -> Table:
    """Returns the rows for a person to read."""
    result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = ("preset", "parameters", "layers\nenc + dec", "D", "N x H", "F", "vocabulary")
    columns += ("train GiB\nAdafactor", "train GiB\nAdamW", "infer GiB\nbfloat16", "infer GiB\nfloat32")
    columns += ("GFLOPs\nforward", "GFLOPs\ntraining")
    columns += ("MiB/seq.\nremat full", "MiB/seq.\nminimal", "MiB/seq.\nnone", "MiB/seq.\nlogits")
    for number, column in enumerate(columns):
        result.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        memories = row.train_adafactor_bytes, row.train_adamw_bytes
        memories += row.inference_bfloat16_bytes, row.inference_float32_bytes
        sequences = row.activations_full_bytes, row.activations_minimal_bytes, row.activations_none_bytes
        sequences += (row.logits_bytes,)
        result.add_row(
            row.name,
            f"{row.num_parameters:,}",
            f"{row.num_encoder_layers} + {row.num_decoder_layers}",
            f"{row.emb_dim:,}",
            f"{row.num_heads} x {row.head_dim}",
            f"{row.mlp_dim:,}",
            f"{row.vocab_size:,}",
            *(f"{memory / GIB:,.2f}" for memory in memories),
            *(f"{flops / 1e9:,.2f}" for flops in (row.forward_flops_per_token, row.train_flops_per_token)),
            *(f"{memory / MIB:,.1f}" for memory in sequences),
        )
    return result
