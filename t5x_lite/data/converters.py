# SPDX-License-Identifier: Apache-2.0
"""From a task's features to a model's, one function an architecture, with SeqIO's names and semantics.

Rows are int32 arrays padded with zeros: `inputs` and `targets`, and for packed rows `*_segment_ids`, which count the
examples of a row from 1, and `*_positions`, which count the tokens of each from 0.

Shape letters: B rows of a batch, S input tokens, T target tokens, X = S + T.

Source: SeqIO `feature_converters.py`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from t5x_lite.config import RunConfig, TaskConfig
from t5x_lite.data.labels import SequenceLabels, TokenLabels
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.data.tokenizers import Tokenizer

Batch = dict[str, np.ndarray]
Converter = Callable[[Mapping[str, np.ndarray]], Batch]  # sent to worker processes by pickling
# What is predicted, and how much each prediction counts, of whichever architecture.
TARGETS = {
    "decoder_target_tokens": "decoder_loss_weights",
    "encoder_target_tokens": "encoder_loss_weights",
    "target_labels": "label_weights",
}


def encoder_decoder(rows: Mapping[str, np.ndarray], *, bos_id: int = 0) -> Batch:
    """Returns what an encoder-decoder reads and predicts.

    Args:
      rows: `inputs` [B, S] and `targets` [B, T], packed or not; `loss_weights` [B, T] if not every target counts.
      bos_id: what the decoder reads before the first target of each example.

    Returns:
      `encoder_input_tokens` [B, S]; `decoder_input_tokens`, `decoder_target_tokens`, `decoder_loss_weights` [B, T]; of
      packed rows also `encoder_segment_ids`, `encoder_positions`, `decoder_segment_ids`, `decoder_positions`.
    """
    features = {"encoder_input_tokens": rows["inputs"]}
    return features | _packing(rows, "inputs", "encoder") | decoder_only(rows, bos_id=bos_id)


def decoder_only(rows: Mapping[str, np.ndarray], *, bos_id: int = 0) -> Batch:
    """Returns what a causal language model reads and predicts: the decoder's features of `encoder_decoder`."""
    targets_BT = rows["targets"]
    weights_BT = rows.get("loss_weights", targets_BT > 0).astype(np.int32)
    return {
        "decoder_input_tokens": autoregressive_inputs(targets_BT, rows.get("targets_segment_ids"), bos_id=bos_id),
        "decoder_target_tokens": targets_BT,
        "decoder_loss_weights": weights_BT,
    } | _packing(rows, "targets", "decoder")


def prefix_lm(rows: Mapping[str, np.ndarray], *, bos_id: int = 0, loss_on_targets_only: bool = True) -> Batch:
    """Returns what a prefix language model reads and predicts: it sees all of the inputs at once, then one more token.

    Args:
      rows: `targets` [B, T], each example's inputs and then its targets, and `inputs_width` [B, T], the number of its
        inputs at each token of an example; `join` makes them.
      bos_id: what the decoder reads before the first token of each example.
      loss_on_targets_only: whether the inputs are given and not predicted.

    Returns:
      The features of `decoder_only`, and `decoder_causal_attention` [B, T], 1 where the decoder's input belongs to the
      prefix that every token of the example sees.
    """
    features = decoder_only({name: ids for name, ids in rows.items() if name != "inputs_width"}, bos_id=bos_id)
    width_BT, positions_BT = rows["inputs_width"], rows.get("targets_positions")
    if positions_BT is None:
        positions_BT = np.broadcast_to(np.arange(width_BT.shape[1]), width_BT.shape)
        width_BT = width_BT.max(axis=1, keepdims=True)  # padding belongs to the row's one example
        is_example_BT = np.ones_like(positions_BT)
    else:
        is_example_BT = rows["targets_segment_ids"] > 0
    # The decoder's inputs are shifted by one: the prefix has one place more than the inputs.
    features["decoder_causal_attention"] = ((positions_BT < width_BT + 1) & (is_example_BT > 0)).astype(np.int32)
    if loss_on_targets_only:
        features["decoder_loss_weights"] = features["decoder_loss_weights"] * (positions_BT >= width_BT)
    return features


def join(rows: Mapping[str, np.ndarray], *, eos_id: int = 1) -> Batch:
    """Returns rows for `prefix_lm`: each example's inputs, without the EOS that ends them, and then its targets.

    Args:
      rows: `inputs` [B, S] and `targets` [B, T], packed or not; `loss_weights` [B, T] if not every target counts.
      eos_id: left out where it is the last of an example's inputs.

    Returns:
      `targets` and `inputs_width` [B, S + T], int32; `loss_weights`, 0 on the inputs, if there were any; of packed rows
      also `targets_segment_ids` and `targets_positions`.
    """
    inputs_BS, targets_BT = rows["inputs"], rows["targets"]
    segments_BS = rows.get("inputs_segment_ids", (inputs_BS > 0).astype(np.int32))
    segments_BT = rows.get("targets_segment_ids", (targets_BT > 0).astype(np.int32))
    is_last_BS = np.diff(segments_BS, axis=1, append=0) != 0
    segments_BS = np.where(is_last_BS & (inputs_BS == eos_id), 0, segments_BS)

    segments_BX = np.concatenate([segments_BS, segments_BT], axis=1)
    is_input_BX = (np.arange(segments_BX.shape[1]) < inputs_BS.shape[1])[None] & (segments_BX > 0)
    none = 2 * segments_BX.max(initial=0) + 2  # comes after all examples
    order_BX = np.argsort(np.where(segments_BX > 0, 2 * segments_BX + ~is_input_BX, none), axis=1, kind="stable")

    def sort(values_BX: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values_BX, order_BX, axis=1)

    ids_BX = sort(np.concatenate([inputs_BS, targets_BT], axis=1) * (segments_BX > 0))
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
    """Returns what an encoder reads and predicts, place for place.

    Args:
      rows: `inputs` and `targets`, both [B, S]; `loss_weights` [B, S] says which places are predicted.
      mask_id: stands where a token is to be predicted; says so if there are no `loss_weights`.

    Returns:
      `encoder_input_tokens`, `encoder_target_tokens`, `encoder_loss_weights` [B, S]; of packed rows also
      `encoder_segment_ids` and `encoder_positions`.
    """
    weights_BS = rows.get("loss_weights", rows["inputs"] == mask_id).astype(np.int32)
    return {
        "encoder_input_tokens": rows["inputs"],
        "encoder_target_tokens": rows["targets"],
        "encoder_loss_weights": weights_BS,
    } | _packing(rows, "inputs", "encoder")


def targets_of(batch: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns (what is predicted, the weights) of a batch of any architecture."""
    name = next(name for name in TARGETS if name in batch)
    return batch[name], batch[TARGETS[name]]


def autoregressive_inputs(
    targets_BT: np.ndarray, segment_ids_BT: np.ndarray | None = None, *, bos_id: int = 0
) -> np.ndarray:
    """Returns the targets shifted right by one, `bos_id` before each example's first."""
    shifted_BT = np.empty_like(targets_BT)
    shifted_BT[:, :1], shifted_BT[:, 1:] = bos_id, targets_BT[:, :-1]
    if segment_ids_BT is not None:
        shifted_BT[:, 1:][segment_ids_BT[:, 1:] != segment_ids_BT[:, :-1]] = bos_id
    return shifted_BT


def _packing(rows: Mapping[str, np.ndarray], feature: str, stack: str) -> Batch:
    names = {f"{feature}_segment_ids": f"{stack}_segment_ids", f"{feature}_positions": f"{stack}_positions"}
    return {new: rows[name] for name, new in names.items() if name in rows}


LABELS = {"sequence_classifier": SequenceLabels, "token_classifier": TokenLabels}


def make_converter(cfg: RunConfig, tokenizer: Tokenizer) -> Converter:
    """Returns what makes the features of `model.architecture` from rows of a run's tasks.

    Args:
      cfg: the run, its task resolved.
      tokenizer: of its text.

    Raises:
      ValueError: if a task asks for what this architecture does not predict.
    """
    tasks, name = tasks_of(cfg.task), cfg.model.architecture
    for task in tasks.values():
        _check(name, task)
    if name in LABELS:
        if cfg.data.packing != "none":
            raise _mismatch(name, "data.packing", cfg.data.packing, "leave it out")
        return LABELS[name](labels_of(cfg.task), tokenizer)
    if name == "masked_lm":
        return functools.partial(encoder_only, mask_id=tokenizer.sentinel_id(0))
    if name == "encoder_decoder":
        return encoder_decoder
    if all(task.inputs is None and task.objective == "causal_lm" for task in tasks.values()):
        return decoder_only
    return functools.partial(continuation, eos_id=tokenizer.eos_id, sees_prefix=name == "prefix_lm")


def continuation(rows: Mapping[str, np.ndarray], *, eos_id: int, sees_prefix: bool) -> Batch:
    """Returns the features of a decoder that goes on with the inputs, which are given and not predicted.

    Args:
      rows: of a task.
      eos_id: left out between inputs and targets.
      sees_prefix: whether the inputs are read both ways.
    """
    features = prefix_lm(join(rows, eos_id=eos_id))
    if not sees_prefix:
        del features["decoder_causal_attention"]
    return features


def labels_of(task: TaskConfig) -> tuple[str, ...]:
    """Returns what the targets of a task, or of all tasks of a mixture, may be; a label's place is its number.

    Raises:
      ValueError: if the task does not say, or those of a mixture say different things.
    """
    found = {
        name: single.labels or tuple(dict.fromkeys((single.choices or {}).values()))
        for name, single in tasks_of(task).items()
    }
    for name, labels in found.items():
        if len(labels) < 2:
            where = f" of {name}" if name else ""
            raise ValueError(
                f"task.labels{where} is null, and a classifier has to know what to choose from: list the words that "
                "task.targets can be"
            )
        if labels != next(iter(found.values())):
            raise ValueError(f"task.labels of {name} and of {next(iter(found))} differ: a classifier has one list")
    return next(iter(found.values()))


def class_labels(cfg: RunConfig) -> tuple[str, ...]:
    """Returns the labels that a classifier chooses from; none for the other architectures."""
    return labels_of(cfg.task) if cfg.model.architecture in LABELS else ()


def _check(name: str, task: TaskConfig) -> None:
    """Raises ValueError unless an architecture predicts what a task asks for."""
    if name in LABELS:
        if task.inputs is None and task.prepared is None:
            raise _mismatch(name, "task.inputs", None, "give task.inputs, task.targets and task.labels")
    elif name == "masked_lm":
        if task.inputs is not None:
            raise _mismatch(name, "task.inputs", task.inputs, "leave it and task.targets out, to learn from text")
        if task.objective != "masked_lm":
            raise _mismatch(name, "task.objective", task.objective, "use masked_lm")
    elif name in ("causal_lm", "prefix_lm") and task.inputs is None and task.objective == "masked_lm":
        raise _mismatch(name, "task.objective", task.objective, f"use {name}")
    elif name == "prefix_lm" and task.inputs is None and task.objective == "causal_lm":
        raise _mismatch(name, "task.objective", task.objective, "use prefix_lm")


def _mismatch(name: str, field: str, value: Any, remedy: str) -> ValueError:
    return ValueError(f"model.architecture is {name} and {field} is {value!r}, which do not go together: {remedy}")
