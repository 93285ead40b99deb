# SPDX-License-Identifier: Apache-2.0
"""Feature converters of decoder-only models, which read the inputs and the targets of an example as one sequence.

Shape letters: B rows per batch, S input tokens, T target tokens, X = S + T.

Source: SeqIO `PrefixLMFeatureConverter` and `LMFeatureConverter` in `feature_converters.py`.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np

from t5x_lite.config import TaskConfig
from t5x_lite.config.architectures import Architecture
from t5x_lite.data.converters import Batch, decoder_only, joins, mismatch
from t5x_lite.data.tokenizers import Tokenizer


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
    rows: Mapping[str, np.ndarray],
    *,
    eos_id: int | None,
    sees_prefix: bool,
    row_length: int | None = None,
    bos_id: int = 0,
    pad_id: int = 0,
) -> Batch:
    """Returns the features of a decoder that continues the inputs, with bidirectional attention if `sees_prefix`.

    Args:
      rows: as for `encoder_decoder`.
      eos_id: as for `join`.
      sees_prefix: whether attention to the inputs is bidirectional.
      row_length: the length of the features, S + T by default, which rows packed by `joined` exceed.
      bos_id: the decoder's first input in each example.
      pad_id: the id of padding.
    """
    joined = join(rows, eos_id=eos_id, pad_id=pad_id)
    features = prefix_lm(
        {name: ids_BX[:, :row_length] for name, ids_BX in joined.items()}, bos_id=bos_id, pad_id=pad_id
    )
    if not sees_prefix:
        del features["decoder_causal_attention"]
    return features


def join(rows: Mapping[str, np.ndarray], *, eos_id: int | None = None, pad_id: int = 0) -> Batch:
    """Concatenates the inputs of each example with its targets, for `prefix_lm`.

    Args:
      rows: as for `encoder_decoder`.
      eos_id: the id to leave out at the end of the inputs; None keeps them whole, as SeqIO does.
      pad_id: the id of padding.

    Returns:
      `targets` and `inputs_width` [B, S + T], int32; `loss_weights`, 0 on the inputs, if `rows` has any; for packed
      rows also `targets_segment_ids` and `targets_positions`.
    """
    inputs_BS, targets_BT = rows["inputs"], rows["targets"]
    segments_BS = rows.get("inputs_segment_ids", (inputs_BS != pad_id).astype(np.int32))
    segments_BT = rows.get("targets_segment_ids", (targets_BT != pad_id).astype(np.int32))
    if eos_id is not None:
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


def decoder_converter(
    architecture: Architecture, tasks: Mapping[str, TaskConfig], tokenizer: Tokenizer
) -> Callable[..., Batch]:
    """Returns `decoder_only` if all tasks are causal language modelling, otherwise `continuation`."""
    sees_prefix = architecture.traits.sees_prefix
    unsuitable = ("masked_lm", "causal_lm") if sees_prefix else ("masked_lm",)
    for task in tasks.values():
        if task.inputs is None and task.objective in unsuitable:
            raise mismatch(architecture, "task.objective", task.objective, f"use {architecture.name}")
    if not joins(tasks):
        return decoder_only
    eos_id = None if architecture.keeps_eos else tokenizer.eos_id
    return functools.partial(continuation, eos_id=eos_id, sees_prefix=sees_prefix)
