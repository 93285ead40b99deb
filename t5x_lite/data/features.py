# SPDX-License-Identifier: Apache-2.0
"""Which features the model of a run reads: its feature converter, and whether its tasks suit it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from t5x_lite.config import RunConfig, TaskConfig
from t5x_lite.data.converters import Batch, decoder_only, encoder_decoder, encoder_only, join, prefix_lm
from t5x_lite.data.labels import SequenceLabels, TokenLabels
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.data.tokenizers import Tokenizer

Converter = Callable[[Mapping[str, np.ndarray]], Batch]  # sent to worker processes by pickling

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
