# SPDX-License-Identifier: Apache-2.0
"""Shapes of batches and of the embedding, computed from a config without reading any text."""

import pathlib
import sys

import numpy as np

from t5x_lite.config import RunConfig, TokenizerConfig
from t5x_lite.data.converters import make_converter
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.data.tokenizers import Tokenizer, build_tokenizer
from t5x_lite.data.tokenizers.base import VOCAB_MULTIPLE
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer


def vocab_rows(cfg: TokenizerConfig) -> int:
    """Returns the number of embedding rows; an upper bound if the tokenizer has not been trained yet."""
    has_file = cfg.path is not None and pathlib.Path(cfg.path).is_file()
    if has_file or not (cfg.path or cfg.kind == "sentencepiece"):
        return build_tokenizer(cfg, ()).padded_vocab_size
    if cfg.path is not None:
        print(
            f"task.tokenizer.path {cfg.path} does not exist: assuming task.tokenizer.vocab_size, {cfg.vocab_size}",
            file=sys.stderr,
        )
    return -(-cfg.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def feature_shapes(cfg: RunConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each int32 feature, without the batch dimension, for a config with resolved tasks.

    Raises:
      ValueError: if neither `train.targets_length` nor an objective determines the length of the targets.
    """
    # Shapes do not depend on the vocabulary.
    tokenizer, architecture = ByteAndSentinelTokenizer(cfg.task.tokenizer.num_sentinels), cfg.model.architecture
    convert = make_converter(architecture, tasks_of(cfg.task), tokenizer, packing=cfg.data.packing)
    if cfg.model.traits.labels_per:
        num_labels = 1 if cfg.model.traits.labels_per == "sequence" else cfg.train.inputs_length
        shapes = dict.fromkeys(("target_labels", "label_weights"), (num_labels,))
        return {"encoder_input_tokens": (cfg.train.inputs_length,)} | shapes
    return {name: values.shape[1:] for name, values in convert(_row(cfg, tokenizer)).items()}


def _row(cfg: RunConfig, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """Returns a dummy row with the features of the first task."""
    task, train = next(iter(tasks_of(cfg.task).values())), cfg.train
    if task.inputs is None:
        _, objective = make_objectives(
            task, tokenizer, inputs_length=train.inputs_length, targets_length=train.targets_length, seed=cfg.seed
        )[0]
        tokens_1L = np.full((1, objective.chunk_length), tokenizer.eos_id + 1)
        return objective(tokens_1L, np.zeros(1, np.int64))
    if train.targets_length is None:
        raise ValueError("train.targets_length is null, but a task with task.targets needs it: set it")
    lengths = {"inputs": train.inputs_length, "targets": train.targets_length}
    row = {name: np.ones((1, length), np.int32) for name, length in lengths.items()}
    if cfg.data.packing == "none":
        return row
    segments = {f"{name}_segment_ids": row[name] for name in lengths}
    return row | segments | {f"{name}_positions": np.arange(lengths[name])[None] for name in lengths}
