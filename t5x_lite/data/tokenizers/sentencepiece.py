# SPDX-License-Identifier: Apache-2.0
"""SentencePiece models, with T5's sentinels appended as in SeqIO.

SentencePiece's generated protobuf classes require the newest protobuf, and fail to import next to packages that need an
older one, such as Apache Beam. This module declares the few fields it uses; protobuf passes on the others unchanged.

Source: SeqIO `SentencePieceVocabulary`; SentencePiece `sentencepiece_model.proto`.
"""

import functools
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sentencepiece
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from t5x_lite.config.texts import as_texts
from t5x_lite.data.tokenizers.base import (
    SENTINEL_PATTERN,
    FileTokenizer,
    SpecialIds,
    check_special_ids,
    count_sentinels,
)

if TYPE_CHECKING:
    from t5x_lite.data.tokenizers.added import AddedToken

SPACE = "\u2581"  # SentencePiece's space marker
NORMAL, UNKNOWN, USER_DEFINED, UNUSED = 1, 2, 4, 5  # piece types; unused ones are never found in texts
# SentencePiece's memory grows with the length of a text: 50 MB took 0.8 GB more. It also accumulates scores in float32,
# so a long text may be tokenised differently when split into parts, with the same score or a higher one.
PART_CHARACTERS = 2**20
NMT_NFKC, MAX_FIELDS = "1e2c7b43d3ee9755ceaa2ac335e253d8703604e0249ee1e81156c92b46423844", 3_000_000
LONE_SPACE = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")
REMEDY = "use a T5 vocabulary, or train one with pad_id=0, eos_id=1, unk_id=2 and bos_id=-1 (t5x-lite tokenizer train)"


class SentencePieceTokenizer(FileTokenizer):
    """A SentencePiece model, with T5's sentinels appended."""

    kind = "sentencepiece"
    file_name = "tokenizer.model"

    def __init__(
        self,
        content: bytes,
        num_sentinels: int = 100,
        *,
        name: str = "the SentencePiece model",
        special_ids: SpecialIds | None = None,
        added_tokens: "Sequence[AddedToken]" = (),
    ):
        super().__init__(content, num_sentinels, name=name)
        pieces = read_pieces(content, name)
        num_pieces = len(pieces.ids)
        special_ids = special_ids or pieces.special_ids
        check_special_ids(special_ids, num_pieces, name, REMEDY)
        self.pad_id, self.eos_id, self.unk_id = special_ids
        own_sentinels = count_sentinels(pieces.sentinel_ids, num_pieces, name)
        self.num_sentinels = own_sentinels or num_sentinels
        self.num_appended = self.num_sentinels - own_sentinels  # missing from the model itself
        self.vocab_size = num_pieces + self.num_appended
        self._add(added_tokens, pieces.ids.get, name)
        try:
            normalise = normaliser(content) if any(token.normalized for token in self.added_tokens) else str
            self._split, added_pieces = self._splitter(normalise), self._added_pieces(normalise)
            self._processor = _open_processor(content, self.num_appended, added_pieces)
        except (RuntimeError, ValueError) as error:
            raise _not_a_model(name) from error
        separate = [*self._processor.encode("a b"), *self._processor.encode("b a")]
        self._splits_at_spaces = self._processor.encode("a b b a") == separate

    def encode(self, text: str) -> list[int]:
        parts = self._split(text)
        of_parts = ([part] if isinstance(part, int) else self._processor.encode(part) for part in parts)
        return list(itertools.chain.from_iterable(of_parts))

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        parts = [self._parts(text) for text in as_texts(texts, "texts")]
        flat = [part for part in itertools.chain.from_iterable(parts) if isinstance(part, str)]
        rows = iter(self._processor.encode(flat, num_threads=os.cpu_count() or 1))

        def ids_of(part: str | int) -> np.ndarray:
            return np.asarray([part] if isinstance(part, int) else next(rows), np.int32)

        return [np.concatenate([ids_of(part) for part in of_text]) for of_text in parts]

    def _parts(self, text: str) -> list[str | int]:
        """Splits a text at sentinels and added tokens; at least one part is left."""
        parts = (self._short_parts(part) if isinstance(part, str) else [part] for part in self._split(text))
        return list(itertools.chain.from_iterable(parts)) or [text]

    def _short_parts(self, text: str) -> list[str]:
        """Splits a very long text at single spaces, which SentencePiece adds back at the start of each part."""
        if len(text) <= PART_CHARACTERS or not self._splits_at_spaces:
            return [text]
        parts, begin = [], 0
        while len(text) - begin > PART_CHARACTERS:
            gap = LONE_SPACE.search(text, begin + PART_CHARACTERS)
            if gap is None:
                break
            parts.append(text[begin : gap.start()])
            begin = gap.end()
        return [*parts, text[begin:]]

    def token_id(self, text: str) -> int | None:
        return _read_pieces(self.content).ids.get(text, super().token_id(text))

    def special_names(self) -> list[str | None]:
        return [self._processor.id_to_piece(i) if i >= 0 else None for i in self.special_ids]

    def pieces(self, text: str) -> list[str]:
        """Returns the pieces of a text, with SentencePiece's space markers."""
        parts = self._split(text)
        of_parts = (
            [self._processor.id_to_piece(part)] if isinstance(part, int) else self._processor.encode(part, out_type=str)
            for part in parts
        )
        return list(itertools.chain.from_iterable(of_parts))

    def surfaces(self) -> list[str]:
        from t5x_lite.data.tokenizers.surfaces import surfaces_of_pieces

        return surfaces_of_pieces(self, self._processor.id_to_piece, self._gaps)

    def _decode_known(self, ids: list[int]) -> str:
        return self._processor.decode([self.unk_id if i in self._gaps else i for i in ids])

    def _added_pieces(self, normalise: Callable[[str], str]) -> tuple[str, ...]:
        """Returns a piece for each id above the sentinels; unused ids get meaningless ones."""
        texts = {token.id: normalise(token.text) if token.normalized else token.text for token in self.added_tokens}
        above = range(self.sentinel_ids.stop, self.vocab_size)
        self._gaps = frozenset(i for i in above if i not in texts)
        return tuple(texts.get(i) or f"\ue000{i}" for i in above)


def parse_model(content: bytes) -> Any:
    """Parses a model into a protobuf message with the fields declared below; raises DecodeError if it is not one."""
    return _Model.FromString(content)


class Pieces(NamedTuple):
    """What a model's pieces are."""

    ids: dict[str, int]  # by piece
    special_ids: SpecialIds  # those that the model names
    sentinel_ids: dict[int, int]  # by the number N of <extra_id_N>


def read_pieces(content: bytes, name: str) -> Pieces:
    """Returns the pieces of a model; raises ValueError, with the name of the file, if it is not one."""
    if content.count(b"\n") > MAX_FIELDS:  # each piece begins with this byte
        raise ValueError(f"{name} has more pieces than any vocabulary: download it again")
    try:
        pieces, options = _read_pieces(content), parse_options(content)
    except DecodeError as error:
        raise _not_a_model(name) from error
    for charsmap in (options.normalizer_spec.precompiled_charsmap, options.denormalizer_spec.precompiled_charsmap):
        if charsmap and hashlib.sha256(charsmap).hexdigest() != NMT_NFKC:  # T5's is known
            from t5x_lite.data.tokenizers.charsmap import check_charsmap

            check_charsmap(charsmap, name)
    return pieces


def parse_options(content: bytes) -> Any:
    """Parses a model like `parse_model`, with its type and the options of its normaliser; not for serialising."""
    return _declare_model(with_options=True).FromString(content)


def _not_a_model(name: str) -> ValueError:
    return ValueError(f"{name} is not a SentencePiece model: name the .model file that SentencePiece training wrote")


# A run opens the same model several times, taking a third of a second each time.
@functools.lru_cache(maxsize=4)
def _read_pieces(content: bytes) -> Pieces:
    proto = parse_model(content)
    if not proto.pieces or not proto.HasField("normalizer_spec"):  # the last field: missing if truncated
        raise DecodeError("truncated")
    spec, unknown, ids, sentinel_ids = proto.trainer_spec, -1, {}, {}
    for i, piece in enumerate(proto.pieces):
        text = piece.piece
        ids.setdefault(text, i)
        if "<" in text and (match := SENTINEL_PATTERN.fullmatch(text)):
            sentinel_ids[int(match[1])] = i
        if unknown < 0 and piece.type == UNKNOWN:
            unknown = i
    return Pieces(ids, SpecialIds(ids.get(spec.pad_piece, -1), ids.get(spec.eos_piece, -1), unknown), sentinel_ids)


@functools.lru_cache(maxsize=4)
def _open_processor(content: bytes, num_appended: int, added: tuple[str, ...]) -> sentencepiece.SentencePieceProcessor:
    proto = parse_model(content)
    for n in reversed(range(num_appended)):
        proto.pieces.add(piece=f"\u2581<extra_id_{n}>", score=0.0, type=USER_DEFINED)
    for piece in added:
        proto.pieces.add(piece=piece, score=0.0, type=UNUSED)
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())


def normaliser(content: bytes) -> Callable[[str], str]:
    """Returns a model's map of characters, without its treatment of spaces."""
    keep = dict.fromkeys(("add_dummy_prefix", "escape_whitespaces", "remove_extra_whitespaces"), False)
    return sentencepiece.SentencePieceNormalizer(model_proto=content, **keep).Normalize


@functools.cache
def _declare_model(*, with_options: bool = False) -> Any:
    """Returns a protobuf class with the few fields of SentencePiece's ModelProto used here."""
    file = descriptor_pb2.FileDescriptorProto(name="t5x_lite/sentencepiece.proto", package="t5x_lite.sentencepiece")
    field = descriptor_pb2.FieldDescriptorProto
    optional, repeated = {"label": field.LABEL_OPTIONAL}, {"label": field.LABEL_REPEATED}
    piece = file.message_type.add(name="Piece").field
    piece.add(name="piece", number=1, type=field.TYPE_STRING, **optional)
    piece.add(name="score", number=2, type=field.TYPE_FLOAT, **optional)
    piece.add(name="type", number=3, type=field.TYPE_INT32, default_value="1", **optional)
    trainer = file.message_type.add(name="Trainer").field
    trainer.add(name="eos_piece", number=47, type=field.TYPE_STRING, default_value="</s>", **optional)
    trainer.add(name="pad_piece", number=48, type=field.TYPE_STRING, default_value="<pad>", **optional)
    normaliser = file.message_type.add(name="Normalizer").field
    if with_options:  # which would change the order of the fields that are passed on
        trainer.add(name="model_type", number=3, type=field.TYPE_INT32, default_value="1", **optional)
        trainer.add(name="byte_fallback", number=35, type=field.TYPE_BOOL, **optional)
        normaliser.add(name="precompiled_charsmap", number=2, type=field.TYPE_BYTES, **optional)
        for number, name in enumerate(("add_dummy_prefix", "remove_extra_whitespaces"), start=3):
            normaliser.add(name=name, number=number, type=field.TYPE_BOOL, default_value="true", **optional)
    model = file.message_type.add(name="Model").field
    message = {"type": field.TYPE_MESSAGE}
    model.add(name="pieces", number=1, type_name=f".{file.package}.Piece", **message, **repeated)
    model.add(name="trainer_spec", number=2, type_name=f".{file.package}.Trainer", **message, **optional)
    model.add(name="normalizer_spec", number=3, type_name=f".{file.package}.Normalizer", **message, **optional)
    if with_options:
        model.add(name="denormalizer_spec", number=5, type_name=f".{file.package}.Normalizer", **message, **optional)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Model"))


_Model = _declare_model()
