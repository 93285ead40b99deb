# SPDX-License-Identifier: Apache-2.0
"""`t5x-lite models`: the presets with their memory and FLOPs, computed from shapes alone."""

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
UNSHARDED = {"context": 1, "tensor": 1}
TABLE_WIDTH = 240  # wider than the table, so that narrow terminals wrap lines instead of truncating numbers
NUM_STEPS = 1_000_000  # arbitrary: no optimizer state depends on it
# A distinct prime per size, to identify it among the dimensions of a traced parameter.
TRACED_SIZES: dict[str, Any] = {
    "vocab_size": 2,
    "emb_dim": 3,
    "num_heads": 5,
    "head_dim": 7,
    "mlp_dim": 11,
    "num_encoder_layers": 13,
    "num_decoder_layers": 17,
    "relative_position_buckets": 19,
}
SIZES = ("num_encoder_layers", "num_decoder_layers", "emb_dim", "num_heads", "head_dim", "mlp_dim", "vocab_size")
COLUMNS = {
    "preset": "{name}",
    "parameters": "{num_parameters:,}",
    "layers\nenc + dec": "{num_encoder_layers} + {num_decoder_layers}",
    "D": "{emb_dim:,}",
    "N x H": "{num_heads} x {head_dim}",
    "F": "{mlp_dim:,}",
    "vocabulary": "{vocab_size:,}",
    "train GiB\nAdafactor": "{train_adafactor_gib:,.2f}",
    "train GiB\nAdamW": "{train_adamw_gib:,.2f}",
    "infer GiB\nbfloat16": "{inference_bfloat16_gib:,.2f}",
    "infer GiB\nfloat32": "{inference_float32_gib:,.2f}",
    "GFLOPs\nforward": "{forward_gflops_per_token:,.2f}",
    "GFLOPs\ntraining": "{train_gflops_per_token:,.2f}",
    "MiB/seq.\nremat full": "{activations_full_mib:,.1f}",
    "MiB/seq.\nminimal": "{activations_minimal_mib:,.1f}",
    "MiB/seq.\nnone": "{activations_none_mib:,.1f}",
    "MiB/seq.\nlogits": "{logits_mib:,.1f}",
}


def run(names: Sequence[str], *, as_json: bool, inputs_length: int, targets_length: int) -> None:
    """Prints presets, all of them if `names` is empty, as a table or as a JSON list of `row`'s objects."""
    for name in names:
        if name not in presets:
            raise ValueError(f"NAME is {name!r}: {no_such_preset(name)}")
    rows = [row(name, inputs_length, targets_length) for name in dict.fromkeys(names) or presets]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    console = Console(file=sys.stdout, width=TABLE_WIDTH, highlight=False, markup=False)
    console.print(table(rows))
    console.print()
    for line in (
        "Training: float32 parameters, their gradients and the optimizer state. Inference: the weights.",
        "MiB per sequence: bfloat16 activations kept for the backward pass, by train.remat, and the loss's logits.",
        "The key/value cache and the batch are not included.",
        f"GFLOPs: matrix products per token, with {inputs_length:,} input and {targets_length:,} target tokens.",
    ):
        console.print(line, soft_wrap=True)


def row(name: str, inputs_length: int, targets_length: int) -> dict[str, Any]:
    """Returns the JSON output for a preset, at these lengths in tokens."""
    cfg, num_tokens = presets[name], inputs_length + targets_length
    bfloat16 = dataclasses.replace(cfg, dtype="bfloat16")
    one = Lengths(1, inputs_length, targets_length)
    shapes, adafactor_bytes, adamw_bytes = memory(cfg)
    num_parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    parameter_bytes = num_bytes(shapes)
    return {
        "name": name,
        "num_parameters": num_parameters,
        **{size: getattr(cfg, size) for size in SIZES},
        # Parameters, gradients and optimizer state, without activations.
        "train_adafactor_bytes": 2 * parameter_bytes + adafactor_bytes,
        "train_adamw_bytes": 2 * parameter_bytes + adamw_bytes,
        # Parameters, without activations and key/value cache.
        "inference_bfloat16_bytes": 2 * num_parameters,
        "inference_float32_bytes": parameter_bytes,
        "inputs_length": inputs_length,
        "targets_length": targets_length,
        # Matrix products only, without recomputation.
        "forward_flops_per_token": forward_flops(cfg, inputs_length, targets_length) / num_tokens,
        "train_flops_per_token": train_flops(cfg, inputs_length, targets_length) / num_tokens,
        # bfloat16 activations for the backward pass of one sequence, by train.remat.
        **{
            f"activations_{remat}_bytes": activation_bytes(dataclasses.replace(bfloat16, remat=remat), one, UNSHARDED)
            for remat in REMAT_NAMES
        },
        # The float32 logits of one sequence and their bfloat16 gradient.
        "logits_bytes": logit_bytes(bfloat16, one, UNSHARDED),
    }


@functools.cache
def memory(cfg: ModelConfig) -> tuple[Any, int, int]:
    """Returns the parameter shapes and the bytes of the Adafactor and AdamW states."""
    shapes, axes = parameter_shapes(cfg)

    def state_bytes(optimizer: OptimizerConfig) -> int:
        return num_bytes(jax.eval_shape(make_optimizer(optimizer, NUM_STEPS, axes).init, shapes))

    return shapes, state_bytes(OptimizerConfig(name="adafactor")), state_bytes(OptimizerConfig(name="adamw"))


def parameter_shapes(cfg: ModelConfig) -> tuple[Any, Any]:
    """Returns the parameter shapes of a T5 and their axis names.

    Tracing a model takes 0.25 s, so presets that differ only in sizes share one trace.
    """
    traced, axes = _traced(len(cfg.mlp_activations), cfg.tie_embeddings, cfg.relative_bias_per_layer)
    sizes = {size: getattr(cfg, field) for field, size in TRACED_SIZES.items()}
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(tuple(sizes[dim] for dim in leaf.shape), leaf.dtype), traced
    ), axes


@functools.cache
def _traced(num_activations: int, tie_embeddings: bool, relative_bias_per_layer: bool) -> tuple[Any, Any]:
    cfg = ModelConfig(
        **TRACED_SIZES,
        mlp_activations=("linear",) * num_activations,
        tie_embeddings=tie_embeddings,
        relative_bias_per_layer=relative_bias_per_layer,
    )
    shapes = abstract(cfg)
    return shapes, parameter_axes(shapes)


def num_bytes(shapes: Any) -> int:
    """Returns the total size of a tree of shapes in bytes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Returns the rows as a table."""
    result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        result.add_column(column, justify="left" if column == "preset" else "right", no_wrap=True)
    for fields in rows:
        scaled = {name.replace("_bytes", "_gib"): value / GIB for name, value in fields.items() if "bytes" in name}
        scaled |= {name.replace("_bytes", "_mib"): value / MIB for name, value in fields.items() if "bytes" in name}
        scaled |= {name.replace("_flops", "_gflops"): value / 1e9 for name, value in fields.items() if "flops" in name}
        result.add_row(*(text.format(**fields, **scaled) for text in COLUMNS.values()))
    return result
