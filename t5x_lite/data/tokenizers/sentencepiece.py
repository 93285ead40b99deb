# SPDX-License-Identifier: Apache-2.0
"""SentencePiece models, with T5's sentinels appended as SeqIO appends them."""

import functools
import itertools
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import sentencepiece
from google.protobuf.message import DecodeError

from t5x_lite.data.tokenizers.base import (
    SENTINEL_PATTERN,
    Tokenizer,
    check_special_ids,
    count_sentinels,
    read_vocabulary,
)
from t5x_lite.data.tokenizers.model_proto import UNKNOWN, USER_DEFINED, parse_model
from t5x_lite.files.atomic_write import write_atomically

MODEL_FILE = "tokenizer.model"
SPACE = "\u2581"  # as pieces show it
# SentencePiece's memory grows with the text: 50 MB at once took 0.8 GB more. And it adds up scores in float32 from the
# start on, so that in novels where parts by themselves get other ids, these have a score as high or higher.
PART_CHARACTERS = 2**20
LONE_SPACE = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")
REMEDY = "use a T5 vocabulary, or train one with pad_id=0, eos_id=1, unk_id=2 and bos_id=-1 (t5x-lite tokenizer train)"


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model, with T5's sentinels appended as SeqIO appends them.

    Args:
      model: a serialized SentencePiece model.
      num_sentinels: how many to append; a model that already ends in sentinels keeps its own.
      name: what errors call the model.

    Attributes:
      num_appended: how many sentinels the model did not have itself.

    Raises:
      ValueError: if `model` is none, or has other ids for pad, EOS and unknown than 0, 1 and 2.

    Source: SeqIO `SentencePieceVocabulary`.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes, num_sentinels: int = 100, *, name: str = "the SentencePiece model"):
        self.model = model
        try:
            found, places, num_pieces = _read_pieces(model)
        except DecodeError as error:
            raise _not_a_model(name) from error
        check_special_ids(found, name, REMEDY)
        has = count_sentinels(places, num_pieces, name)
        self.num_sentinels = has or num_sentinels
        self.num_appended = self.num_sentinels - has
        self.vocab_size = num_pieces + self.num_appended
        try:
            self._processor = _open_processor(model, self.num_appended)
        except (RuntimeError, ValueError) as error:
            raise _not_a_model(name) from error
        apart = [*self._processor.encode("a b"), *self._processor.encode("b a")]
        self._spaces_can_be_cut = self._processor.encode("a b b a") == apart

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], num_sentinels: int = 100) -> "SentencePieceTokenizer":
        """Reads a model file.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if it is not a SentencePiece model with T5's ids.
        """
        return cls(read_vocabulary(path), num_sentinels, name=f"task.tokenizer.path {path}")

    def __reduce__(self):
        return type(self), (self.model, self.num_sentinels)

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        parts = [self._parts(text) for text in texts]
        flat = list(itertools.chain.from_iterable(parts))
        rows = iter(self._processor.encode(flat, num_threads=os.cpu_count() or 1))
        return [np.concatenate([np.asarray(next(rows), np.int32) for _ in cut]) for cut in parts]

    def _parts(self, text: str) -> list[str]:
        """Cuts a very long text at single spaces; the piece after one begins with it, as that of any text does."""
        if len(text) <= PART_CHARACTERS or not self._spaces_can_be_cut:
            return [text]
        parts, begin = [], 0
        while len(text) - begin > PART_CHARACTERS:
            gap = LONE_SPACE.search(text, begin + PART_CHARACTERS)
            if gap is None:
                break
            parts.append(text[begin : gap.start()])
            begin = gap.end()
        return [*parts, text[begin:]]

    def pieces(self, text: str) -> list[str]:
        """The pieces a text is cut into, spaces shown as SentencePiece shows them."""
        return self._processor.encode(text, out_type=str)

    def surfaces(self) -> list[str]:
        pieces = (self._processor.id_to_piece(i).replace(SPACE, " ") for i in range(self.vocab_size))
        bytes_of = {f"<0x{byte:02X}>": chr(byte) if byte < 128 else "\ufffd" for byte in range(256)}
        return [
            "" if i in (self.pad_id, self.eos_id) else "\ufffd" if i == self.unk_id else bytes_of.get(piece, piece)
            for i, piece in enumerate(pieces)
        ]

    def _decode_known(self, ids: list[int]) -> str:
        return self._processor.decode(ids)

    def save(self, directory: pathlib.Path) -> None:
        write_atomically(directory / MODEL_FILE, self.model)
        self._save_kind(directory)


def _not_a_model(name: str) -> ValueError:
    return ValueError(f"{name} is not a SentencePiece model: name the .model file that SentencePiece training wrote")


# A run opens the same model several times, and each time takes a third of a second.
@functools.lru_cache(maxsize=4)
def _read_pieces(model: bytes) -> tuple[tuple[int, int, int], dict[int, int], int]:
    """Returns the ids of pad, EOS and unknown (-1: none), those of sentinels by their N, and how many ids there are.

    Raises:
      DecodeError: if it is not a model.
    """
    proto = parse_model(model)
    if not proto.pieces or not proto.HasField("normalizer_spec"):  # the last field: a truncated file can lack it
        raise DecodeError("it ends too early")
    spec, unknown, ids, places = proto.trainer_spec, -1, {}, {}
    for i, piece in enumerate(proto.pieces):
        text = piece.piece
        ids.setdefault(text, i)
        if "<" in text and (match := SENTINEL_PATTERN.fullmatch(text)):
            places[int(match[1])] = i
        if unknown < 0 and piece.type == UNKNOWN:
            unknown = i
    return (ids.get(spec.pad_piece, -1), ids.get(spec.eos_piece, -1), unknown), places, len(proto.pieces)


@functools.lru_cache(maxsize=4)
def _open_processor(model: bytes, num_appended: int) -> sentencepiece.SentencePieceProcessor:
    proto = parse_model(model)
    for n in reversed(range(num_appended)):
        proto.pieces.add(piece=f"\u2581<extra_id_{n}>", score=0.0, type=USER_DEFINED)
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
