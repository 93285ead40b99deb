# SPDX-License-Identifier: Apache-2.0
"""The errors of vocabulary files: those that are none, and those whose ids do not suit T5."""

import pathlib

from t5x_lite.data.tokenizers.base import USUAL_NAMES, SpecialIds


def no_vocabulary(path: pathlib.Path) -> ValueError | FileNotFoundError:
    """Returns the error for a path that is a directory, or that does not exist."""
    if path.is_dir():
        inside = next((path / name for name in USUAL_NAMES if (path / name).is_file()), None)
        hint = f"use {inside}" if inside else "name the .model or tokenizer.json file in it"
        return ValueError(f"task.tokenizer.path {path} is a directory: {hint}")
    return FileNotFoundError(
        f"task.tokenizer.path {path} does not exist: name a SentencePiece .model file or a Hugging Face "
        "tokenizer.json, or leave the field out to train a vocabulary on the task's text"
    )


def wrong_special_ids(ids: SpecialIds, vocab_size: int, name: str, remedy: str) -> ValueError:
    """Returns the error for padding and EOS that are not two ids of a vocabulary."""
    return ValueError(
        f"{name} has the padding id {ids.pad} and the EOS id {ids.eos} (-1: none), but t5x_lite needs two "
        f"different ids below {vocab_size}: {remedy}"
    )


def wrong_sentinels(name: str) -> ValueError:
    """Returns the error for sentinels that do not descend from the last id."""
    return ValueError(
        f"{name} has <extra_id_N> pieces that do not descend from its last id: t5x_lite needs <extra_id_0> as the "
        "last piece, <extra_id_1> before it and so on; remove them, and t5x_lite appends its own"
    )
