# SPDX-License-Identifier: Apache-2.0
"""Feature converters from tasks to models, with SeqIO's names and semantics.

`prefix_lm` has those of decoder-only models, `masked_lm` and `labels` those of encoders.

Rows of tasks are int32 arrays, padded with the tokenizer's padding id: `inputs` and `targets`, and for packed rows
`*_segment_ids`, which number the examples in a row from 1, and `*_positions`, which number the tokens of each example
from 0.

Shape letters: B rows per batch, S input tokens, T target tokens.

Source: SeqIO `feature_converters.py`.
"""

import functools
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.config.architectures import ARCHITECTURES, TRAINABLE, Architecture
from t5x_lite.data.tokenizers import Tokenizer

Batch = dict[str, np.ndarray]
Converter = Callable[[Mapping[str, np.ndarray]], Batch]  # pickled to worker processes
# The possible names of the targets in a batch, and of their loss weights.
TARGETS = {
    "decoder_target_tokens": "decoder_loss_weights",
    "encoder_target_tokens": "encoder_loss_weights",
    "target_labels": "label_weights",
}


def encoder_decoder(rows: Mapping[str, np.ndarray], *, bos_id: int = 0, pad_id: int = 0) -> Batch:
    """Returns the features of an encoder-decoder.

    Args:
      rows: `inputs` [B, S] and `targets` [B, T], packed or not; `loss_weights` [B, T] if some targets do not count.
      bos_id: the decoder's first input in each example.
      pad_id: the id of padding.

    Returns:
      `encoder_input_tokens` [B, S]; `decoder_input_tokens`, `decoder_target_tokens`, `decoder_loss_weights` [B, T]; for
      packed rows also `encoder_segment_ids`, `encoder_positions`, `decoder_segment_ids`, `decoder_positions`.
    """
    features = {"encoder_input_tokens": rows["inputs"]}
    return features | packing_of(rows, "inputs", "encoder") | decoder_only(rows, bos_id=bos_id, pad_id=pad_id)


def decoder_only(rows: Mapping[str, np.ndarray], *, bos_id: int = 0, pad_id: int = 0) -> Batch:
    """Returns the features of a causal language model: the decoder's part of `encoder_decoder`."""
    targets_BT = rows["targets"]
    weights_BT = rows.get("loss_weights", targets_BT != pad_id).astype(np.int32)
    return {
        "decoder_input_tokens": autoregressive_inputs(targets_BT, rows.get("targets_segment_ids"), bos_id=bos_id),
        "decoder_target_tokens": targets_BT,
        "decoder_loss_weights": weights_BT,
    } | packing_of(rows, "targets", "decoder")


def targets_of(batch: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns the targets and their loss weights from a batch of any architecture."""
    name = next(name for name in TARGETS if name in batch)
    return batch[name], batch[TARGETS[name]]


def stack_lengths(shapes: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Returns the encoder's and the decoder's tokens per row, given the shapes of a batch or a row."""
    inputs, targets = (shapes.get(f"{stack}_input_tokens", (0,))[-1] for stack in ("encoder", "decoder"))
    return inputs, targets


def autoregressive_inputs(
    targets_BT: np.ndarray, segment_ids_BT: np.ndarray | None = None, *, bos_id: int = 0
) -> np.ndarray:
    """Returns the targets shifted right by one, with `bos_id` at the start of each example."""
    shifted_BT = np.empty_like(targets_BT)
    shifted_BT[:, :1], shifted_BT[:, 1:] = bos_id, targets_BT[:, :-1]
    if segment_ids_BT is not None:
        shifted_BT[:, 1:][segment_ids_BT[:, 1:] != segment_ids_BT[:, :-1]] = bos_id
    return shifted_BT


def packing_of(rows: Mapping[str, np.ndarray], feature: str, stack: str) -> Batch:
    """Returns the segment ids and positions of a packed feature, renamed for the stack that takes it."""
    kinds = ("segment_ids", "positions")
    return {f"{stack}_{kind}": rows[f"{feature}_{kind}"] for kind in kinds if f"{feature}_{kind}" in rows}


def make_converter(
    architecture: Architecture,
    tasks: Mapping[str, TaskConfig],
    tokenizer: Tokenizer,
    *,
    packing: str = "none",
    start_id: int | None = None,
) -> Converter:
    """Returns an architecture's converter for tasks named as in `TaskSpecs.each`.

    The decoder starts with `start_id`, or with padding if it is None.

    Raises:
      ValueError: if a task or the packing does not suit the architecture.
    """
    traits = architecture.traits
    if traits.converter is None:
        raise ValueError(
            f"model.architecture is {architecture.name}, which predicts nothing: use one of {', '.join(TRAINABLE)}"
        )
    if traits.labels_per and packing != "none":
        raise mismatch(architecture, "data.packing", packing, "leave it out")
    convert = pkgutil.resolve_name(traits.converter)(architecture, tasks, tokenizer)
    if not traits.decodes:
        return convert
    start_id = tokenizer.pad_id if start_id is None else start_id
    return functools.partial(convert, bos_id=start_id, pad_id=tokenizer.pad_id)


def encoder_decoder_converter(
    architecture: Architecture, tasks: Mapping[str, TaskConfig], tokenizer: Tokenizer
) -> Callable[..., Batch]:
    """Returns `encoder_decoder`, which suits every task."""
    del architecture, tasks, tokenizer
    return encoder_decoder


def mismatch(architecture: Architecture, field: str, value: Any, remedy: str) -> ValueError:
    """Returns the error for a field that does not suit an architecture."""
    return ValueError(f"{field} {value!r} does not suit model.architecture {architecture.name}: {remedy}")


def joins(tasks: Mapping[str, TaskConfig]) -> bool:
    """Returns whether a decoder-only model reads inputs before its targets: unless all tasks are causal_lm."""
    return any(task.inputs is not None or task.objective != "causal_lm" for task in tasks.values())


def architecture_for(name: str, tasks: Mapping[str, TaskConfig], *, follows_t5x: bool = True) -> Architecture:
    """Returns the architecture of a model for tasks, with their labels if it is a classifier."""
    traits = ARCHITECTURES[name]
    keeps_eos = follows_t5x and traits.decodes and not traits.has_encoder and joins(tasks)
    labels = ()
    if traits.labels_per:
        from t5x_lite.data.labels import labels_of

        labels = labels_of(tasks)
    return Architecture(name, labels, keeps_eos)
