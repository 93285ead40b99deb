# SPDX-License-Identifier: Apache-2.0
"""The tokenizer interface: special ids, T5's by default, descending sentinels, and added tokens above them."""

import abc
import functools
import itertools
import json
import os
import pathlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from t5x_lite.config.texts import as_texts
from t5x_lite.files.atomic_write import write_atomically
from t5x_lite.files.reading import read_bytes, reading

if TYPE_CHECKING:
    from t5x_lite.data.tokenizers.added import AddedToken


class SpecialIds(NamedTuple):
    """The ids of padding, EOS and unknown text; -1 if a vocabulary has none."""

    pad: int
    eos: int
    unk: int


T5_IDS = SpecialIds(0, 1, 2)
VOCAB_MULTIPLE = 128  # pads the embedding so that it shards evenly; T5's 32,100 ids take 32,128 rows
UNKNOWN = " \u2047 "  # SentencePiece's text for the unknown token
KIND_FILE = "vocabulary.json"
SENTINEL = "<extra_id_(0|[1-9][0-9]{0,8})>"
SENTINEL_PATTERN = re.compile(f"\u2581?{SENTINEL}")  # with or without SentencePiece's space marker
MAX_SENTINELS = 2**16
USUAL_NAMES = ("spiece.model", "tokenizer.model", "tokenizer.json")  # vocabulary files in model directories


def padded_rows(vocab_size: int) -> int:
    """Returns the number of embedding rows of a vocabulary."""
    return -(-vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


class Tokenizer(abc.ABC):
    """Maps text to ids and back."""

    kind: ClassVar[str]  # the value of `task.tokenizer.kind`
    pad_id, eos_id, unk_id = T5_IDS  # unk_id is -1 if every text has ids
    vocab_size: int  # number of ids, including sentinels and added tokens
    num_sentinels: int  # number of <extra_id_N> tokens
    num_above: int = 0  # number of ids above the sentinels
    added_tokens: "tuple[AddedToken, ...]" = ()  # with ids; those that the vocabulary's file does not have

    @classmethod
    @abc.abstractmethod
    def load(
        cls,
        directory: pathlib.Path,
        num_sentinels: int,
        special_ids: SpecialIds | None = None,
        added_tokens: "Sequence[AddedToken]" = (),
    ) -> Self:
        """Loads a tokenizer from a directory written by `save`; `special_ids` are None if they are T5's."""

    def save(self, directory: pathlib.Path) -> None:
        """Saves the tokenizer to an existing directory, writing each file atomically."""
        description: dict[str, Any] = {"kind": self.kind, "num_sentinels": self.num_sentinels}
        if self.special_ids != T5_IDS:
            description["special_ids"] = self.special_ids._asdict()
        if self.added_tokens:
            from t5x_lite.data.tokenizers.numbering import as_json

            description["added_tokens"] = as_json(self.added_tokens)
        write_atomically(directory / KIND_FILE, json.dumps(description) + "\n")

    @property
    def special_ids(self) -> SpecialIds:
        """The special ids."""
        return SpecialIds(self.pad_id, self.eos_id, self.unk_id)

    def special_names(self) -> list[str | None]:
        """Returns the tokens of padding, EOS and unknown text, as vocabularies name them; None if there is none."""
        return ["<pad>", "</s>", "<unk>"]

    @property
    def padded_vocab_size(self) -> int:
        """Number of embedding rows: `vocab_size` rounded up to a multiple of 128."""
        return padded_rows(self.vocab_size)

    @abc.abstractmethod
    def extended(self, tokens: "Sequence[AddedToken]") -> Self:
        """Returns the tokenizer with more added tokens; raises ValueError if they cannot be added."""

    def token_id(self, text: str) -> int | None:
        """Returns the id of a text that is a token of the vocabulary's file or an added one; None for others."""
        return next((token.id for token in self.added_tokens if token.text == text), None)

    @property
    def next_id(self) -> int:
        """The id of the next token that is added."""
        return self.vocab_size

    @property
    def sentinel_ids(self) -> range:
        """The ids of all sentinels, ascending."""
        end = self.vocab_size - self.num_above
        return range(end - self.num_sentinels, end)

    def sentinel_id(self, n: int) -> int:
        """Returns the id of <extra_id_n>."""
        if not 0 <= n < self.num_sentinels:
            raise ValueError(f"there is no <extra_id_{n}>: task.tokenizer.num_sentinels is {self.num_sentinels}")
        return self.sentinel_ids.stop - 1 - n

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Tokenises a text without appending EOS; <extra_id_N> becomes the sentinel's id."""

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Tokenises many texts, returning int32 arrays."""
        return [np.asarray(self.encode(text), np.int32) for text in as_texts(texts, "texts")]

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes ids up to the first EOS, skipping padding; sentinels become <extra_id_N>.

        Ids that are not in the vocabulary are decoded like the unknown token, as in SeqIO.
        """
        until_eos = itertools.takewhile(lambda i: i != self.eos_id, map(int, ids))
        known = [i if self._is_known(i) else self.unk_id for i in until_eos if i != self.pad_id]
        if self.unk_id >= 0:
            return self._decode_known(known)
        runs = itertools.groupby(known, lambda i: i >= 0)
        return "".join(self._decode_known([*run]) if is_known else UNKNOWN * len([*run]) for is_known, run in runs)

    def decode_batch(self, batch: Iterable[Iterable[int]]) -> list[str]:
        """Decodes many rows of ids."""
        return [self.decode(ids) for ids in batch]

    def _is_known(self, i: int) -> bool:
        return 0 <= i < self.vocab_size

    @abc.abstractmethod
    def _decode_known(self, ids: list[int]) -> str:
        """Decodes ids that are all in the vocabulary and neither pad nor EOS."""

    @abc.abstractmethod
    def surfaces(self) -> list[str]:
        """Returns the text of each id, including spaces; empty for pad and EOS."""

    def _splitter(self, normalise: Callable[[str], str] = str) -> Callable[[str], list[str | int]]:
        """Returns what splits a text into ids of sentinels and added tokens, and the texts between them, in order."""
        sentinels = {f"<extra_id_{n}>": self.sentinel_id(n) for n in range(self.num_sentinels)}
        if not self.added_tokens:
            return functools.partial(split_at_sentinels, sentinels)
        from t5x_lite.data.tokenizers.added import Splitter

        return Splitter(self.added_tokens, sentinels, normalise)

    def _add(self, tokens: "Sequence[AddedToken]", id_of: Callable[[str], int | None], name: str) -> None:
        """Adds tokens above all ids, with `id_of` and `name` as in `numbered`; raises ValueError if it cannot."""
        if tokens:
            from t5x_lite.data.tokenizers.numbering import numbered

            self.added_tokens = numbered(tokens, self.next_id, id_of, name)
            end = max([self.vocab_size, *(token.id + 1 for token in self.added_tokens if token.id is not None)])
            self.vocab_size, self.num_above = end, self.num_above + end - self.vocab_size


class FileTokenizer(Tokenizer):
    """A tokenizer read from a file, which `save` copies unchanged.

    Args:
      content: the bytes of the file.
      num_sentinels: number of sentinels to append, unless the vocabulary already ends in sentinels.
      name: the name of the file in errors.
      special_ids: the special ids; None for those that the file names.
      added_tokens: tokens to add to those of the file.

    Raises:
      ValueError: if the content is not a vocabulary, or has no padding or EOS, or a token cannot be added.
    """

    file_name: ClassVar[str]  # in a directory written by `save`

    @abc.abstractmethod
    def __init__(
        self,
        content: bytes,
        num_sentinels: int = 100,
        *,
        name: str,
        special_ids: SpecialIds | None = None,
        added_tokens: "Sequence[AddedToken]" = (),
    ):
        if type(num_sentinels) is not int or not 0 <= num_sentinels <= MAX_SENTINELS:
            raise ValueError(f"{name} has num_sentinels {num_sentinels!r:.80}: use a number up to {MAX_SENTINELS:,}")
        self.content, self.num_sentinels = content, num_sentinels

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        num_sentinels: int = 100,
        *,
        special_ids: SpecialIds | None = None,
        added_tokens: "Sequence[AddedToken]" = (),
    ) -> Self:
        """Reads a vocabulary file; raises FileNotFoundError, and ValueError as the constructor does."""
        more: Any = {"name": f"task.tokenizer.path {path}", "special_ids": special_ids, "added_tokens": added_tokens}
        with reading(path):
            return cls(read_vocabulary(path), num_sentinels, **more)

    @classmethod
    def load(
        cls,
        directory: pathlib.Path,
        num_sentinels: int,
        special_ids: SpecialIds | None = None,
        added_tokens: "Sequence[AddedToken]" = (),
    ) -> Self:
        path = directory / cls.file_name
        return cls.from_file(path, num_sentinels, special_ids=special_ids, added_tokens=added_tokens)

    def save(self, directory: pathlib.Path) -> None:
        write_atomically(directory / self.file_name, self.content)
        super().save(directory)

    def extended(self, tokens: "Sequence[AddedToken]") -> Self:
        every = (*self.added_tokens, *tokens)
        name = "the vocabulary"
        return type(self)(self.content, self.num_sentinels, name=name, special_ids=self.special_ids, added_tokens=every)

    def __reduce__(self):
        make = functools.partial(type(self), special_ids=self.special_ids, added_tokens=self.added_tokens)
        return make, (self.content, self.num_sentinels)


def split_at_sentinels(sentinels: Mapping[str, int], text: str) -> list[str | int]:
    """Returns ids of sentinels and the texts between them, in order, given the ids by text."""
    parts: list[str | int] = []
    done = 0
    for match in re.finditer(SENTINEL, text):
        if match[0] in sentinels:
            parts += [text[done : match.start()], sentinels[match[0]]]
            done = match.end()
    return [part for part in (*parts, text[done:]) if part != ""]


def trim(ids: np.ndarray, stop_ids: Collection[int] = (), *, pad_id: int = 0) -> tuple[list[int], bool]:
    """Strips trailing padding and then one trailing stop id; returns the ids and whether there was a stop id."""
    places = np.flatnonzero(ids != pad_id)
    trimmed = ids[: places[-1] + 1].tolist() if len(places) else []
    return (trimmed[:-1], True) if trimmed and trimmed[-1] in stop_ids else (trimmed, False)


def read_vocabulary(path: str | os.PathLike[str]) -> bytes:
    """Returns the bytes of a vocabulary file; raises ValueError for a directory, FileNotFoundError if missing."""
    path = pathlib.Path(path)
    if not path.is_file():
        from t5x_lite.data.tokenizers.file_errors import no_vocabulary

        raise no_vocabulary(path)
    return read_bytes(path, 2**25)


def check_special_ids(ids: SpecialIds, vocab_size: int, name: str, remedy: str) -> None:
    """Raises ValueError unless padding and EOS are two ids of the vocabulary."""
    if ids.pad == ids.eos or not all(0 <= i < vocab_size for i in ids[:2]):
        from t5x_lite.data.tokenizers.file_errors import wrong_special_ids

        raise wrong_special_ids(ids, vocab_size, name, remedy)


def count_sentinels(ids: dict[int, int], vocab_size: int, name: str) -> int:
    """Returns the number of sentinels at the end of a vocabulary, such as mT5's, given their ids by number N.

    `vocab_size` does not count tokens that were added above them.

    Raises:
      ValueError: if the sentinels do not descend from the last id.
    """
    if any(i != vocab_size - 1 - n for n, i in ids.items()) or sorted(ids) != list(range(len(ids))):
        from t5x_lite.data.tokenizers.file_errors import wrong_sentinels

        raise wrong_sentinels(name)
    return len(ids)
