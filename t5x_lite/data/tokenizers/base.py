# SPDX-License-Identifier: Apache-2.0
"""What every tokenizer is: T5's fixed ids, sentinels that descend from the top, and a form to be kept in."""

import abc
import json
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from t5x_lite.files.atomic_write import write_atomically

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
VOCAB_MULTIPLE = 128  # embedding rows, so that they shard evenly; T5's own 32100 ids have 32128 rows
KIND_FILE = "vocabulary.json"
SENTINEL_PATTERN = re.compile(r"\u2581?<extra_id_(\d+)>")  # with SentencePiece's mark of a space, or without
USUAL_NAMES = ("spiece.model", "tokenizer.model", "tokenizer.json")  # in the directory of a model


class Tokenizer(abc.ABC):
    """What the rest of t5x_lite asks of a vocabulary.

    Attributes:
      kind: what `task.tokenizer.kind` calls it.
      vocab_size: ids, sentinels included.
      num_sentinels: how many <extra_id_N> there are.
    """

    kind: ClassVar[str]
    pad_id, eos_id, unk_id = PAD_ID, EOS_ID, UNK_ID
    vocab_size: int
    num_sentinels: int

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding: `vocab_size` rounded up to a multiple of 128."""
        return -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE

    def sentinel_id(self, n: int) -> int:
        """The id of <extra_id_n>."""
        if not 0 <= n < self.num_sentinels:
            raise ValueError(f"there is no <extra_id_{n}>: task.tokenizer.num_sentinels is {self.num_sentinels}")
        return self.vocab_size - 1 - n

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of a text, without EOS; <extra_id_N> in it becomes that sentinel's one id."""

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`encode` for many texts, as int32 arrays."""
        return [np.asarray(self.encode(text), np.int32) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Text up to the first EOS; padding and ids outside the vocabulary are nothing, sentinels <extra_id_N>."""
        known = []
        for i in map(int, ids):
            if i == EOS_ID:
                break
            if PAD_ID < i < self.vocab_size:
                known.append(i)
        return self._decode_known(known)

    def decode_batch(self, batch: Iterable[Iterable[int]]) -> list[str]:
        """`decode` for many rows of ids."""
        return [self.decode(ids) for ids in batch]

    @abc.abstractmethod
    def _decode_known(self, ids: list[int]) -> str:
        """Text of ids that are all in the vocabulary, none of them pad or EOS."""

    @abc.abstractmethod
    def surfaces(self) -> list[str]:
        """What each id stands for in a text, with its spaces; nothing for pad and EOS."""

    @abc.abstractmethod
    def save(self, directory: pathlib.Path) -> None:
        """Writes what `load_tokenizer` needs into an existing directory, each file at once or not at all."""

    def _save_kind(self, directory: pathlib.Path) -> None:
        description = {"kind": self.kind, "num_sentinels": self.num_sentinels}
        write_atomically(directory / KIND_FILE, json.dumps(description) + "\n")


def read_vocabulary(path: str | os.PathLike[str]) -> bytes:
    """Returns what a vocabulary file holds.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is a directory.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        inside = next((path / name for name in USUAL_NAMES if (path / name).is_file()), None)
        hint = f"; use {inside}" if inside else "; name the .model or tokenizer.json file in it"
        raise ValueError(f"task.tokenizer.path {path} is a directory{hint}")
    if not path.is_file():
        raise FileNotFoundError(
            f"task.tokenizer.path {path} does not exist: name a SentencePiece .model file or a Hugging Face "
            "tokenizer.json, or leave the field out to train a vocabulary on the task's text"
        )
    return path.read_bytes()


def check_special_ids(found: tuple[int, int, int], name: str, remedy: str) -> None:
    """Refuses a vocabulary of another family (Llama, ALBERT), with which a T5 would train on the wrong ids.

    Args:
      found: ids of pad, EOS and unknown in it, -1 for one it does not have.
      name: what errors call it.
      remedy: what the user can do.

    Raises:
      ValueError: if they are not T5's.
    """
    if found != (PAD_ID, EOS_ID, UNK_ID):
        raise ValueError(
            f"{name} has pad, EOS and unknown ids {found[0]}, {found[1]} and {found[2]} (-1: none), and t5x_lite needs "
            f"T5's 0, 1 and 2: {remedy}"
        )


def count_sentinels(places: dict[int, int], num_ids: int, name: str) -> int:
    """Returns how many sentinels a vocabulary already ends in, as mT5's does; 0 if it has none.

    Args:
      places: the id of each <extra_id_N> it has, by N.
      num_ids: how many ids it has in all.
      name: what errors call it.

    Raises:
      ValueError: if they do not descend from the last id.
    """
    if any(i != num_ids - 1 - n for n, i in places.items()) or sorted(places) != list(range(len(places))):
        raise ValueError(
            f"{name} has <extra_id_N> pieces elsewhere than at its end in descending order: t5x_lite needs "
            "<extra_id_0> as the last piece, <extra_id_1> before it and so on; remove them and they are appended"
        )
    return len(places)
