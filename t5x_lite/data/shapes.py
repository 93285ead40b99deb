# SPDX-License-Identifier: Apache-2.0
"""Shapes of batches and of the embedding, computed from a config without reading any text."""

import pathlib
import sys

import numpy as np

from t5x_lite.config import TokenizerConfig
from t5x_lite.data.dataset import ExampleSpec
from t5x_lite.data.objectives import make_objectives
from t5x_lite.data.tokenizers import Tokenizer, build_tokenizer
from t5x_lite.data.tokenizers.base import T5_IDS, padded_rows
from t5x_lite.data.tokenizers.bytes import ByteAndSentinelTokenizer


def vocab_rows(cfg: TokenizerConfig) -> int:
    """Returns the number of embedding rows; an upper bound if the tokenizer has not been trained yet."""
    if tokenizer := _known_tokenizer(cfg):
        return tokenizer.padded_vocab_size
    if cfg.path is not None:
        print(
            f"task.tokenizer.path {cfg.path} does not exist: assuming task.tokenizer.vocab_size, {cfg.vocab_size}",
            file=sys.stderr,
        )
    return padded_rows(cfg.vocab_size + len(cfg.added_tokens or ()))


def padding_and_eos(cfg: TokenizerConfig) -> tuple[int, int]:
    """Returns the ids of padding and EOS; T5's if the tokenizer has not been trained yet."""
    tokenizer = _known_tokenizer(cfg)
    return T5_IDS[:2] if tokenizer is None else tokenizer.special_ids[:2]


def _known_tokenizer(cfg: TokenizerConfig) -> Tokenizer | None:
    """Returns the tokenizer unless it has yet to be trained or its file is missing."""
    has_file = cfg.path is not None and pathlib.Path(cfg.path).exists()
    return build_tokenizer(cfg, ()) if has_file or not (cfg.path or cfg.kind == "sentencepiece") else None


def feature_shapes(spec: ExampleSpec) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each int32 feature, without the batch dimension.

    Raises:
      ValueError: if neither `train.targets_length` nor an objective determines the length of the targets.
    """
    # Shapes do not depend on the vocabulary.
    tokenizer = ByteAndSentinelTokenizer(spec.tasks.tokenizer.num_sentinels)
    convert, labels_per = spec.converter(tokenizer), spec.architecture.traits.labels_per
    if labels_per:
        num_labels = 1 if labels_per == "sequence" else spec.inputs_length
        shapes = dict.fromkeys(("target_labels", "label_weights"), (num_labels,))
        return {"encoder_input_tokens": (spec.inputs_length,)} | shapes
    return {name: values.shape[1:] for name, values in convert(_row(spec, tokenizer)).items()}


def _row(spec: ExampleSpec, tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """Returns a dummy row with the features of the first task."""
    task = next(iter(spec.tasks.each.values()))
    if task.inputs is None:
        _, objective = make_objectives(
            task, tokenizer, inputs_length=spec.inputs_length, targets_length=spec.targets_length, seed=spec.seed
        )[0]
        tokens_1L = np.full((1, objective.chunk_length), tokenizer.eos_id + 1)
        return objective(tokens_1L, np.zeros(1, np.int64))
    if spec.targets_length is None:
        raise ValueError("train.targets_length is null, but a task with task.targets needs it: set it")
    lengths = {"inputs": spec.inputs_length, "targets": spec.targets_length}
    row = {name: np.ones((1, length), np.int32) for name, length in lengths.items()}
    if spec.packing == "none":
        return row
    segments = {f"{name}_segment_ids": row[name] for name in lengths}
    return row | segments | {f"{name}_positions": np.arange(lengths[name])[None] for name in lengths}
