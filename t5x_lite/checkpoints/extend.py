# SPDX-License-Identifier: Apache-2.0
"""Adds tokens to a model's vocabulary: new rows in its embedding and, unless that is tied, in the kernel of its logits.

Shape letters: V vocabulary, D embedding.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from t5x_lite.checkpoints.arrays import PART_SIZE, Index, parts_of, whole
from t5x_lite.checkpoints.weights import LazyModel, param_shapes
from t5x_lite.data.tokenizers import Tokenizer
from t5x_lite.data.tokenizers.added import AddedToken
from t5x_lite.data.tokenizers.base import SENTINEL

AXES = {"embedding": 0, "logits_kernel": 1}  # the dimension of the vocabulary, by the last part of a parameter's name


def extend_vocabulary(
    model: LazyModel, tokenizer: Tokenizer, texts: Sequence[str], rows: Literal["mean", "zero"] = "mean"
) -> LazyModel:
    """Returns a model with new tokens, whose ids follow those of its tokenizer; it has no optimizer state.

    A table only grows, to a multiple of 128 rows, if its padding has too few rows for the new tokens.

    Args:
      model: the model.
      tokenizer: its tokenizer.
      texts: the texts of the new tokens.
      rows: the values of new rows: the mean of the rows of all other tokens, or zero.

    Raises:
      ValueError: if a text is empty, given twice or already a token.
    """
    special = tokenizer.special_names()
    for text in texts:
        if tokenizer.token_id(text) is not None or text in special or re.fullmatch(SENTINEL, text):
            raise ValueError(
                f"model.added_tokens has {text!r}, which is already a token of the vocabulary: leave it out"
            )
    try:
        grown = tokenizer.extended([AddedToken(text=text) for text in texts])
    except ValueError as error:
        raise ValueError(f"model.added_tokens is {list(texts)}: {error}") from error
    new, old_V = range(tokenizer.next_id, grown.vocab_size), model.config.vocab_size
    V = old_V if grown.vocab_size <= old_V else grown.padded_vocab_size
    mean = functools.cache(functools.partial(_mean, model, tokenizer.vocab_size))

    def read(name: str, index: Index) -> np.ndarray:
        axis = AXES.get(name.rpartition("/")[2])
        if axis is None:
            return model.read(name, index)
        begin, end = index[axis].start, index[axis].stop
        out = np.zeros([part.stop - part.start for part in index], np.float32)
        if rows == "mean":
            value_D = mean(name)[index[1 - axis]]
            out[...] = np.expand_dims(value_D, axis)
        for first, last in ((0, new.start), (new.stop, old_V)):
            kept = slice(max(begin, first), min(end, last, old_V))
            if kept.start < kept.stop:
                places, source = [slice(None), slice(None)], list(index)
                places[axis], source[axis] = slice(kept.start - begin, kept.stop - begin), kept
                out[tuple(places)] = model.read(name, tuple(source))
        return out

    config = dataclasses.replace(model.config, vocab_size=V)
    return dataclasses.replace(model, config=config, tokenizer=grown, read=read, read_slots=None, restore=None)


def _mean(model: LazyModel, num_ids: int, name: str) -> np.ndarray:
    """Returns the mean over the ids of a tokenizer, [D]."""
    axis, shape = AXES[name.rpartition("/")[2]], param_shapes(model.config, model.architecture)[name]
    total_D, index = np.zeros(shape[1 - axis]), list(whole(shape))
    for part in parts_of((num_ids, shape[1 - axis]), PART_SIZE):
        index[axis] = part
        total_D += model.read(name, tuple(index)).sum(axis, dtype=np.float64)
    return (total_D / num_ids).astype(np.float32)
