# SPDX-License-Identifier: Apache-2.0
"""Feature converters from tasks to models, with SeqIO's names and semantics; `labels` has those of classifiers.

Rows of tasks are int32 arrays, padded with the tokenizer's id: `inputs` and `targets`, and for packed rows
`*_segment_ids`, which number the examples in a row from 1, and `*_positions`, which number the tokens of each example
from 0.

Shape letters: B rows per batch, S input tokens, T target tokens, X = S + T.

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
    return features | _packing(rows, "inputs", "encoder") | decoder_only(rows, bos_id=bos_id, pad_id=pad_id)


def decoder_only(rows: Mapping[str, np.ndarray], *, bos_id: int = 0, pad_id: int = 0) -> Batch:
    """Returns the features of a causal language model: the decoder's part of `encoder_decoder`."""
    targets_BT = rows["targets"]
    weights_BT = rows.get("loss_weights", targets_BT != pad_id).astype(np.int32)
    return {
        "decoder_input_tokens": autoregressive_inputs(targets_BT, rows.get("targets_segment_ids"), bos_id=bos_id),
        "decoder_target_tokens": targets_BT,
        "decoder_loss_weights": weights_BT,
    } | _packing(rows, "targets", "decoder")


def prefix_lm(
    rows: Mapping[str, np.ndarray], *, bos_id: int = 0, pad_id: int = 0, loss_on_targets_only: bool = True
) -> Batch:
    """Returns the features of a prefix language model, whose attention to the inputs is bidirectional.

    Args:
      rows: the result of `join`: `targets` [B, T], with the inputs and then the targets of each example, and
        `inputs_width` [B, T], each token's number of inputs in its example.
      bos_id: the decoder's first input in each example.
      pad_id: the id of padding.
      loss_on_targets_only: whether to exclude the inputs from the loss.

    Returns:
      The features of `decoder_only`, and `decoder_causal_attention` [B, T], 1 for decoder inputs in the prefix.
    """
    features = decoder_only(rows, bos_id=bos_id, pad_id=pad_id)
    width_BT, positions_BT = rows["inputs_width"], rows.get("targets_positions")
    if positions_BT is None:
        positions_BT = np.broadcast_to(np.arange(width_BT.shape[1]), width_BT.shape)
        width_BT = width_BT.max(axis=1, keepdims=True)  # the row is one example, including its padding
        is_example_BT = np.ones_like(positions_BT)
    else:
        is_example_BT = rows["targets_segment_ids"] > 0
    # The decoder's inputs are shifted by one, so the prefix is one longer than the inputs.
    features["decoder_causal_attention"] = ((positions_BT < width_BT + 1) & (is_example_BT > 0)).astype(np.int32)
    if loss_on_targets_only:
        features["decoder_loss_weights"] = features["decoder_loss_weights"] * (positions_BT >= width_BT)
    return features


def continuation(
    rows: Mapping[str, np.ndarray], *, eos_id: int, sees_prefix: bool, bos_id: int = 0, pad_id: int = 0
) -> Batch:
    """Returns the features of a decoder that continues the inputs, with bidirectional attention if `sees_prefix`."""
    features = prefix_lm(join(rows, eos_id=eos_id, pad_id=pad_id), bos_id=bos_id, pad_id=pad_id)
    if not sees_prefix:
        del features["decoder_causal_attention"]
    return features


def join(rows: Mapping[str, np.ndarray], *, eos_id: int = 1, pad_id: int = 0) -> Batch:
    """Concatenates the inputs of each example, without their final EOS, with its targets, for `prefix_lm`.

    Args:
      rows: as for `encoder_decoder`.

    Returns:
      `targets` and `inputs_width` [B, S + T], int32; `loss_weights`, 0 on the inputs, if `rows` has any; for packed
      rows also `targets_segment_ids` and `targets_positions`.
    """
    inputs_BS, targets_BT = rows["inputs"], rows["targets"]
    segments_BS = rows.get("inputs_segment_ids", (inputs_BS != pad_id).astype(np.int32))
    segments_BT = rows.get("targets_segment_ids", (targets_BT != pad_id).astype(np.int32))
    is_last_BS = np.diff(segments_BS, axis=1, append=0) != 0
    segments_BS = np.where(is_last_BS & (inputs_BS == eos_id), 0, segments_BS)

    segments_BX = np.concatenate([segments_BS, segments_BT], axis=1)
    is_input_BX = (np.arange(segments_BX.shape[1]) < inputs_BS.shape[1])[None] & (segments_BX > 0)
    padding = 2 * segments_BX.max(initial=0) + 2  # sorts after all examples
    order_BX = np.argsort(np.where(segments_BX > 0, 2 * segments_BX + ~is_input_BX, padding), axis=1, kind="stable")

    def sort(values_BX: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values_BX, order_BX, axis=1)

    ids_BX = sort(np.where(segments_BX > 0, np.concatenate([inputs_BS, targets_BT], axis=1), pad_id))
    segments_BX, is_input_BX = sort(segments_BX), sort(is_input_BX)
    width_BX = np.zeros_like(segments_BX)
    for segment in range(1, segments_BX.max(initial=0) + 1):
        is_here_BX = segments_BX == segment
        width_BX += is_here_BX * (is_here_BX & is_input_BX).sum(axis=1, keepdims=True)
    joined = {"targets": ids_BX, "inputs_width": width_BX}
    if "loss_weights" in rows:
        joined["loss_weights"] = sort(np.concatenate([np.zeros_like(inputs_BS), rows["loss_weights"]], axis=1))
    if "targets_segment_ids" in rows:
        place_X = np.arange(segments_BX.shape[1])
        is_first_BX = np.diff(segments_BX, axis=1, prepend=0) != 0
        start_BX = np.maximum.accumulate(np.where(is_first_BX, place_X, 0), axis=1)
        positions_BX = np.where(segments_BX > 0, place_X - start_BX, 0).astype(np.int32)
        joined |= {"targets_segment_ids": segments_BX, "targets_positions": positions_BX}
    return joined


def encoder_only(rows: Mapping[str, np.ndarray], *, mask_id: int) -> Batch:
    """Returns the features of an encoder that predicts the original of each input token.

    Args:
      rows: `inputs` and `targets`, both [B, S]; optionally `loss_weights` [B, S], 1 where a prediction counts.
      mask_id: the mask token; without `loss_weights`, predictions count where it is the input.

    Returns:
      `encoder_input_tokens`, `encoder_target_tokens`, `encoder_loss_weights` [B, S]; for packed rows also
      `encoder_segment_ids` and `encoder_positions`.
    """
    weights_BS = rows.get("loss_weights", rows["inputs"] == mask_id).astype(np.int32)
    return {
        "encoder_input_tokens": rows["inputs"],
        "encoder_target_tokens": rows["targets"],
        "encoder_loss_weights": weights_BS,
    } | _packing(rows, "inputs", "encoder")


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


def _packing(rows: Mapping[str, np.ndarray], feature: str, stack: str) -> Batch:
    """Returns the segment ids and positions of a packed feature, renamed for the stack that takes it."""
    kinds = ("segment_ids", "positions")
    return {f"{stack}_{kind}": rows[f"{feature}_{kind}"] for kind in kinds if f"{feature}_{kind}" in rows}


def make_converter(
    architecture: str,
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
    traits = ARCHITECTURES[architecture]
    if traits.converter is None:
        raise ValueError(
            f"model.architecture is {architecture}, which predicts nothing: use one of {', '.join(TRAINABLE)}"
        )
    if traits.labels_per and packing != "none":
        raise mismatch(architecture, "data.packing", packing, "leave it out")
    convert = pkgutil.resolve_name(traits.converter)(architecture, tasks, tokenizer)
    if not traits.decodes:
        return convert
    start_id = tokenizer.pad_id if start_id is None else start_id
    return functools.partial(convert, bos_id=start_id, pad_id=tokenizer.pad_id)


def encoder_decoder_converter(
    architecture: str, tasks: Mapping[str, TaskConfig], tokenizer: Tokenizer
) -> Callable[..., Batch]:
    """Returns `encoder_decoder`, which suits every task."""
    del architecture, tasks, tokenizer
    return encoder_decoder


def decoder_converter(architecture: str, tasks: Mapping[str, TaskConfig], tokenizer: Tokenizer) -> Callable[..., Batch]:
    """Returns `decoder_only` if all tasks are causal language modelling, otherwise `continuation`."""
    sees_prefix = ARCHITECTURES[architecture].sees_prefix
    unsuitable = ("masked_lm", "causal_lm") if sees_prefix else ("masked_lm",)
    for task in tasks.values():
        if task.inputs is None and task.objective in unsuitable:
            raise mismatch(architecture, "task.objective", task.objective, f"use {architecture}")
    if all(task.inputs is None and task.objective == "causal_lm" for task in tasks.values()):
        return decoder_only
    return functools.partial(continuation, eos_id=tokenizer.eos_id, sees_prefix=sees_prefix)


def masked_lm_converter(architecture: str, tasks: Mapping[str, TaskConfig], tokenizer: Tokenizer) -> Converter:
    """Returns `encoder_only` with the tokenizer's mask token."""
    for task in tasks.values():
        if task.inputs is not None:
            remedy = "leave it and task.targets out to train on plain text"
            raise mismatch(architecture, "task.inputs", task.inputs, remedy)
        if task.objective != "masked_lm":
            raise mismatch(architecture, "task.objective", task.objective, "use masked_lm")
    return functools.partial(encoder_only, mask_id=tokenizer.sentinel_id(0))


def mismatch(architecture: str, field: str, value: Any, remedy: str) -> ValueError:
    """Returns the error for a field that does not suit an architecture."""
    return ValueError(f"{field} {value!r} does not suit model.architecture {architecture}: {remedy}")


def labels_of(tasks: Mapping[str, TaskConfig]) -> tuple[str, ...]:
    """Returns the tasks' labels in the order of their class indices; raises ValueError if missing or different."""
    labels = {name: task.labels or tuple(dict.fromkeys((task.choices or {}).values())) for name, task in tasks.items()}
    (first, expected), *_ = labels.items()
    for name, names in labels.items():
        if len(names) < 2:
            where = f" of {name}" if name else ""
            raise ValueError(
                f"task.labels{where} is null, but a classifier needs labels to choose from: list the words that "
                "task.targets can be"
            )
        if names != expected:
            raise ValueError(f"task.labels of {name} and of {first} differ: a classifier has one list")
    return expected


def architecture_for(name: str, tasks: Mapping[str, TaskConfig]) -> Architecture:
    """Returns an architecture, with the tasks' labels if it is a classifier."""
    return Architecture(name, labels_of(tasks) if ARCHITECTURES[name].labels_per else ())
