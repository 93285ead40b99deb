# SPDX-License-Identifier: Apache-2.0
"""Text to ids and back, with T5's fixed ids: pad 0, EOS 1, unknown 2, sentinels descending from the top.

A directory holds a tokenizer as `vocabulary.json` (which kind, how many sentinels) and, for SentencePiece,
`tokenizer.model`, the model as it came, so that other libraries read it too.
"""

import abc
import io
import json
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
import sentencepiece
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from t5x_lite.atomic import write_atomically
from t5x_lite.config import TokenizerConfig

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
VOCAB_MULTIPLE = 128  # embedding rows, so that they shard evenly; T5's own 32100 ids have 32128 rows
SENTINEL_PATTERN = re.compile(r"\u2581?<extra_id_(\d+)>")
MODEL_FILE, KIND_FILE = "tokenizer.model", "vocabulary.json"

# Bytes of text a unigram vocabulary is trained on: EM takes time in proportion, and 8,192 ids from 2 MB of docstrings
# need 0.8% more tokens than those from 4 MB.
TRAINING_BYTES = 2_000_000
# SentencePiece adds up expected counts thread by thread, so another number of threads gives other last bits.
TRAINING_THREADS = 4


class Tokenizer(abc.ABC):
    """What the rest of t5x_lite asks of a vocabulary.

    Attributes:
      vocab_size: ids, sentinels included.
      num_sentinels: how many <extra_id_N> there are.
    """

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
    def save(self, directory: pathlib.Path) -> None:
        """Writes what `load_tokenizer` needs into an existing directory, each file at once or not at all."""

    def _save_kind(self, directory: pathlib.Path, kind: str) -> None:
        description = {"kind": kind, "num_sentinels": self.num_sentinels}
        write_atomically(directory / KIND_FILE, json.dumps(description) + "\n")


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model, with T5's sentinels appended as SeqIO appends them.

    Args:
      model: a serialized SentencePiece model.
      num_sentinels: how many to append; a model that already ends in sentinels keeps its own.
      name: what errors call the model.

    Raises:
      ValueError: if `model` is none, or has other ids for pad, EOS and unknown than 0, 1 and 2.

    Source: SeqIO `SentencePieceVocabulary`.
    """

    def __init__(self, model: bytes, num_sentinels: int = 100, *, name: str = "the SentencePiece model"):
        self.model = model
        proto = _parse_model(model, name)
        _check_special_ids(proto, name)
        self.num_sentinels = _count_sentinels(proto, name)
        if not self.num_sentinels:
            self.num_sentinels = num_sentinels
            for n in reversed(range(num_sentinels)):
                proto.pieces.add(piece=f"\u2581<extra_id_{n}>", score=0.0, type=proto.SentencePiece.USER_DEFINED)
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
        except (RuntimeError, ValueError) as error:
            raise _not_a_model(name) from error
        self.vocab_size = len(proto.pieces)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], num_sentinels: int = 100) -> "SentencePieceTokenizer":
        """Reads a model file.

        Raises:
          FileNotFoundError: if there is no such file.
          ValueError: if it is not a SentencePiece model with T5's ids.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            inside = path / "spiece.model"
            hint = f"; use {inside}" if inside.is_file() else "; name the .model file in it"
            raise ValueError(f"task.tokenizer.path {path} is a directory{hint}")
        if not path.is_file():
            raise FileNotFoundError(
                f"task.tokenizer.path {path} does not exist: name a SentencePiece .model file, or leave the field out "
                "to train a vocabulary on the task's text"
            )
        return cls(path.read_bytes(), num_sentinels, name=f"task.tokenizer.path {path}")

    def __reduce__(self):
        return type(self), (self.model, self.num_sentinels)

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        rows = self._processor.encode(list(texts), num_threads=os.cpu_count() or 1)
        return [np.asarray(row, np.int32) for row in rows]

    def _decode_known(self, ids: list[int]) -> str:
        return self._processor.decode(ids)

    def save(self, directory: pathlib.Path) -> None:
        write_atomically(directory / MODEL_FILE, self.model)
        self._save_kind(directory, "sentencepiece")


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes, as ByT5: id = byte + 3, no file needed.

    The 259 ids have none to spare for sentinels, so those share the ids of the highest bytes: 258 is both byte 255 and
    <extra_id_0>. UTF-8 never has bytes above 244, and decoding takes the others for sentinels where they are no valid
    UTF-8; other invalid bytes are dropped.

    Source: SeqIO `ByteVocabulary` with no extra ids.
    """

    vocab_size = 256 + 3

    def __init__(self, num_sentinels: int = 100):
        if not 0 <= num_sentinels <= 256:
            raise ValueError(
                f"task.tokenizer.num_sentinels is {num_sentinels}: a vocabulary of bytes has at most 256 of them"
            )
        self.num_sentinels = num_sentinels

    def encode(self, text: str) -> list[int]:
        ids = []
        for i, part in enumerate(re.split(r"<extra_id_(\d+)>", text)):
            is_sentinel = i % 2 == 1 and int(part) < self.num_sentinels
            if is_sentinel:
                ids.append(self.sentinel_id(int(part)))
            else:
                ids.extend(byte + 3 for byte in (f"<extra_id_{part}>" if i % 2 else part).encode())
        return ids

    def _decode_known(self, ids: list[int]) -> str:
        data, pieces = bytes(i - 3 for i in ids if i >= 3), []
        while data:
            try:
                pieces.append(data.decode())
                break
            except UnicodeDecodeError as error:
                pieces.append(data[: error.start].decode())
                numbers = [255 - byte for byte in data[error.start : error.end]]
                pieces.extend(f"<extra_id_{n}>" for n in numbers if n < self.num_sentinels)
                data = data[error.end :]
        return "".join(pieces)

    def save(self, directory: pathlib.Path) -> None:
        self._save_kind(directory, "bytes")


def load_tokenizer(directory: str | os.PathLike[str]) -> Tokenizer:
    """Rebuilds the tokenizer that `Tokenizer.save` wrote into a (run) directory.

    Raises:
      FileNotFoundError: if there is none.
    """
    directory = pathlib.Path(directory)
    path = directory / KIND_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: is {directory} the directory of a run that has started?")
    description = json.loads(path.read_text())
    if description["kind"] == "bytes":
        return ByteTokenizer(description["num_sentinels"])
    return SentencePieceTokenizer.from_file(directory / MODEL_FILE, description["num_sentinels"])


def build_tokenizer(cfg: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer a config asks for; one without a file is trained on `texts`."""
    if cfg.kind == "bytes":
        return ByteTokenizer(cfg.num_sentinels)
    if cfg.path is not None:
        return SentencePieceTokenizer.from_file(cfg.path, cfg.num_sentinels)
    model = train_sentencepiece_model(texts, vocab_size=cfg.vocab_size, num_sentinels=cfg.num_sentinels)
    return SentencePieceTokenizer(model, cfg.num_sentinels)


def train_sentencepiece(
    texts: Iterable[str], *, vocab_size: int, num_sentinels: int = 100, path: str | os.PathLike[str]
) -> None:
    """Trains as `train_sentencepiece_model` does and writes the model file, at once or not at all."""
    model = train_sentencepiece_model(texts, vocab_size=vocab_size, num_sentinels=num_sentinels)
    write_atomically(pathlib.Path(path), model)


def train_sentencepiece_model(texts: Iterable[str], *, vocab_size: int, num_sentinels: int = 100) -> bytes:
    """Trains a unigram vocabulary with T5's ids; the same texts give the same vocabulary.

    Args:
      texts: documents, of which an evenly spread part of 2 MB is used.
      vocab_size: ids, sentinels included; the model itself has `vocab_size - num_sentinels` pieces.
      num_sentinels: how many are appended when the model is loaded.

    Returns:
      The serialized SentencePiece model.

    Raises:
      ValueError: if the texts do not support a vocabulary of that size.
    """
    num_pieces = vocab_size - num_sentinels
    if num_pieces < 4:
        raise ValueError(
            f"task.tokenizer.vocab_size {vocab_size} leaves {num_pieces} pieces beside {num_sentinels} sentinels: "
            "use a larger vocab_size or fewer num_sentinels"
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_training_lines(texts)),
            model_writer=model,
            model_type="unigram",
            vocab_size=num_pieces,
            pad_id=PAD_ID,
            eos_id=EOS_ID,
            unk_id=UNK_ID,
            bos_id=-1,
            num_threads=TRAINING_THREADS,
            minloglevel=2,  # errors only; it counts to millions on stderr otherwise
        )
    except (RuntimeError, ValueError) as error:
        raise _cannot_train(str(error), vocab_size, num_sentinels) from error
    return model.getvalue()


def _parse_model(model: bytes, name: str):
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        proto.ParseFromString(model)
    except DecodeError as error:
        raise _not_a_model(name) from error
    if not proto.pieces or not proto.HasField("normalizer_spec"):  # the last field: a truncated file can lack it
        raise _not_a_model(name)
    return proto


def _not_a_model(name: str) -> ValueError:
    return ValueError(f"{name} is not a SentencePiece model: name the .model file that SentencePiece training wrote")


def _check_special_ids(proto, name: str) -> None:
    """T5 fixes pad, EOS and unknown; a model of another family (Llama, ALBERT) would train on the wrong ids."""
    ids = {piece.piece: i for i, piece in reversed(list(enumerate(proto.pieces)))}
    spec = proto.trainer_spec
    unknown = [i for i, piece in enumerate(proto.pieces) if piece.type == piece.UNKNOWN]
    found = (ids.get(spec.pad_piece, -1), ids.get(spec.eos_piece, -1), unknown[0] if unknown else -1)
    if found != (PAD_ID, EOS_ID, UNK_ID):
        raise ValueError(
            f"{name} has pad, EOS and unknown ids {found[0]}, {found[1]} and {found[2]} (-1: none), and t5x_lite needs "
            "T5's 0, 1 and 2: use a T5 vocabulary, or train one with pad_id=0, eos_id=1, unk_id=2 and bos_id=-1 "
            "(t5x-lite tokenizer train)"
        )


def _count_sentinels(proto, name: str) -> int:
    """How many sentinels a model already ends in, as mT5's does; 0 if it has none."""
    places = {}
    for i, piece in enumerate(proto.pieces):
        match = SENTINEL_PATTERN.fullmatch(piece.piece)
        if match:
            places[int(match[1])] = i
    if any(i != len(proto.pieces) - 1 - n for n, i in places.items()) or sorted(places) != list(range(len(places))):
        raise ValueError(
            f"{name} has <extra_id_N> pieces elsewhere than at its end in descending order: t5x_lite needs "
            "<extra_id_0> as the last piece, <extra_id_1> before it and so on; remove them and they are appended"
        )
    return len(places)


def _training_lines(texts: Iterable[str]) -> list[str]:
    """Non-empty lines, evenly thinned out to TRAINING_BYTES; no random choice, so there is no seed to keep."""
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    num_bytes = sum(len(line.encode()) for line in lines)
    num_kept = len(lines) * min(TRAINING_BYTES, num_bytes) // max(1, num_bytes)
    return [lines[i * len(lines) // num_kept] for i in range(num_kept)]


def _cannot_train(message: str, vocab_size: int, num_sentinels: int) -> ValueError:
    """Says in t5x_lite's terms what SentencePiece said in its own."""
    too_high = re.search(r"value <= (\d+)", message)
    too_low = re.search(r"required_chars\. \d+ vs (\d+)", message)
    if too_high:
        fits = f"it supports {int(too_high[1]) + num_sentinels} at most; use that or less, or more text"
    elif too_low:
        fits = f"its characters alone need {int(too_low[1]) + num_sentinels}; use that or more"
    else:
        fits = f"SentencePiece says: {message}"
    return ValueError(
        f"cannot train task.tokenizer.vocab_size {vocab_size} ids ({num_sentinels} are sentinels) on this text: {fits}"
    )
