# SPDX-License-Identifier: Apache-2.0
"""Tokenizers: T5's have padding 0, EOS 1, unknown 2, and sentinels descending from the highest id.

`Tokenizer.save` writes `vocabulary.json` (kind, number of sentinels, and special ids unless they are T5's) and, if the
tokenizer came from a file, an unchanged copy that other libraries can read: SentencePiece's `tokenizer.model` or
Hugging Face's `tokenizer.json`.
"""

import hashlib
import json
import os
import pathlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from t5x_lite.config import TokenizerConfig
from t5x_lite.data.tokenizers.base import KIND_FILE, SpecialIds, Tokenizer, read_vocabulary, trim
from t5x_lite.files.checksum import crc
from t5x_lite.files.reading import read_bytes, reading

if TYPE_CHECKING:
    from t5x_lite.data.tokenizers.added import AddedToken

__all__ = ["KIND_FILE", "Tokenizer", "build_tokenizer", "file_checksums", "load_tokenizer", "tokenizer_hash", "trim"]

# Classes by their attribute `kind`, the value of `task.tokenizer.kind`. Only the chosen one's module is imported.
KINDS = {
    "sentencepiece": "sentencepiece:SentencePieceTokenizer",
    "huggingface": "huggingface:HuggingFaceTokenizer",
    "bytes": "bytes:ByteTokenizer",
    "bytes_and_sentinels": "bytes:ByteAndSentinelTokenizer",
}
FILES = (KIND_FILE, "tokenizer.model", "tokenizer.json")  # that `Tokenizer.save` may write


def load_tokenizer(directory: str | os.PathLike[str]) -> Tokenizer:
    """Loads a tokenizer written by `Tokenizer.save`, for example from a run directory.

    Raises:
      FileNotFoundError: if the directory has no tokenizer.
      ValueError: if its kind is unknown.
    """
    directory = pathlib.Path(directory)
    path = directory / KIND_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: is {directory} the directory of a run that has started?")
    with reading(path, "restore it, or download the model again"):
        description = json.loads(read_bytes(path, 2**23))
        kind, num_sentinels = description["kind"], description["num_sentinels"]
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"{path} has the kind {kind!r:.80}, not one of {', '.join(KINDS)}: use a newer t5x_lite")
        special_ids = SpecialIds(**description["special_ids"]) if "special_ids" in description else None
        added_tokens = _added_tokens(description.get("added_tokens", []))
        return _class_of(kind).load(directory, num_sentinels, special_ids, added_tokens)


def tokenizer_hash(directory: str | os.PathLike[str]) -> str:
    """Returns a hash of the tokenizer saved in a directory."""
    digest = hashlib.blake2b(digest_size=16)
    for name in FILES:
        path = pathlib.Path(directory) / name
        digest.update(read_vocabulary(path) if path.is_file() else b"")
    return digest.hexdigest()


def file_checksums(directory: str | os.PathLike[str]) -> dict[str, str]:
    """Returns a checksum of each file of the tokenizer saved in a directory, by name."""
    paths = [path for name in FILES if (path := pathlib.Path(directory) / name).is_file()]
    return {path.name: crc(read_vocabulary(path)) for path in paths}


def build_tokenizer(cfg: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    """Builds the configured tokenizer; a SentencePiece one without a path is trained on `texts`, read at most once."""
    tokenizer = _build_vocabulary(cfg, texts)
    added_tokens = _added_tokens({"text": text} for text in cfg.added_tokens or ())
    return tokenizer.extended(added_tokens) if added_tokens else tokenizer


def _build_vocabulary(cfg: TokenizerConfig, texts: Iterable[str]) -> Tokenizer:
    if cfg.kind in ("bytes", "bytes_and_sentinels"):
        return _class_of(cfg.kind)(cfg.num_sentinels)
    if cfg.path is not None and pathlib.Path(cfg.path).is_dir():
        from t5x_lite.data.tokenizers.directory import is_model_directory, read_directory

        if is_model_directory(pathlib.Path(cfg.path)):
            return read_directory(pathlib.Path(cfg.path))
    if cfg.path is not None:
        kind = "huggingface" if cfg.path.endswith(".json") else cfg.kind
        return _class_of(kind).from_file(cfg.path, cfg.num_sentinels)
    from t5x_lite.data.tokenizers.train import train_sentencepiece_model

    model = train_sentencepiece_model(texts, vocab_size=cfg.vocab_size, num_sentinels=cfg.num_sentinels)
    return _class_of("sentencepiece")(model, cfg.num_sentinels)


def _added_tokens(descriptions: Iterable[Mapping[str, Any]]) -> "list[AddedToken]":
    descriptions = list(descriptions)
    if not descriptions:
        return []
    from t5x_lite.data.tokenizers.added import AddedToken

    return [AddedToken(**fields) for fields in descriptions]


def _class_of(kind: str) -> Any:
    return pkgutil.resolve_name(f"{__name__}.{KINDS[kind]}")
