# SPDX-License-Identifier: Apache-2.0
"""What a run's batches and its vocabulary look like, known from its config: its text is not read."""

import pathlib
import sys

import numpy as np

from t5x_lite.config import RunConfig, TokenizerConfig
from t5x_lite.data.converters import LABELS, make_converter
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.task_specs import tasks_of
from t5x_lite.data.tokenizers import ByteAndSentinelTokenizer, Tokenizer, build_tokenizer
from t5x_lite.data.tokenizers.base import VOCAB_MULTIPLE


def vocab_rows(cfg: TokenizerConfig) -> int:
    """Returns the rows of the embedding: of a tokenizer that has yet to be trained, as many as it may have."""
    has_file = cfg.path is not None and pathlib.Path(cfg.path).is_file()
    if has_file or not (cfg.path or cfg.kind == "sentencepiece"):
        return build_tokenizer(cfg, ()).padded_vocab_size
    if cfg.path is not None:
        print(
            f"task.tokenizer.path {cfg.path} is not here: its size is taken to be task.tokenizer.vocab_size, "
            f"{cfg.vocab_size}",
            file=sys.stderr,
        )
    return -(-cfg.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def feature_shapes(cfg: RunConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each feature of one row of a batch, by its name; all are int32.

    Args:
      cfg: the run, its task resolved.

    Raises:
      ValueError: if `train` does not say how long targets are, and no objective does.
    """
    # An example's shape does not depend on the vocabulary.
    tokenizer = ByteAndSentinelTokenizer(cfg.task.tokenizer.num_sentinels)
    convert = make_converter(cfg, tokenizer)
    if cfg.model.architecture in LABELS:
        num_labels = 1 if cfg.model.architecture == "sequence_classifier" else cfg.train.inputs_length
        shapes = dict.fromkeys(("target_labels", "label_weights"), (num_labels,))
        return {"encoder_input_tokens": (cfg.train.inputs_length,)} | shapes
    features = convert(_row(cfg, tokenizer))
    return {name: values.shape[1:] for name, values in features.items()}


def _row(cfg: RunConfig, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """A row of a task's features."""
    task = next(iter(tasks_of(cfg.task).values()))
    if task.inputs is None:
        _, objective = make_objectives(cfg, tokenizer)[0]
        tokens_1L = np.full((1, objective.chunk_length), tokenizer.eos_id + 1)
        return objective(tokens_1L, np.zeros(1, np.int64))
    if cfg.train.targets_length is None:
        raise ValueError("train.targets_length is null, which a task with task.targets cannot do with: set it")
    lengths = {"inputs": cfg.train.inputs_length, "targets": cfg.train.targets_length}
    row = {name: np.ones((1, length), np.int32) for name, length in lengths.items()}
    if cfg.data.packing == "none":
        return row
    segments = {f"{name}_segment_ids": row[name] for name in lengths}
    return row | segments | {f"{name}_positions": np.arange(lengths[name])[None] for name in lengths}
